// Command sip compares what signalling costs in Sotto and in Kamailio: both
// get the same load from the same generator, in turns, in one run, so that the
// ratio holds on a machine that others use too. `make bench-sip` runs it.
//
// CPU time is that of the whole server, all threads and processes, the
// system's part of it included, for each registration (a challenge and its
// answer) or call (INVITE, 180, 200, ACK, BYE, 200; rings 40 ms, lasts 40 ms).
// A run in which a message was lost says so.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// at is where servers and phones of the comparison are: addresses of their
// own, so that nothing else on the machine is in the way.
func at() place {
	return place{
		server: netip.MustParseAddrPort("127.0.94.1:5060"),
		caller: netip.MustParseAddrPort("127.0.94.2:5060"),
		callee: netip.MustParseAddrPort("127.0.94.3:5060"),
		domain: "bench.example", users: 200,
		ring: 40 * time.Millisecond, hold: 40 * time.Millisecond,
	}
}

// A trial is one kind of load, and how both servers are set up for it.
type trial struct {
	name     string
	register bool
	protect  string   // protect_ip of Sotto
	kamailio []string // switches of kamailio.cfg
	against  string
}

var trials = []trial{
	{name: "register", register: true, against: "Kamailio, digest"},
	{name: "call", against: "Kamailio"},
	{name: "call, protected", protect: "always", kamailio: []string{"WITH_TOPOH"}, against: "Kamailio + topoh, no media"},
}

func main() {
	rate := flag.Int("rate", 200, "registrations or calls a second")
	lasting := flag.Duration("for", 3*time.Second, "length of a run")
	reps := flag.Int("reps", 5, "runs of each")
	sotto := flag.String("sotto", "", "the program to measure")
	alone := flag.Bool("alone", false, "without Kamailio")
	flag.Parse()
	if err := compare(*sotto, *rate, *lasting, *reps, *alone); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare runs all trials and writes a table.
func compare(sotto string, rate int, lasting time.Duration, reps int, alone bool) error {
	fmt.Printf("%-16s %8s %12s %8s %12s   %s\n", "", "CPU µs", "p50/p99 ms", "CPU µs", "p50/p99 ms", "ratio of CPU")
	for _, t := range trials {
		ours, err := measureServer(t, rate, lasting, reps, func(dir string) (*server, error) {
			return startSotto(dir, sotto, at(), t.protect)
		})
		if err != nil {
			return fmt.Errorf("sotto, %s: %w", t.name, err)
		}
		var theirs []sample
		if !alone {
			theirs, err = measureServer(t, rate, lasting, reps, func(dir string) (*server, error) {
				return startKamailio(dir, at(), t.kamailio)
			})
			if err != nil {
				return fmt.Errorf("kamailio, %s: %w", t.name, err)
			}
		}
		fmt.Println(row(t, ours, theirs))
	}
	return nil
}

// A sample is one run.
type sample struct {
	cpu      time.Duration // for each unit
	p50, p99 time.Duration // INVITE to 180
	lost     int
}

// measureServer starts a server, warms it up and measures it.
func measureServer(
	t trial, rate int, lasting time.Duration, reps int, start func(dir string) (*server, error),
) ([]sample, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the temporary directory
	s, err := start(dir)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	l, err := newLoad(at())
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.close() }() // sockets of a process that ends
	if err := s.ready(l); err != nil {
		return nil, err
	}
	n := int(float64(rate) * lasting.Seconds())
	run := l.calls
	if t.register {
		run = l.registrations
	}
	run(n, rate, 0)
	all := make([]sample, 0, reps)
	for range reps {
		before, err := s.cpu()
		if err != nil {
			return nil, err
		}
		r := run(n, rate, 0)
		after, err := s.cpu()
		if err != nil {
			return nil, err
		}
		if r.done == 0 {
			return nil, fmt.Errorf("none of %d done; refused: %v", r.asked, r.refused)
		}
		all = append(all, sampleOf(r, after-before))
	}
	return all, nil
}

func sampleOf(r result, cpu time.Duration) sample {
	s := sample{cpu: cpu / time.Duration(r.done), lost: r.asked - r.done}
	if slices.Sort(r.setUp); len(r.setUp) > 0 {
		s.p50, s.p99 = r.setUp[len(r.setUp)/2], r.setUp[len(r.setUp)*99/100]
	}
	return s
}

// row is a line of the table: medians.
func row(t trial, ours, theirs []sample) string {
	a := median(ours)
	text := fmt.Sprintf("%-16s %8d %12s", t.name, a.cpu.Microseconds(), latency(a))
	if len(theirs) > 0 {
		b := median(theirs)
		text += fmt.Sprintf(" %8d %12s   %.2f of %s", b.cpu.Microseconds(), latency(b),
			float64(a.cpu)/float64(b.cpu), t.against)
	}
	return text + losses("Sotto", ours) + losses("Kamailio", theirs)
}

// losses tells of the runs in which messages were lost.
func losses(who string, all []sample) string {
	runs, lost := 0, 0
	for _, s := range all {
		if s.lost > 0 {
			runs++
			lost += s.lost
		}
	}
	if runs == 0 {
		return ""
	}
	return fmt.Sprintf("; %s lost %d in %d of %d runs", who, lost, runs, len(all))
}

func latency(s sample) string {
	if s.p99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f/%.1f", float64(s.p50.Microseconds())/1e3, float64(s.p99.Microseconds())/1e3)
}

// median is the run with the median of CPU time, of those without a loss if
// there are any.
func median(all []sample) sample {
	if clean := slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.lost > 0 }); len(clean) > 0 {
		all = clean
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b sample) int { return cmp.Compare(a.cpu, b.cpu) })
	return sorted[len(sorted)/2]
}
