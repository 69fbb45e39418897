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

// all measures everything, contestants in turns, and writes the tables.
func (b *bench) all(o options, who []contestant) error {
	fmt.Printf("load of the machine at the start: %s", load())
	tables := []func(options, []contestant) error{b.byRate}
	if !o.quick {
		tables = append(tables, b.byCapacity, b.bySessions, b.byStreams)
	}
	for _, t := range tables {
		if err := t(o, who); err != nil {
			return err
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
				s, err := b.measure(r, rate, false)
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
		title := fmt.Sprintf("%d packets/s, %d sessions, one way, %d turns", rate, o.sessions, o.reps)
		rows := make([]named, 0, len(who))
		for _, c := range who {
			rows = append(rows, named{c.name, got[c.name][i]})
		}
		compareSamples(title, rows)
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

// named are the samples of one contestant.
type named struct {
	name    string
	samples []sample
}

// compareSamples writes a table of samples, with ratios.
func compareSamples(title string, rows []named) {
	medians := map[string]sample{}
	for _, r := range rows {
		medians[r.name] = median(r.samples, func(s sample) time.Duration { return s.cpu })
	}
	fmt.Printf("\n%s\n%-30s %22s %10s %10s %8s %9s %8s\n", title, "", "CPU µs a packet", "of rtpeng.", "of C",
		"above none", "p50/p99 µs", "lost %")
	for _, r := range rows {
		m := medians[r.name]
		p99 := median(r.samples, func(s sample) time.Duration { return s.p99 }).p99
		loss := median(r.samples, func(s sample) time.Duration { return time.Duration(s.loss * 1e9) }).loss
		fmt.Printf("%-30s %6.2f [%5.2f … %5.2f] %10s %10s %8s %6d/%-6d %.3f\n", r.name, micros(m.cpu),
			micros(lowest(r.samples)), micros(highest(r.samples)), ratio(m, medians[incumbent]), ratio(m, medians[inC]),
			above(m, medians[noRelay]), m.p50.Microseconds(), p99.Microseconds(), 100*loss)
	}
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

func ratio(a, b sample) string {
	if b.cpu == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a.cpu)/float64(b.cpu))
}

func above(a, none sample) string {
	return fmt.Sprintf("%+.2f", micros(a.cpu)-micros(none.cpu))
}

// byCapacity searches what each keeps up with, and compares what a packet
// takes to cross at a quarter of rtpengine's most.
func (b *bench) byCapacity(o options, who []contestant) error {
	most := map[string][]int{}
	limited := map[string]bool{}
	searches := max(1, o.reps/2)
	err := inTurns(searches, who, func(c contestant) error {
		return b.turn(c, o.sessions, func(r *relay) error {
			n, generator, err := b.capacity(r)
			most[c.name] = append(most[c.name], n)
			limited[c.name] = limited[c.name] || generator
			return err
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nmost packets/s of one processor with less than %.1f %% lost, %d sessions, %d searches\n",
		100*tolerated, o.sessions, searches)
	theirs := 0
	if len(most[incumbent]) > 0 {
		theirs = middle(most[incumbent])
	}
	for _, c := range who {
		all := most[c.name]
		text := fmt.Sprintf("%-30s %8d [%d … %d]", c.name, middle(all), slices.Min(all), slices.Max(all))
		if theirs > 0 {
			text += fmt.Sprintf("  %.2f of rtpengine", float64(middle(all))/float64(theirs))
		}
		if limited[c.name] {
			text += ", the phones' limit"
		}
		fmt.Println(text)
	}
	if theirs == 0 {
		return nil
	}
	return b.at(o, who, theirs/4, fmt.Sprintf("%d packets/s, a quarter of rtpengine's most", theirs/4),
		o.sessions, false)
}

func middle(all []int) int {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// at compares all at one load.
func (b *bench) at(o options, who []contestant, rate int, title string, sessions int, bothWays bool) error {
	got := map[string][]sample{}
	err := inTurns(o.reps, who, func(c contestant) error {
		return b.turn(c, sessions, func(r *relay) error {
			s, err := b.measure(r, rate, bothWays)
			got[c.name] = append(got[c.name], s)
			return err
		})
	})
	if err != nil {
		return err
	}
	rows := make([]named, 0, len(who))
	for _, c := range who {
		rows = append(rows, named{c.name, got[c.name]})
	}
	compareSamples(title, rows)
	return nil
}

// byStreams compares CPU by the number of streams, and both ways.
func (b *bench) byStreams(o options, who []contestant) error {
	const rate = 50000
	o.reps = max(1, o.reps/2)
	for _, n := range []int{100, o.many} {
		if err := b.at(o, who, rate, fmt.Sprintf("%d packets/s, %d sessions", rate, n), n, false); err != nil {
			return err
		}
	}
	return b.at(o, who, rate, fmt.Sprintf("%d packets/s both ways together, %d sessions", rate, o.sessions),
		o.sessions, true)
}

// bySessions compares memory, and CPU of setting sessions up.
func (b *bench) bySessions(o options, who []contestant) error {
	fmt.Printf("\nmemory of a session, and CPU of offer, answer and delete, %d turns\n%-30s %9s %12s %14s %12s\n",
		o.reps, "", "sessions", "process KiB", "sockets KiB", "CPU µs")
	able := slices.DeleteFunc(slices.Clone(who), func(c contestant) bool {
		return !c.setUp || c.name == user // the pause makes no difference
	})
	for _, n := range []int{100, 1000, o.many} {
		got := map[string][]footprint{}
		err := inTurns(o.reps, able, func(c contestant) error {
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
