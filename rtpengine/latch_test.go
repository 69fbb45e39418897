package rtpengine

import (
	"net/netip"
	"testing"
	"time"
)

// A step is a packet, and whether it is taken.
type step struct {
	from   netip.AddrPort
	accept bool
}

// arrives shows a latch a packet, first as if nothing were agreed on.
func arrives(l *latch, from netip.AddrPort, now time.Time) (early, taken bool) {
	was := l.latched
	early = l.accept(from, now, learnNothing) && from != was
	return early, l.accept(from, now, learnAny)
}

// The addresses of latches: what a party signals, other ports of that host, another
// host, and where a party behind NAT thinks that it is.
var (
	signalled = netip.MustParseAddrPort("198.51.100.7:4000")
	same      = netip.MustParseAddrPort("198.51.100.7:5000")
	another   = netip.MustParseAddrPort("198.51.100.7:6000")
	thiefAt   = netip.MustParseAddrPort("203.0.113.66:4000")
	private   = netip.MustParseAddrPort("192.168.1.2:4000")
)

// sends is a rival for a while: one packet in twenty milliseconds.
func sends(from netip.AddrPort, packets int, then ...step) (all []step) {
	for range packets {
		all = append(all, step{from, false})
	}
	return append(all, then...)
}

// latchCase is a latch, and what comes to it.
type latchCase struct {
	signalled netip.AddrPort
	source    netip.Addr
	split     bool
	before    netip.AddrPort // where packets go before the party is heard
	steps     []step
	after     netip.AddrPort
}

func (c latchCase) play(t *testing.T) {
	var l latch
	now := time.Now()
	l.set(c.signalled, c.source, c.split, true)
	if got := l.dest(); got != c.before {
		t.Errorf("packets go to %v before, want %v", got, c.before)
	}
	for i, s := range c.steps {
		now = now.Add(20 * time.Millisecond)
		if early, taken := arrives(&l, s.from, now); early || taken != s.accept {
			t.Errorf("step %d: a packet from %v is taken: %v; before both are agreed: %v", i, s.from, taken, early)
		}
	}
	if got := l.dest(); got != c.after {
		t.Errorf("packets go to %v, want %v", got, c.after)
	}
}

// A party that signals the host of its signalling is where it says. Another port
// of that host is learnt when it sends for a while and the party does not.
func TestLatch(t *testing.T) {
	for name, c := range map[string]latchCase{
		"as signalled": {
			signalled, signalled.Addr(), false, signalled,
			[]step{{signalled, true}, {same, false}, {thiefAt, false}},
			signalled,
		},
		"another port of the host": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 25, step{same, true}, step{another, false}, step{thiefAt, false}),
			same,
		},
		"another port of the host, too late": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 24, step{signalled, true}, step{same, false}, step{signalled, true}),
			signalled,
		},
		"the party comes after another port": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 25, step{same, true}, step{signalled, true}, step{same, false}),
			signalled,
		},
		"two other ports in turn": {
			signalled, signalled.Addr(), false, signalled,
			append(sends(same, 20), append(sends(another, 20), sends(same, 20)...)...),
			signalled,
		},
		"a thief is first": {
			signalled, signalled.Addr(), false, signalled,
			[]step{{thiefAt, false}, {signalled, true}, {thiefAt, false}},
			signalled,
		},
	} {
		t.Run(name, c.play)
	}
}

// Elsewhere something is learnt: behind NAT, and of a carrier that splits media
// and signalling; nothing without a source, and on hold.
func TestLatchElsewhere(t *testing.T) {
	for name, c := range map[string]latchCase{
		"behind NAT": {
			private, signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{thiefAt, false}, {same, true}, {signalled, false}},
			same,
		},
		"behind NAT, from its own": {
			private, signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{private, true}},
			private,
		},
		"only the signalled": {
			signalled,
			netip.Addr{},
			false, signalled,
			[]step{{same, false}, {thiefAt, false}, {signalled, true}},
			signalled,
		},
		"a split carrier": {
			signalled, same.Addr(), true, signalled,
			sends(thiefAt, 25, step{thiefAt, true}, step{another, false}),
			thiefAt,
		},
		"a split carrier that is where it says": {
			signalled, same.Addr(), true, signalled,
			sends(thiefAt, 25, step{thiefAt, true}, step{signalled, true}, step{thiefAt, false}),
			signalled,
		},
		"on hold, not heard": {
			netip.AddrPort{},
			signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{thiefAt, false}},
			netip.AddrPort{},
		},
	} {
		t.Run(name, c.play)
	}
}

// A new description opens the latch again; the same one, and hold, do not.
func TestLatchIsSetAgain(t *testing.T) {
	at := netip.MustParseAddrPort
	a, b, moved := at("198.51.100.7:4000"), at("198.51.100.7:5000"), at("198.51.100.7:6000")
	now := time.Now()
	var l latch
	l.set(a, a.Addr(), false, true)
	for range 2 * rivalPackets {
		now = now.Add(20 * time.Millisecond)
		l.accept(b, now, learnAny)
	}
	l.set(a, a.Addr(), false, true)
	if l.dest() != b {
		t.Error("the same description has opened the latch")
	}
	l.set(netip.AddrPort{}, a.Addr(), false, true)
	if l.dest() != b || l.accept(a, now, learnAny) {
		t.Error("hold has forgotten the party")
	}
	l.set(moved, a.Addr(), false, true)
	if l.dest() != moved || !l.accept(moved, now, learnAny) || l.accept(b, now, learnAny) {
		t.Error("a new description has not opened the latch")
	}
}

// A party behind NAT that describes itself as before may have another mapping
// by then, as after a long hold: it is followed if it is no longer where it was.
func TestLatchFollowsAMapping(t *testing.T) {
	for name, c := range map[string]struct {
		will  bool
		steps []step
		after netip.AddrPort
	}{
		"another mapping":      {true, sends(another, 24, step{another, true}, step{same, false}), another},
		"the same mapping":     {true, append([]step{{same, true}}, sends(another, 60)...), same},
		"late, the same":       {true, append(sends(another, 20, step{same, true}), sends(another, 60)...), same},
		"a thief":              {true, sends(thiefAt, 60, step{same, true}), same},
		"who is not to send":   {false, sends(another, 60, step{same, true}), same},
		"two mappings in turn": {true, append(sends(another, 20), sends(signalled, 20)...), same},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			var l latch
			l.set(private, signalled.Addr(), false, true)
			if !l.accept(same, now, learnAny) {
				t.Fatal("the party is not learnt")
			}
			l.set(private, signalled.Addr(), false, c.will)
			if l.dest() != same {
				t.Error("the party is forgotten")
			}
			take(t, &l, now, c.steps)
			if got := l.dest(); got != c.after {
				t.Errorf("packets go to %v, want %v", got, c.after)
			}
		})
	}
}

// take has packets come to a latch, 40 a second.
func take(t *testing.T, l *latch, now time.Time, steps []step) {
	t.Helper()
	for i, s := range steps {
		now = now.Add(25 * time.Millisecond)
		early := l.latched != s.from && l.accept(s.from, now, learnNothing)
		if taken := l.accept(s.from, now, learnAny); early || taken != s.accept {
			t.Errorf("step %d: a packet from %v is taken: %v; before both are agreed: %v", i, s.from, taken, early)
		}
	}
}
