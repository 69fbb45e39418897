package main

import (
	"fmt"
	"slices"
	"strconv"
)

// A column is one number of streams.
type column struct {
	name     string
	sessions int
	demand
	got map[string][]sample // by contestant
}

// byStreams compares CPU by the number of streams, and both ways.
func (b *bench) byStreams(o options, who []contestant) error {
	const rate, samples = 50000, 3
	columns := []column{
		{name: strconv.Itoa(o.sessions), sessions: o.sessions, demand: demand{rate: rate, flows: o.sessions}},
		{name: "100", sessions: 100, demand: demand{rate: rate, flows: 100}},
		{name: strconv.Itoa(o.many), sessions: o.many, demand: demand{rate: rate, flows: o.many}},
		{
			name: fmt.Sprintf("%d both ways", o.sessions/2), sessions: o.sessions / 2,
			demand: demand{rate: rate, flows: o.sessions, bothWays: true},
		},
	}
	for i := range columns {
		columns[i].got = map[string][]sample{}
	}
	turns := max(1, o.reps/3)
	err := inTurns(turns, who, func(c contestant) error {
		for _, col := range columns {
			if err := b.sampled(c, col, samples); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%d packets/s of so many sessions: CPU µs a packet, and what part that is of the first; %d turns of %d\n",
		rate, turns, samples)
	printColumns(columns, who)
	return nil
}

// sampled takes some samples of a column from one start of a contestant.
func (b *bench) sampled(c contestant, col column, n int) error {
	return b.turn(c, col.sessions, func(r *relay) error {
		for range n {
			s, err := b.measure(r, col.demand)
			if err != nil {
				return err
			}
			col.got[c.name] = append(col.got[c.name], s)
		}
		return nil
	})
}

func printColumns(columns []column, who []contestant) {
	fmt.Printf("%-30s", "")
	for _, col := range columns {
		fmt.Printf(" %27s", col.name)
	}
	fmt.Println()
	for _, c := range who {
		fmt.Printf("%-30s", c.name)
		for _, col := range columns {
			r := row{c, col.got[c.name]}
			fmt.Printf(" %6.2f [%5.2f … %5.2f] %4s", micros(r.median()), micros(lowest(r.samples)), micros(highest(r.samples)),
				share(r.samples, columns[0].got[c.name]))
		}
		fmt.Println()
	}
}

// byProcessors compares CPU with one and with two threads for packets, each on
// a processor and with the same load. Phones need one of the two: they sleep
// between packets, which leave together every 200 µs; what they cost is not
// counted.
func (b *bench) byProcessors(o options, who []contestant) error {
	usual := b.burst
	defer func() { b.burst = usual }()
	b.burst = burstEvery
	const each = 12500
	columns := make([]column, 2)
	names := slices.ContainsFunc(who, func(c contestant) bool { return c.name == incumbent })
	for i := range columns {
		columns[i] = column{
			name: fmt.Sprintf("%d of 2 processors", i+1), sessions: o.sessions, got: map[string][]sample{},
			demand: demand{rate: each * (i + 1), bothWays: true, shares: true},
		}
	}
	for range o.reps {
		for i, col := range columns {
			for _, c := range withThreads(i+1, names) {
				if err := b.sampled(c, col, 1); err != nil {
					return err
				}
			}
		}
	}
	fmt.Printf("\n%d packets/s of each thread, both ways: CPU µs a packet, and what part that is of the first; %d turns\n",
		each, o.reps)
	printColumns(columns, withThreads(1, names))
	return nil
}
