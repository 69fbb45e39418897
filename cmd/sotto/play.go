package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// Times of the demo (ours). A call lasts long enough for RTCP; the rest is
// what a person would wait.
const (
	demoTime = 35 * time.Second
	actTime  = 10 * time.Second
	talkTime = time.Second
)

// Tones of the caller and the callee.
const callerTone, calleeTone = 440, 880

// A stage is where the demo plays: the running server, the phones, and what
// was promised and held.
type stage struct {
	cast
	t            *tell
	s            *server
	d            *demo
	kept, broken int
}

// play plays the four calls with built-in phones. The error says that
// something was not as promised.
func (d *demo) play(t *tell, s *server) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	g := &stage{t: t, s: s, d: d}
	var err error
	g.cast, err = d.assemble(ctx, s.bound[0].Addr)
	defer g.cast.close()
	if err != nil {
		return err
	}
	g.introduce()
	for _, act := range []func(context.Context) error{g.protected, g.token, g.stranger, g.stolen} {
		ctx, cancel := context.WithTimeout(ctx, actTime)
		err := act(ctx)
		cancel()
		if err != nil {
			g.holds(err, "the call")
		}
	}
	return g.verdict()
}

// introduce tells who is there.
func (g *stage) introduce() {
	g.t.say("Sotto runs on %s. Four phones, each on an address of its own, have registered:\n", g.s.bound[0].Addr)
	w := tabwriter.NewWriter(g.t.out, 0, 0, 2, ' ', 0)
	for _, p := range g.all() {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.name, p.phone.Local(), p.about)
	}
	_ = w.Flush() // to a terminal
	g.t.say("\nEach phone tells its address, host name, Wi-Fi and product wherever phones do.")
}

// title begins a call.
func (g *stage) title(text string) {
	g.t.say("\n\n%s\n%s\n", text, strings.Repeat("-", len([]rune(text))))
}

// holds says that a promise was kept, or why not.
func (g *stage) holds(err error, promise string, args ...any) {
	promise = fmt.Sprintf(promise, args...)
	if err != nil {
		g.broken++
		g.t.say("  FAILED  %s: %v", promise, err)
		return
	}
	g.kept++
	g.t.say("  ok  %s", promise)
}

// compare shows side by side what the two parties saw of each other.
func (g *stage) compare(caller, callee *player, k talk) {
	w := tabwriter.NewWriter(g.t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  \t%s saw of %s\t%s saw of %s\n", callee.name, caller.name, caller.name, callee.name)
	left, right := k.calleeSaw.traits(), k.callerSaw.traits()
	for i, l := range left {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", l.name, shortened(l.value), shortened(right[i].value))
	}
	_ = w.Flush() // to a terminal
	g.t.say("")
}

// why shows how the server explains the last call to a player.
func (g *stage) why(callee *player) {
	calls := g.s.proxy.Calls()
	for _, c := range slices.Backward(calls) {
		if c.Callee == callee.who.String() {
			g.t.say("  sotto explain: %s; %s\n", c.Verdict, strings.Join(c.Why, "; "))
			return
		}
	}
}

// verdict ends the demo.
func (g *stage) verdict() error {
	if g.broken > 0 {
		return hint(fmt.Errorf("%d of %d promises were not kept", g.broken, g.broken+g.kept),
			"this is a bug, or something on this machine interferes with packets on loopback")
	}
	g.t.say("\nAll %d promises were kept. Now with phones of your own: sotto try", g.kept)
	return nil
}
