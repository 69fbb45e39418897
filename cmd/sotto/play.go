package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Times of the demo (ours). A call lasts long enough for RTCP; the rest is
// what a person would wait.
const (
	demoTime = 35 * time.Second
	actTime  = 15 * time.Second
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
func (d *demo) play(t *tell, s *server, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), demoTime)
	defer cancel()
	interrupted := make(chan struct{})
	go func() {
		select {
		case <-signals:
			close(interrupted)
			cancel()
		case <-ctx.Done():
		}
	}()
	g := &stage{t: t, s: s, d: d}
	var err error
	g.cast, err = d.assemble(ctx, s.bound[0].Addr)
	defer g.close()
	if err != nil {
		return err
	}
	g.introduce()
	for _, act := range []func(context.Context) error{g.protected, g.token, g.stranger, g.stolen} {
		ctx, cancel := context.WithTimeout(ctx, actTime)
		err := act(ctx)
		cancel()
		select {
		case <-interrupted:
			return errors.New("interrupted")
		default:
		}
		if err != nil {
			g.holds(err, "the call")
		}
	}
	return g.verdict()
}

// introduce tells who is there.
func (g *stage) introduce() {
	g.t.say("Sotto runs on %s. Four phones have registered, each on an address of its own:\n", g.s.bound[0].Addr)
	w := tabwriter.NewWriter(g.t.out, 0, 0, 2, ' ', 0)
	for _, p := range g.all() {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", p.name, p.phone.Local(), p.product(), p.about)
	}
	_ = w.Flush() // to a terminal
	g.t.say(`
What a phone sends tells its address, product, host name (%s) and Wi-Fi
(%s), as with real ones. After each call every byte that a phone received
is searched for them, as text, as octets, in hexadecimal and in Base64.
In the tables "-" is nothing, and "its own" is what the phone itself had sent.`,
		g.alice.host(), g.alice.wifi())
}

// title begins a call.
func (g *stage) title(text string) {
	g.t.say("\n\n%s\n%s\n", text, strings.Repeat("-", len(text)))
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

// compare shows side by side what the two parties saw of each other. A line
// that is empty for both is told only if they talked: then it was hidden.
func (g *stage) compare(caller, callee *player, k talk) {
	w := tabwriter.NewWriter(g.t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  \t%s saw of %s\t%s saw of %s\n", callee.name, caller.name, caller.name, callee.name)
	right := k.callerSaw.traits()
	for i, l := range k.calleeSaw.traits() {
		if r := right[i]; k.id != "" || l.value != "" || r.value != "" {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", l.name, shortened(l.value), shortened(r.value))
		}
	}
	_ = w.Flush() // to a terminal
	g.t.say("")
}

// why shows how the server explains the last call to a player.
func (g *stage) why(callee *player) {
	for _, c := range slices.Backward(g.s.proxy.Calls()) {
		if c.Callee == callee.who.String() {
			g.t.say("  Why, as sotto explain tells:\n    %s\n", strings.Join(c.Why, "\n    "))
			return
		}
	}
}

// verdict ends the demo.
func (g *stage) verdict() error {
	if g.broken > 0 {
		return hint(fmt.Errorf("%d of %d promises were not kept", g.broken, g.broken+g.kept),
			"this is a bug of Sotto, or something on this machine interferes with packets on loopback")
	}
	g.t.say("\n\nAll %d promises were kept. With phones of your own: %s try", g.kept, os.Args[0])
	return nil
}
