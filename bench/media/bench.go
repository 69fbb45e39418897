package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/link"
)

// A bench has the phones, and one contestant after the other.
type bench struct {
	lab     *lab
	sink    *sink
	parties [2]*party
	soft    []int // the system's threads for what is left over on the relay's processor
	lasting time.Duration
	burst   time.Duration // packets leave at multiples of it; 0: when they are due
	gather  time.Duration // packets gather at the relay's interfaces, whoever relays
}

// A sample is what one turn has shown.
type sample struct {
	rate     int           // packets/s that were sent
	cpu      time.Duration // for each packet that arrived
	p50, p99 time.Duration
	loss     float64
}

// newBench makes the phones.
func newBench(o options) (*bench, error) {
	l, err := newLab()
	if err != nil {
		return nil, err
	}
	b := &bench{lab: l, lasting: o.lasting, burst: o.burst, gather: o.coalesce}
	if b.sink, err = newSink(); err == nil {
		b.soft, err = tasksNamed(fmt.Sprintf("ksoftirqd/%d", relayCPU))
	}
	for i := range b.parties {
		if err == nil {
			b.parties[i], err = newParty(l.parties[i])
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return b, nil
}

// turn has a contestant relay for so many sessions, while f measures.
func (b *bench) turn(c contestant, sessions int, f func(*relay) error) error {
	fmt.Fprintf(os.Stderr, "%s %s, %d sessions\n", time.Now().Format(time.TimeOnly), c.name, sessions)
	if err := b.lab.coalesce(b.gather); err != nil {
		return err
	}
	r, err := c.start(b.lab)
	if err != nil {
		return err
	}
	defer r.stop()
	if s, ok := r.control.(*inSource); ok {
		if r.cmd, err = s.launch(sessions); err != nil {
			return err
		}
	}
	pairs, err := r.add(0, sessions)
	if err != nil {
		return err
	}
	b.dial(pairs, c.routed)
	ends := b.lab.parties
	if c.name == noRelay { // the packets end where they would be relayed
		ends = b.lab.inner
	}
	for _, e := range ends {
		l, err := b.sink.at(e)
		if err != nil {
			return err
		}
		defer func(l link.Link) { _ = l.Close() }(l) // nothing was written
	}
	if err := b.greet(sessions); err != nil {
		return err
	}
	return f(r)
}

// dial makes the flows of the phones: to the relay's ports, or to each other.
func (b *bench) dial(pairs []pair, routed bool) {
	own := [2]int{callerPort, calleePort}
	for side, p := range b.parties {
		p.flows = nil
		for i, ports := range pairs {
			to := netip.AddrPortFrom(b.lab.at, ports[side])
			if routed {
				to = netip.AddrPortFrom(b.lab.parties[1-side].addr, uint16(own[1-side]+i))
			}
			p.flows = append(p.flows,
				newFlow(b.lab.parties[side], b.lab.inner[side], uint16(own[side]+i), to, uint32(1+2*i+side)))
		}
	}
}

// greetings is how many packets each party sends before the measurement: the
// relay has learnt where both are, and the kernel has the flow.
const greetings = 4

func (b *bench) greet(sessions int) error {
	const rate = 20000
	_, err := newSchedule(b.parties[:], 2*sessions, rate, 0).
		play(time.Duration(2*greetings*sessions)*time.Second/rate, false)
	return err
}

// errNone says that a turn has shown nothing.
var errNone = errors.New("no packet arrived")

// A demand is what the phones are to send.
type demand struct {
	rate     int  // packets/s, of all together
	flows    int  // that send them; 0: so many as make that rate with a packet each 20 ms
	bothWays bool // callers and callees send, else callers
	shares   bool // their processor with the relay
}

// schedule is when the phones send.
func (b *bench) schedule(t demand) schedule {
	senders := b.parties[:1]
	if t.bothWays {
		senders = b.parties[:]
	}
	if t.flows == 0 {
		t.flows = talking(t.rate)
	}
	s := newSchedule(senders, t.flows, t.rate, b.burst)
	s.sleeps = t.shares
	return s
}

// measure has the phones send. It tries again if nothing arrives: the
// machine's other programs can take a turn whole.
func (b *bench) measure(r *relay, t demand) (s sample, err error) {
	plan := b.schedule(t)
	for range tries {
		if s, err = b.once(r, plan); !errors.Is(err, errNone) {
			break
		}
	}
	return s, err
}

// warmUp comes before what is measured (ours: a relay that follows the load, or
// has the interfaces follow it, has found it).
const warmUp = 250 * time.Millisecond

// once is one turn.
func (b *bench) once(r *relay, plan schedule) (sample, error) {
	if pid := r.pid(); pid != 0 {
		if err := urgent(pid, relayPriority); err != nil {
			return sample{}, err
		}
		defer func() { _ = urgent(pid, 0) }() // the next turn would say
	}
	before, err := b.sink.read()
	if err != nil {
		return sample{}, err
	}
	if _, err := plan.play(warmUp, false); err != nil {
		return sample{}, err
	}
	began := b.cpu(r) // at once: a relay that follows the load must not see an end of it
	sent, err := plan.play(b.lasting, true)
	if err != nil {
		return sample{}, err
	}
	time.Sleep(settle)
	cpu := b.cpu(r) - began
	after, err := b.sink.read()
	if err != nil {
		return sample{}, err
	}
	h := after.since(before)
	n := h.total()
	if n == 0 {
		return sample{}, errNone
	}
	return sample{
		rate: int(float64(sent) / b.lasting.Seconds()), cpu: cpu / time.Duration(n),
		p50: h.quantile(0.50), p99: h.quantile(0.99), loss: max(0, 1-float64(n)/float64(sent)),
	}, nil
}

// settle is how long packets that are on their way have (ours: what takes
// longer is of no use to a phone).
const settle = 100 * time.Millisecond

// cpu is all that relaying has taken so far: the process, the threads that
// receive for it, and what the system has left for later on its processor.
func (b *bench) cpu(r *relay) (total time.Duration) {
	if pid := r.pid(); pid != 0 {
		total += used(pid)
	}
	for _, pid := range b.lab.napi {
		total += used(pid)
	}
	for _, pid := range b.soft {
		total += used(pid)
	}
	return total
}

// tolerated is the loss that a relay which keeps up may have.
const tolerated = 0.001

// capacity searches the highest rate that is kept up with, to 5 %. generator
// says that the phones could not send more.
func (b *bench) capacity(r *relay) (most int, generator bool, err error) {
	low, high := 0, 0
	for rate := 40000; high == 0 || float64(high) > 1.05*float64(low); {
		kept, sent, err := b.keeps(r, rate)
		switch {
		case err != nil:
			return 0, false, err
		case kept:
			low = rate
		default:
			high, generator = rate, !sent
		}
		if rate = (low + high) / 2; high == 0 {
			rate = 2 * low
		}
		if rate < 1000 {
			return 0, false, fmt.Errorf("not even %d packets/s without loss", high)
		}
	}
	return low, generator, nil
}

// tries is how often a rate is tried (ours: others use the machine, too, and
// what is lost because of them is not lost again).
const tries = 3

// keeps says whether a relay keeps up with a rate, and whether the phones do.
func (b *bench) keeps(r *relay, rate int) (kept, sent bool, err error) {
	plan := b.schedule(demand{rate: rate})
	for range tries {
		s, err := b.once(r, plan)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return false, false, err
		}
		if float64(s.rate) < 0.97*float64(rate) {
			continue
		}
		if sent = true; s.loss < tolerated {
			return true, true, nil
		}
	}
	return false, sent, nil
}

// A footprint is what sessions take.
type footprint struct {
	resident, slab int           // bytes for each session
	setUp          time.Duration // CPU of offer, answer and delete
}

const (
	// churned is how many sessions are set up and ended to know what one costs.
	churned = 500
	// settling is until the process and the kernel have given back what ended sessions had.
	settling = time.Second
)

// weigh measures what so many sessions take.
func (b *bench) weigh(c contestant, sessions int) (f footprint, err error) {
	r, err := c.start(b.lab)
	if err != nil {
		return f, err
	}
	defer r.stop()
	if err := r.churn(churned); err != nil { // what is made once is made
		return f, err
	}
	time.Sleep(settling)
	memory, kernel := resident(r.pid()), slab()
	if _, err := r.add(0, sessions); err != nil {
		return f, err
	}
	f.resident, f.slab = (resident(r.pid())-memory)/sessions, (slab()-kernel)/sessions
	began := used(r.pid())
	if err := r.churn(churned); err != nil {
		return f, err
	}
	f.setUp = (used(r.pid()) - began) / churned
	return f, nil
}
