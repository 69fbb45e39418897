package main

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A slot is a place for one session after the other.
type slot struct {
	call atomic.Pointer[call] // nil: nobody talks
}

// A call is the packets of both parties of a session. Only the sender's thread
// uses it once it is in a slot.
type call [2]*flow

// traffic is what both parties of all sessions send, each so many packets/s,
// until it is stopped. Its packets are stamped.
type traffic struct {
	parties [2]*party
	slots   []slot
	rate    int // packets/s of each party of a session

	sent    atomic.Uint64 // that the relay's receive queue had room for
	refused atomic.Uint64 // that it had none for
	stop    atomic.Bool
	done    <-chan error
}

// begin starts the sender.
func (t *traffic) begin() { t.done = bound(phonesCPU, phonesPriority, t.run) }

// end stops the sender, and says why it could not send.
func (t *traffic) end() error {
	t.stop.Store(true)
	return <-t.done
}

// burstEvery is how often packets are sent (ours: a soak asks what is lost, not
// what a wake-up costs, and may leave the phones' processor to others meanwhile).
const burstEvery = 200 * time.Microsecond

// late is how much of what could not be sent in time is sent later (ours: what
// a phone's own buffer holds). The rest is left out, and not counted as sent.
const late = 20 * time.Millisecond

// run sends what is due, to the callers' side and to the callees' in turn.
func (t *traffic) run() {
	began := clock()
	each := float64(t.rate*len(t.slots)) / float64(time.Second) // of a side, in a nanosecond
	behind := max(most, int(each*float64(late)))
	given, at := 0, 0
	for next := began; !t.stop.Load(); next += uint64(burstEvery) {
		ts := unix.NsecToTimespec(int64(next))
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) != nil { // EINTR
		}
		due := int(math.Floor(each*float64(clock()-began))) - given
		if due > behind {
			given += due - behind
			due = behind
		}
		for due > 0 {
			n := min(due, most)
			for side, p := range t.parties {
				t.burst(p, side, at, n)
			}
			given, due, at = given+n, due-n, (at+n)%len(t.slots)
		}
	}
}

// burst sends a packet of one party of each of the next n sessions.
func (t *traffic) burst(p *party, side, at, n int) {
	stamp, ready := clock(), 0
	for i := range n {
		c := t.slots[(at+i)%len(t.slots)].call.Load()
		if c == nil {
			continue
		}
		f := c[side]
		f.next(stamp)
		p.iovs[ready].Base = &f.frame[0]
		p.iovs[ready].SetLen(frameSize)
		p.msgs[ready].Iov, p.msgs[ready].Iovlen = &p.iovs[ready], 1
		ready++
	}
	refused := 0
	for at := 0; at < ready; at++ { // past the one that was refused
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&p.msgs[at])),
			uintptr(ready-at), 0, 0, 0)
		if errno == 0 {
			at += int(n) - 1
		} else {
			refused++
		}
	}
	t.sent.Add(uint64(ready - refused))
	t.refused.Add(uint64(refused))
}
