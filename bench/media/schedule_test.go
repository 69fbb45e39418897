package main

import (
	"slices"
	"testing"
	"time"
)

// phones are parties with so many flows each.
func phones(n int) []*party {
	all := []*party{{}, {}}
	for _, p := range all {
		for range n {
			p.flows = append(p.flows, new(flow))
		}
	}
	return all
}

// Each of the flows that talk has one packet in a period, at the same time in
// each run; packets are apart as those of a Poisson process are.
func TestScheduleIsOfIndependentPhones(t *testing.T) {
	const rate = 10000
	p := phones(1000)
	s, again := newSchedule(p[:1], talking(rate), rate, 0), newSchedule(p[:1], talking(rate), rate, 0)
	if s.period != packetTime || len(s.round) != 200 || !slices.Equal(s.round, again.round) {
		t.Fatalf("%v, %d packets", s.period, len(s.round))
	}
	seen, close := map[*flow]bool{}, 0
	for i, d := range s.round {
		if seen[d.flow] || d.at < 0 || d.at >= s.period {
			t.Errorf("packet %d at %v, of a flow that has one: %v", i, d.at, seen[d.flow])
		}
		seen[d.flow] = true
		if i > 0 && d.at-s.round[i-1].at < s.period/200/2 {
			close++
		}
	}
	if part := float64(close) / 200; part < 0.3 || part > 0.5 { // 1 - e^-1/2 of a Poisson process
		t.Errorf("%.2f of the gaps are less than half of the mean", part)
	}
}

func TestScheduleBothWays(t *testing.T) {
	s := newSchedule(phones(500), 1000, 50000, 200*time.Microsecond)
	from := map[*party]int{}
	for _, d := range s.round {
		from[d.from]++
		if d.at%(200*time.Microsecond) != 0 {
			t.Errorf("leaves at %v", d.at)
		}
	}
	if len(from) != 2 || len(s.round) != 1000 || from[s.round[0].from] != 500 {
		t.Errorf("%v", from)
	}
	for at := 0; at < len(s.round); { // what leaves together is of one party, and all of a time goes
		n := s.due(at, s.round[at].at)
		if n == 0 {
			t.Fatal("nothing is due at its time")
		}
		at += n
	}
	if n := s.due(0, s.round[0].at-1); n != 0 {
		t.Errorf("%d are due before their time", n)
	}
}

// What compares two contestants compares them within a turn.
func TestComparedInPairs(t *testing.T) {
	a := []sample{{cpu: 1000}, {cpu: 30000}, {cpu: 3000}}
	b := []sample{{cpu: 2000}, {cpu: 10000}, {cpu: 3000}}
	if share(a, b) != "1.00" || above(a, b) != "+0.00" || share(a, nil) != "-" {
		t.Errorf("%s, %s, %s", share(a, b), above(a, b), share(a, nil))
	}
}
