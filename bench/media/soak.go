package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A soak has very many packets relayed for a long time, while calls come and
// go, and accounts for each packet: of those that phones have sent, those for
// which the relay's receive queue had no room never came to it; those that
// came and did not arrive were lost in the relay.
type soak struct {
	lasting  time.Duration
	every    time.Duration // a row of the table
	sessions int
	rate     int           // packets/s of each party
	life     time.Duration // of a session, on average
	plane    string
	pause    time.Duration
	coalesce time.Duration
	rest     time.Duration
	urgent   bool // the relay has a real-time priority, as the phones have
	out      io.Writer
}

func soakMain(args []string) error {
	s := soak{out: os.Stdout, urgent: true}
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	flags.DurationVar(&s.lasting, "for", 10*time.Minute, "how long")
	flags.DurationVar(&s.every, "every", time.Minute, "a row of the table")
	flags.IntVar(&s.sessions, "sessions", 2000, "sessions at a time")
	flags.IntVar(&s.rate, "rate", 50, "packets/s of each party of a session")
	flags.DurationVar(&s.life, "life", 40*time.Second, "of a session, on average")
	flags.StringVar(&s.plane, "plane", "kernel", "kernel or user")
	flags.DurationVar(&s.pause, "pause", time.Millisecond, "media.pause, for user space")
	flags.DurationVar(&s.coalesce, "coalesce", 0, "media.coalesce")
	flags.DurationVar(&s.rest, "rest", 10*time.Second, "media.rest")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := fits(); err != nil {
		return err
	}
	r, err := s.run()
	if err != nil {
		return err
	}
	return r.verdict()
}

// A soaking is a soak under way.
type soaking struct {
	soak
	lab     *lab
	sink    *sink
	traffic *traffic
	relay   soakedRelay
	began   time.Time
	silent  []silence
	rand    *rand.Rand
}

// A silence is a slot whose session is about to end.
type silence struct {
	slot  int
	since time.Time
}

// An account says what became of all packets.
type account struct {
	sent, refused uint64
	arrived       uint64
	before, last  state // of an engine without sessions, and at the end of the calls
	after         state // when ports have rested
	sockets       int   // that are left
	resident      []int // of the relay's process, bytes, at each row
	p50, p99      time.Duration
	gathered      int // at most, interfaces at which packets gathered
}

// run makes the network, lets calls come and go, and ends all.
func (s soak) run() (a account, err error) {
	if runtime.NumCPU() < 2 {
		return a, errors.New("it takes two processors: the phones' and the relay's")
	}
	l, err := newLab()
	if err != nil {
		return a, err
	}
	defer l.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM)
	defer signal.Stop(interrupted)
	go func() {
		if _, ok := <-interrupted; ok {
			l.close()
			os.Exit(1)
		}
	}()
	k := &soaking{soak: s, lab: l, rand: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // whose turn it is is no secret
	closeSink, err := k.open()
	if err != nil {
		return a, err
	}
	defer closeSink()
	defer k.relay.stop()
	if a.before, err = k.relay.state(); err != nil {
		return a, err
	}
	if err = k.calls(&a); err != nil {
		return a, err
	}
	return a, k.settle(&a)
}

// open starts phones, receiver and relay.
func (k *soaking) open() (closeSink func(), err error) {
	if k.sink, err = newSink(); err != nil {
		return nil, err
	}
	k.traffic = &traffic{slots: make([]slot, k.sessions), rate: k.rate}
	var links []link.Link
	closeSink = func() {
		for _, l := range links {
			_ = l.Close() // nothing was written
		}
	}
	for i, e := range k.lab.parties {
		if k.traffic.parties[i], err = newParty(e); err != nil {
			return closeSink, err
		}
		l, err := k.sink.at(e)
		if err != nil {
			return closeSink, err
		}
		links = append(links, l)
	}
	return closeSink, k.relay.start(k)
}

// calls has calls come and go for as long as was asked for.
func (k *soaking) calls(a *account) error {
	k.title()
	k.began = time.Now()
	for i := range k.sessions {
		if err := k.swap(i); err != nil {
			return err
		}
	}
	k.traffic.begin()
	k.began = time.Now()
	ended, row := 0, k.began.Add(k.every)
	for now := k.began; now.Sub(k.began) < k.lasting; now = time.Now() {
		due := int(now.Sub(k.began).Seconds() * float64(k.sessions) / k.life.Seconds())
		for ; ended < due; ended++ {
			k.fallSilent(now)
		}
		if err := k.replace(now); err != nil {
			return errors.Join(err, k.traffic.end())
		}
		if now.After(row) {
			row = row.Add(k.every)
			if err := k.row(a); err != nil {
				return errors.Join(err, k.traffic.end())
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return k.traffic.end()
}

// fallSilent has the parties of some session stop sending; whose it is makes
// lives as different as those of calls are.
func (k *soaking) fallSilent(now time.Time) {
	for range k.sessions { // few are silent
		i := k.rand.IntN(k.sessions)
		if k.traffic.slots[i].call.Swap(nil) != nil {
			k.silent = append(k.silent, silence{i, now})
			return
		}
	}
}

// lastWords is how long the parties of a session are silent before it ends
// (ours: what waits at its sockets is gone then, unless the relay cannot keep up).
const lastWords = 500 * time.Millisecond

// replace ends sessions whose last packets have arrived, and begins others.
func (k *soaking) replace(now time.Time) error {
	for len(k.silent) > 0 && now.Sub(k.silent[0].since) > lastWords {
		if err := k.swap(k.silent[0].slot); err != nil {
			return err
		}
		k.silent = k.silent[1:]
	}
	return nil
}

// swap begins a session, in place of the slot's last one.
func (k *soaking) swap(i int) error {
	ports, err := k.relay.swap(i)
	if err != nil {
		return err
	}
	var c call
	for side := range c {
		own := uint16([2]int{callerPort, calleePort}[side] + i)
		to := netip.AddrPortFrom(k.lab.at, ports[side])
		c[side] = newFlow(k.lab.parties[side], k.lab.inner[side], own, to, k.rand.Uint32())
	}
	k.traffic.slots[i].call.Store(&c)
	return nil
}

// settle ends all sessions and notes what is left of them.
func (k *soaking) settle(a *account) (err error) {
	time.Sleep(lastWords)
	for i := range k.sessions {
		if err := k.relay.end(i); err != nil {
			return err
		}
	}
	if err := k.row(a); err != nil {
		return err
	}
	for deadline := time.Now().Add(k.rest + 10*time.Second); ; time.Sleep(100 * time.Millisecond) {
		if a.after, err = k.relay.state(); err != nil {
			return err
		}
		if a.after.Resting == 0 && a.after.Kept == 0 || time.Now().After(deadline) {
			break
		}
	}
	a.sockets, err = k.lab.sockets()
	return err
}

func (k *soaking) title() {
	fmt.Fprintf(k.out, "%s, %d sessions, %d packets/s together, %v, a session lives %v on average\n", k.plane,
		k.sessions, 2*k.rate*k.sessions, k.lasting, k.life)
	fmt.Fprintf(k.out, "%6s %7s %12s %9s %12s %10s %12s %8s %7s %7s %7s %7s %6s %6s\n", "s", "calls", "sent",
		"no room", "kernel", "user", "arrived", "missing", "RSS MiB", "heap", "gorout.", "files", "flows", "CPU %")
}

// row writes what happened so far. While packets are on their way some are missing.
func (k *soaking) row(a *account) (err error) {
	if a.last, err = k.relay.state(); err != nil {
		return err
	}
	h, err := k.sink.read()
	if err != nil {
		return err
	}
	a.sent, a.refused, a.arrived = k.traffic.sent.Load(), k.traffic.refused.Load(), h.total()
	a.p50, a.p99 = h.quantile(0.5), h.quantile(0.99)
	rss, s := resident(k.relay.cmd.Process.Pid), a.last
	a.resident, a.gathered = append(a.resident, rss), max(a.gathered, s.Gathers)
	passed := time.Since(k.began)
	fmt.Fprintf(k.out, "%6.0f %7d %12d %9d %12d %10d %12d %8d %7.1f %7.1f %7d %7d %6d %6.1f\n", passed.Seconds(),
		s.Begun, a.sent, a.refused, s.Relayed.Kernel, s.Relayed.User, a.arrived, int64(a.sent)-int64(a.arrived),
		mebibytes(uint64(rss)), mebibytes(s.Heap), s.Goroutines, s.Files, s.Relayed.Flows, 100*k.cpu()/passed.Seconds())
	return nil
}

func mebibytes(n uint64) float64 { return float64(n) / (1 << 20) }

// cpu is what relaying has taken, in seconds: of its process, and of the
// threads that receive for it.
func (k *soaking) cpu() float64 {
	total := used(k.relay.cmd.Process.Pid)
	for _, pid := range k.lab.napi {
		total += used(pid)
	}
	return total.Seconds()
}

// garbage is how much a heap may grow for no reason but when it is collected.
const garbage = 4 << 20

// verdict says what is not as it should be.
func (a account) verdict() error {
	var all []error
	wrong := func(cond bool, format string, args ...any) {
		if cond {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	taken := a.last.Relayed.Kernel + a.last.Relayed.User
	wrong(a.arrived == 0, "nothing arrived")
	wrong(taken != a.sent, "%d packets came to the relay, and it counts %d", a.sent, taken)
	wrong(a.last.lost() > 0, "the relay dropped %v", a.last.Dropped)
	wrong(a.arrived != a.sent, "%d packets came to the relay, and %d arrived", a.sent, a.arrived)
	wrong(a.after.Sessions+a.after.Ports+a.after.Resting+a.after.Kept+a.after.Relayed.Flows > 0,
		"left are sessions, ports or flows: %+v", a.after)
	wrong(a.after.Files > a.before.Files, "%d files are left open, of %d before", a.after.Files, a.before.Files)
	wrong(a.after.Goroutines > a.before.Goroutines, "%d goroutines are left, of %d before", a.after.Goroutines,
		a.before.Goroutines)
	wrong(a.sockets > 0, "%d sockets are left", a.sockets)
	third := len(a.resident) / 3
	early, late := slices.Max(a.resident[:third+1]), slices.Max(a.resident[len(a.resident)-third-1:])
	wrong(late > early+early/10+garbage, "memory grows, from %d to %d bytes", early, late)
	return errors.Join(all...)
}

// soakedRelay is the engine's process.
type soakedRelay struct {
	relay
	in  io.Writer
	out *bufio.Scanner
}

func (r *soakedRelay) start(k *soaking) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{
		self, "soaked", "-at", k.lab.at.String(), "-plane", k.plane, "-pause", k.pause.String(),
		"-coalesce", k.coalesce.String(), "-rest", k.rest.String(), "-slots", strconv.Itoa(k.sessions),
		"-caller", k.lab.parties[0].addr.String(), "-callee", k.lab.parties[1].addr.String(),
	}
	if k.urgent { // from its first thread on: one that has it can wait for one that never has its turn
		args = append([]string{"chrt", "--rr", strconv.Itoa(soakedPriority)}, args...)
	}
	r.cmd = k.lab.command(1, args[0], args[1:]...)
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	r.out, err = begin(r.cmd)
	return err
}

// ask sends a command, and reads what comes of it.
func (r *soakedRelay) ask(answer any, format string, args ...any) error {
	fmt.Fprintf(r.in, format+"\n", args...)
	if !r.out.Scan() {
		return errors.New("the engine has ended")
	}
	return json.Unmarshal(r.out.Bytes(), answer)
}

func (r *soakedRelay) swap(i int) (p pair, err error) { return p, r.ask(&p, "swap %d", i) }
func (r *soakedRelay) end(i int) error                { return r.ask(&struct{}{}, "end %d", i) }
func (r *soakedRelay) state() (s state, err error)    { return s, r.ask(&s, "state") }

// sockets is how many of UDP there are in the relay's namespace.
func (l *lab) sockets() (n int, err error) {
	for _, file := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		err := inside(l.relay, func() error {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			lines := bufio.NewScanner(f)
			for lines.Scan(); lines.Scan(); { // past the title
				n++
			}
			return lines.Err()
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
