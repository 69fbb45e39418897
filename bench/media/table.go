package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// rates are the loads at which CPU is compared.
var rates = [3]int{10000, 25000, 50000}

// A stage is a part of the whole, which takes some minutes at the most.
type stage struct {
	name string
	run  func(*bench, options, []contestant) error
}

// stages are all of them, in order.
var stages = []stage{
	{"rates", (*bench).byRate},
	{"most", (*bench).byCapacity},
	{"sessions", (*bench).bySessions},
	{"streams", (*bench).byStreams},
	{"processors", (*bench).byProcessors},
}

// all runs the stages that are asked for, contestants in turns, and writes the tables.
func (b *bench) all(o options, who []contestant) error {
	m, err := newMachine()
	if err != nil {
		return err
	}
	fmt.Printf("%v\nload of the machine at the start: %s", m, load())
	for _, s := range stages {
		if o.stages != "" && !slices.Contains(strings.Split(o.stages, ","), s.name) {
			continue
		}
		if err := s.run(b, o, who); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	fmt.Printf("\nload of the machine at the end: %s", load())
	return nil
}

// load is how busy the machine is, with all its other programs.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown\n"
	}
	return string(text)
}

// byRate compares CPU for each packet and what a packet takes to cross.
func (b *bench) byRate(o options, who []contestant) error {
	got := map[string]*[3][]sample{} // by contestant, then rate
	err := inTurns(o.reps, who, func(c contestant) error {
		if got[c.name] == nil {
			got[c.name] = new([3][]sample)
		}
		return b.turn(c, o.sessions, func(r *relay) error {
			for i, rate := range rates {
				s, err := b.measure(r, demand{rate: rate})
				if err != nil {
					return err
				}
				got[c.name][i] = append(got[c.name][i], s)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for i, rate := range rates {
		title := fmt.Sprintf("%d packets/s, %d of %d sessions, one way, %d turns",
			rate, min(talking(rate), o.sessions), o.sessions, o.reps)
		t := table{}
		for _, c := range who {
			t = append(t, row{c, got[c.name][i]})
		}
		t.print(title)
	}
	return nil
}

// inTurns has each contestant do something, several times.
func inTurns(times int, who []contestant, do func(contestant) error) error {
	for range times {
		for _, c := range who {
			if err := do(c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// A table is the samples of all contestants at one load.
type table []row

// A row is a contestant's samples, one of each turn.
type row struct {
	contestant
	samples []sample
}

// of is the samples of a contestant; none if it was left out.
func (t table) of(name string) []sample {
	for _, r := range t {
		if r.name == name {
			return r.samples
		}
	}
	return nil
}

// print writes the table. What compares two contestants is the median of the
// comparisons within a turn: what a turn has had to bear, both have.
func (t table) print(title string) {
	fmt.Printf("\n%s\n%-30s %22s %10s %10s %11s %11s %8s\n", title, "", "CPU µs a packet", "of rtpeng.", "of C",
		"above none", "p50/p99 µs", "lost %")
	for _, r := range t {
		like := cmp.Or(r.like, inC)
		p50 := median(r.samples, func(s sample) time.Duration { return s.p50 }).p50
		p99 := median(r.samples, func(s sample) time.Duration { return s.p99 }).p99
		loss := median(r.samples, func(s sample) time.Duration { return time.Duration(s.loss * 1e9) }).loss
		fmt.Printf("%-30s %6.2f [%5.2f … %5.2f] %10s %10s %11s %5d/%-5d %8.3f\n", r.name, micros(r.median()),
			micros(lowest(r.samples)), micros(highest(r.samples)), share(r.samples, t.of(incumbent)),
			share(r.samples, t.of(like)), above(r.samples, t.of(noRelay)), p50.Microseconds(), p99.Microseconds(), 100*loss)
	}
}

func (r row) median() time.Duration {
	return median(r.samples, func(s sample) time.Duration { return s.cpu }).cpu
}

// median is the sample in the middle.
func median(all []sample, by func(sample) time.Duration) sample {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b sample) int { return cmp.Compare(by(a), by(b)) })
	return sorted[len(sorted)/2]
}

func lowest(all []sample) time.Duration {
	return slices.MinFunc(all, func(a, b sample) int { return cmp.Compare(a.cpu, b.cpu) }).cpu
}

func highest(all []sample) time.Duration {
	return slices.MaxFunc(all, func(a, b sample) int { return cmp.Compare(a.cpu, b.cpu) }).cpu
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// inPairs is the median of what f says of the samples of the same turns.
func inPairs(a, b []sample, f func(a, b float64) float64) (value float64, ok bool) {
	n := min(len(a), len(b))
	if n == 0 {
		return 0, false
	}
	all := make([]float64, n)
	for i := range all {
		all[i] = f(micros(a[i].cpu), micros(b[i].cpu))
	}
	return slices.Sorted(slices.Values(all))[n/2], true
}

// share is what part a costs of b.
func share(a, b []sample) string {
	part, ok := inPairs(a, b, func(a, b float64) float64 { return a / b })
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f", part)
}

// above is what a costs more than b.
func above(a, b []sample) string {
	more, ok := inPairs(a, b, func(a, b float64) float64 { return a - b })
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%+.2f", more)
}

// A search is the most that a contestant keeps up with, and what packets take
// to cross at a quarter of that.
type search struct {
	most      int
	generator bool // the phones could not send more
	quarter   sample
}

// byCapacity searches what each keeps up with.
func (b *bench) byCapacity(o options, who []contestant) error {
	got := map[string][]search{}
	searches := max(1, o.reps/3)
	err := inTurns(searches, who, func(c contestant) error {
		return b.turn(c, o.sessions, func(r *relay) (err error) {
			var s search
			if s.most, s.generator, err = b.capacity(r); err == nil {
				s.quarter, err = b.measure(r, demand{rate: s.most / 4})
			}
			got[c.name] = append(got[c.name], s)
			return err
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nmost packets/s of one processor with less than %.1f %% lost, %d sessions, the median of %d searches;\n"+
		"and what packets take to cross at a quarter of it\n%-30s %29s %10s %11s\n",
		100*tolerated, o.sessions, searches, "", "packets/s", "of rtpeng.", "p50/p99 µs")
	for _, c := range who {
		fmt.Println(limit(c.name, got[c.name], got[incumbent]))
	}
	return nil
}

// limit is a row of medians.
func limit(name string, all, theirs []search) string {
	most := func(all []search) []int {
		values := make([]int, len(all))
		for i, s := range all {
			values[i] = s.most
		}
		return values
	}
	part := "-"
	if len(theirs) > 0 {
		part = fmt.Sprintf("%.2f", float64(middle(most(all)))/float64(middle(most(theirs))))
	}
	quarters := make([]sample, len(all))
	for i, s := range all {
		quarters[i] = s.quarter
	}
	p50 := median(quarters, func(s sample) time.Duration { return s.p50 }).p50
	p99 := median(quarters, func(s sample) time.Duration { return s.p99 }).p99
	text := fmt.Sprintf("%-30s %9d [%7d … %7d] %10s %5d/%-5d", name, middle(most(all)), slices.Min(most(all)),
		slices.Max(most(all)), part, p50.Microseconds(), p99.Microseconds())
	if slices.ContainsFunc(all, func(s search) bool { return s.generator }) {
		text += " the phones' limit"
	}
	return text
}

func middle[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// bySessions compares memory, and CPU of setting sessions up.
func (b *bench) bySessions(o options, who []contestant) error {
	turns := max(1, o.reps/2)
	fmt.Printf("\nmemory of a session, and CPU of offer, answer and delete, %d turns\n%-30s %9s %12s %14s %12s\n",
		turns, "", "sessions", "process KiB", "sockets KiB", "CPU µs")
	able := slices.DeleteFunc(slices.Clone(who), func(c contestant) bool {
		return !c.setUp || c.name == user // the pause makes no difference
	})
	for _, n := range []int{100, 1000, o.many} {
		got := map[string][]footprint{}
		err := inTurns(turns, able, func(c contestant) error {
			f, err := b.weigh(c, n)
			got[c.name] = append(got[c.name], f)
			return err
		})
		if err != nil {
			return err
		}
		for _, c := range able {
			fmt.Println(weight(c.name, n, got[c.name], got[incumbent]))
		}
	}
	return nil
}

// weight is a row of medians.
func weight(name string, n int, all, theirs []footprint) string {
	of := func(all []footprint, what func(footprint) int) int {
		values := make([]int, len(all))
		for i, f := range all {
			values[i] = what(f)
		}
		return middle(values)
	}
	memory := func(f footprint) int { return f.resident }
	cpu := func(f footprint) int { return int(f.setUp) }
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s %9d %12.1f %14.1f %12.0f", name, n, float64(of(all, memory))/1024,
		float64(of(all, func(f footprint) int { return f.slab }))/1024, float64(of(all, cpu))/1e3)
	if len(theirs) > 0 && name != incumbent {
		fmt.Fprintf(&b, "   memory %.2f, CPU %.2f of rtpengine", float64(of(all, memory))/float64(of(theirs, memory)),
			float64(of(all, cpu))/float64(of(theirs, cpu)))
	}
	return b.String()
}
