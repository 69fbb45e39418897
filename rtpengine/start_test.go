package rtpengine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sotto/internal/memnet"
)

// A way is how long everything takes between a phone and the engine.
const way = 40 * time.Millisecond

// A beginning is a call over a slow network, of which only the times matter.
type beginning struct {
	t     *testing.T
	e     *Engine
	net   *memnet.Net
	phone [2]memnet.PacketConn
	seq   [2]uint16
}

// begin makes both phones and an engine, and a slow network.
func begin(t *testing.T) *beginning {
	t.Helper()
	b := &beginning{t: t, net: memnet.New()}
	host := b.net.Host(relayIP)
	b.net.Delay(way)
	e, err := New(Config{
		Addresses: []Address{{relayIP, relayIP}}, PortMin: 20000, PortMax: 20099, Workers: 1,
		Listen: func(a netip.AddrPort) (Wire, error) { return host.ListenPacket(a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	b.e = e
	b.open()
	return b
}

// open opens the phones' sockets.
func (b *beginning) open() {
	b.t.Helper()
	for side, ip := range []netip.Addr{callerIP, calleeIP} {
		c, err := b.net.Host(ip).ListenPacket(netip.AddrPortFrom(ip, 4000))
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { _ = c.Close() })
		b.phone[side] = c
	}
}

// says has a party offer or answer.
func (b *beginning) says(tell func(ID, Body) ([]byte, error), side Side, direction string) {
	b.t.Helper()
	ip := [2]netip.Addr{callerIP, calleeIP}[side]
	sdp := fmt.Appendf(audio(ip, 4000), "a=rtpmap:101 telephone-event/8000\r\na=%s\r\n", direction)
	if _, err := tell(1, Body{From: side, SDP: sdp, Source: ip, Toward: V4}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *beginning) offers(side Side, direction string)  { b.says(b.e.Offer, side, direction) }
func (b *beginning) answers(side Side, direction string) { b.says(b.e.Answer, side, direction) }

// after is what a phone does when something has come to it, and it has thought
// about that for so long.
func (b *beginning) after(thought time.Duration) { time.Sleep(way + thought) }

// speaks has a phone send packets of a payload type, one each 20 ms.
func (b *beginning) speaks(side Side, packets int, pt byte) {
	b.t.Helper()
	s := b.report()
	to := s.Side(side).Relay
	for range packets {
		b.seq[side]++
		p := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 1, 2, 3, byte(side), 's'}
		binary.BigEndian.PutUint16(p[2:], b.seq[side])
		if _, err := b.phone[side].WriteToUDPAddrPort(p, to); err != nil {
			b.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// talks has both phones speak for a while.
func (b *beginning) talks() {
	for range 20 {
		b.speaks(Caller, 1, 0)
		b.speaks(Callee, 1, 0)
	}
}

func (b *beginning) report() StreamReport {
	b.t.Helper()
	r, ok := b.e.Query(1)
	if !ok {
		b.t.Fatal("no session")
	}
	return r.Streams[0]
}

// connects is a call that is picked up after five seconds, and in which the
// callee begins at once, the caller when the answer has come.
func (b *beginning) connects(thought time.Duration) {
	b.offers(Caller, "sendrecv")
	time.Sleep(5 * time.Second)
	b.answers(Callee, "sendrecv")
	b.after(thought)
	b.talks()
}

// rests lets nothing be under way any more, and more time than a start may take.
func rests() { time.Sleep(3 * time.Second) }

const trip = 2 * way

// beginnings are ways in which calls begin and go on; of each it is known what
// the round trips are at most. None is less than they are.
var beginnings = map[string]struct {
	play           func(b *beginning)
	caller, callee time.Duration
}{
	"the caller begins with the answer": {
		func(b *beginning) { b.connects(15 * time.Millisecond) },
		trip + 15*time.Millisecond, 0,
	},
	"it takes its time": {func(b *beginning) { b.connects(2 * time.Second) }, 0, 0},
	"the callee is a machine that begins at once": {
		func(b *beginning) {
			b.offers(Caller, "sendrecv")
			b.after(10 * time.Millisecond)
			go b.answers(Callee, "sendrecv") // it is as far away
			b.speaks(Callee, 20, 0)
		},
		0, trip + 10*time.Millisecond,
	},
	"the callee offers, and the caller answers": {
		func(b *beginning) {
			b.offers(Callee, "sendrecv")
			b.after(5 * time.Millisecond)
			time.Sleep(way)
			b.answers(Caller, "sendrecv")
			b.after(7 * time.Millisecond)
			b.talks()
		},
		2*trip + 12*time.Millisecond, trip + 27*time.Millisecond, // the callee speaks after the caller
	},
	"the caller sends before it can": {
		func(b *beginning) {
			b.offers(Caller, "sendrecv")
			b.speaks(Caller, 20, 0)
			b.answers(Callee, "sendrecv")
			b.talks()
		},
		0, 420*time.Millisecond + way,
	},
	"an answer that comes twice": {
		func(b *beginning) {
			b.offers(Caller, "sendrecv")
			time.Sleep(5 * time.Second)
			b.answers(Callee, "sendrecv")
			time.Sleep(way)
			b.answers(Callee, "sendrecv") // a 200 right after the 183
			b.talks()
		},
		trip, 0,
	},
	"only digits": {
		func(b *beginning) {
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv")
			b.after(0)
			b.speaks(Caller, 20, 101)
		},
		0, 0,
	},
	"a packet that is alone": {
		func(b *beginning) {
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv")
			b.after(0)
			b.speaks(Caller, 1, 0)
		},
		0, 0,
	},
	"a hold ends": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.offers(Caller, "sendrecv")
			b.after(3 * time.Millisecond)
			time.Sleep(way)
			b.answers(Callee, "sendrecv")
			b.speaks(Callee, 20, 0)
		},
		0, 2*way + 3*time.Millisecond + way, // its phone answers first
	},
	"who ends its own hold begins when it likes": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "inactive")
			b.answers(Callee, "inactive")
			rests()
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv") // from nearby
			b.speaks(Caller, 20, 0)       // has been under way for as long as the offer
		},
		0, 0,
	},
	"a hold of a second": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			time.Sleep(time.Second)
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv")
			b.speaks(Callee, 20, 0)
		},
		0, 0,
	},
	"a first offer lets it send nothing, and the next comes soon": {
		func(b *beginning) {
			b.offers(Caller, "inactive")
			b.answers(Callee, "inactive")
			time.Sleep(time.Second)
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv")
			b.speaks(Callee, 20, 0) // it may have begun with the first
		},
		0, 0,
	},
	"a phone that speaks while it is held": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.speaks(Callee, 3, 0)
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "sendrecv")
			b.speaks(Callee, 20, 0)
		},
		0, 0,
	},
	"a packet for the NAT as the hold ends": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.offers(Caller, "sendrecv")
			b.speaks(Callee, 1, 0)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.speaks(Callee, 20, 0)
		},
		0, 0,
	},
	"a hold whose end is refused": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.offers(Caller, "sendrecv")
			b.e.Rollback(1)
			b.speaks(Callee, 20, 0)
		},
		0, 0,
	},
	"the held one ends it itself": {
		func(b *beginning) {
			b.connects(2 * time.Second)
			b.offers(Caller, "sendonly")
			b.answers(Callee, "recvonly")
			rests()
			b.offers(Caller, "sendrecv")
			b.answers(Callee, "recvonly") // its user holds, too
			b.offers(Callee, "sendrecv")
			b.speaks(Callee, 20, 0)
		},
		0, 0,
	},
	"the least of all": {
		func(b *beginning) {
			b.connects(15 * time.Millisecond)
			for _, thought := range []time.Duration{9, 3, 6} {
				b.offers(Callee, "sendonly")
				b.answers(Caller, "recvonly")
				rests()
				b.offers(Callee, "sendrecv")
				b.after(thought * time.Millisecond)
				b.speaks(Caller, 20, 0)
				b.answers(Caller, "sendrecv")
			}
		},
		trip + 3*time.Millisecond, 0,
	},
}

// What a round trip is at most is exactly what lies between what lets a party
// send and what it sends, if that is because of it; else nothing is said.
func TestRoundTripWithin(t *testing.T) {
	for name, c := range beginnings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := begin(t)
				c.play(b)
				time.Sleep(trip) // all has come
				b.bounds(b.report(), c.caller, c.callee)
				ended, _ := b.e.Delete(1)
				b.bounds(ended.Streams[0], c.caller, c.callee)
			})
		})
	}
}

// bounds checks what is said of both round trips; 0 is nothing.
func (b *beginning) bounds(s StreamReport, want ...time.Duration) {
	b.t.Helper()
	for side, want := range want {
		got := s.Side(Side(side)).Within
		if got != want {
			b.t.Errorf("the %s is at most %v away, want %v", Side(side), got, want)
		}
		if got != 0 && got < trip {
			b.t.Errorf("the %s, which is %v away, is at most %v", Side(side), trip, got)
		}
	}
}

// A party begins nothing because the process has forgotten what it does: neither
// one that talks, nor one that is on hold, of which it is not known since when.
func TestRoundTripWithinAfterARestart(t *testing.T) {
	for name, direction := range map[string]string{"a call": "sendrecv", "a call on hold": "sendonly"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, s := memnet.New(), &shelf{all: map[uint64][]byte{}}
				b := &beginning{t: t, e: keptEngine(t, n, s), net: n}
				b.open()
				b.offers(Caller, direction)
				b.answers(Callee, "sendrecv")
				b.talks()
				time.Sleep(2 * keepEvery)
				killed := s.has()
				b.e.Close()
				b.e = keptEngine(t, n, s)
				defer b.e.Close()
				if b.e.Restore(killed) != 1 {
					t.Fatal("the session is lost")
				}
				b.offers(Caller, "sendrecv")
				b.answers(Callee, "sendrecv")
				b.talks()
				b.bounds(b.report(), 0, 0)
			})
		})
	}
}
