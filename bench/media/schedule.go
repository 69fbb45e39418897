package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A schedule is when packets leave: of each flow one in each period, at a time
// of its own, as phones do that know nothing of each other. Their sum is close
// to a Poisson process, and repeats itself after a period.
type schedule struct {
	period time.Duration
	round  []departure // of one period, in order
	sleeps bool        // between packets, since a relay has the processor, too
}

// A departure is a packet of a flow, at a time of each period.
type departure struct {
	at   time.Duration
	from *party
	flow *flow
}

// packetTime is how far apart the packets of a phone are.
const packetTime = 20 * time.Millisecond

// talking is how many flows make that rate, if there are so many.
func talking(rate int) int { return max(1, int(time.Duration(rate)*packetTime/time.Second)) }

// newSchedule has so many flows of the parties send at a rate, all of them at
// most; which ones, and when, is chance that is the same in each turn. With
// bursts, packets wait for the next multiple of that time.
func newSchedule(parties []*party, flows, rate int, burst time.Duration) schedule {
	var all []departure
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: it is to be the same each time
	for _, i := range chance.Perm(len(parties[0].flows)) {
		for _, p := range parties {
			all = append(all, departure{from: p, flow: p.flows[i]})
		}
	}
	all = all[:min(flows, len(all))]
	s := schedule{period: time.Duration(len(all)) * time.Second / time.Duration(rate), round: all}
	for i := range all {
		all[i].at = time.Duration(chance.Int64N(int64(s.period)))
		if burst > 0 {
			all[i].at = (all[i].at + burst - 1).Truncate(burst)
		}
	}
	slices.SortStableFunc(all, func(a, b departure) int { return cmp.Compare(a.at, b.at) })
	return s
}

// play sends for a while what the schedule says; stamped, or as packets that
// are not counted. It says how many were sent.
func (s schedule) play(lasting time.Duration, stamped bool) (sent int, err error) {
	err = <-bound(phonesCPU, phonesPriority, func() { sent = s.pace(lasting, stamped) })
	return sent, err
}

// arrears is how far behind its schedule a sender catches up (ours: the
// machine's other programs had the processor); what was due before is not sent.
const arrears = 10 * time.Millisecond

// pace is play on a thread of its own. Between packets it asks for the time
// and does not sleep: a wake-up takes longer than packets are apart.
func (s schedule) pace(lasting time.Duration, stamped bool) (sent int) {
	began, base := time.Now(), clock()
	for at, round := 0, time.Duration(0); ; {
		passed := time.Since(began)
		if passed >= lasting {
			return sent
		}
		n := s.due(at, passed-round)
		switch {
		case n == 0 && s.sleeps:
			rest(base + uint64(round+s.round[at].at))
		case n > 0 && round+s.round[at].at >= passed-arrears:
			stamp := uint64(0)
			if stamped {
				stamp = base + uint64(passed)
			}
			s.round[at].from.send(s.round[at:at+n], stamp)
			sent += n
		}
		if at += n; at == len(s.round) {
			at, round = 0, round+s.period
		}
	}
}

// due is how many packets from there on are due at a time of the period, of
// those that one system call can send.
func (s schedule) due(at int, now time.Duration) (n int) {
	for n < most && at+n < len(s.round) && s.round[at+n].at <= now && s.round[at+n].from == s.round[at].from {
		n++
	}
	return n
}

// rest sleeps until a time of the clock.
func rest(until uint64) {
	t := unix.NsecToTimespec(int64(until))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) // EINTR: it is asked for again
}
