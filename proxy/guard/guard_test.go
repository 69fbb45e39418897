package guard

import (
	"net/netip"
	"testing"
	"time"
)

var (
	start = time.Date(2027, 1, 4, 9, 0, 0, 0, time.UTC)
	bob   = netip.MustParseAddrPort("198.51.100.7:5060")
	eve   = netip.MustParseAddrPort("203.0.113.9:5060")
)

// at is eve's n-th neighbour.
func at(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 5060)
}

// heard is how many of n messages were heard.
func heard(g *Guard, from netip.AddrPort, stream bool, n int, now time.Time) (got int) {
	for range n {
		if g.Heard(from, stream, now) != Dropped {
			got++
		}
	}
	return got
}

func TestMessagesOfAStranger(t *testing.T) {
	g := New(Config{Messages: 10})
	if n := heard(g, eve, false, 1000, start); n != 80 {
		t.Errorf("%d at once", n)
	}
	if n := heard(g, netip.AddrPortFrom(eve.Addr(), 9), false, 10, start); n != 0 {
		t.Error("another port is another address")
	}
	if n := heard(g, eve, true, 1000, start); n != 80 {
		t.Errorf("%d over a connection: who borrows the address spends what its owner has", n)
	}
	if n := heard(g, bob, false, 10, start); n != 10 {
		t.Error("bob pays for eve")
	}
	got := 0
	for s := range 60 {
		got += heard(g, eve, false, 100, start.Add(time.Duration(s+1)*time.Second))
	}
	if got != 600 {
		t.Errorf("%d in a minute", got)
	}
	if len(g.Bans(start)) > 0 {
		t.Error("datagrams, whose sender could be anybody, have banned an address")
	}
}

func TestIPv6NetworkIsOneAddress(t *testing.T) {
	g := New(Config{Messages: 10})
	heard(g, netip.MustParseAddrPort("[2001:db8::1]:5060"), false, 1000, start)
	if heard(g, netip.MustParseAddrPort("[2001:db8::2]:5060"), false, 1, start) != 0 {
		t.Error("of its own /64")
	}
	if heard(g, netip.MustParseAddrPort("[2001:db8:0:1::1]:5060"), false, 1, start) != 1 {
		t.Error("of the next /64")
	}
}

// A flow over which a user has proved himself comes first, whatever is sent
// in the name of its address, and has a budget, too.
func TestKnownFlow(t *testing.T) {
	g := New(Config{Messages: 10})
	g.Proved(bob, start.Add(time.Hour), start)
	heard(g, netip.AddrPortFrom(bob.Addr(), 9), false, 1000, start)
	if g.Heard(bob, false, start) != Known {
		t.Error("bob is not heard first")
	}
	if n := heard(g, bob, false, 1e5, start); n != flowBudget.free-1 {
		t.Errorf("%d of bob's at once", n)
	}
	if g.Heard(bob, false, start.Add(2*time.Hour)) != Stranger {
		t.Error("known for ever")
	}
}

func TestBans(t *testing.T) {
	for name, offend := range map[string]func(*Guard, netip.AddrPort){
		"wrong passwords":    func(g *Guard, a netip.AddrPort) { g.Failed(a.Addr(), start) },
		"malformed messages": func(g *Guard, a netip.AddrPort) { g.Malformed(a, true, start) },
	} {
		g := New(Config{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		home, peer := netip.AddrPortFrom(bob.Addr(), 9), netip.MustParseAddrPort("192.0.2.1:5060")
		g.Proved(bob, start.Add(time.Hour), start)
		for range 1000 {
			offend(g, eve)
			offend(g, home) // behind bob's NAT
			offend(g, peer)
		}
		all := g.Bans(start)
		if len(all) != 1 || all[0].Who.Addr() != eve.Addr() || all[0].Why != name {
			t.Fatalf("%s: %v", name, all)
		}
		if g.Heard(eve, true, start) != Dropped || g.Connects(eve.Addr(), start) || g.Invites(eve, true, start) {
			t.Errorf("%s: who is banned is heard", name)
		}
		if g.Heard(peer, true, start) != Known || g.Heard(bob, true, start) != Known {
			t.Errorf("%s: a peer or a user is not heard", name)
		}
		later := start.Add(defaultBan + time.Second)
		if g.Heard(eve, true, later) != Stranger || len(g.Bans(later)) != 0 {
			t.Errorf("%s: a ban does not expire", name)
		}
	}
}

func TestMalformedDatagramsBanNobody(t *testing.T) {
	g := New(Config{})
	for range 100 {
		g.Malformed(eve, false, start)
	}
	if g.Heard(eve, false, start) != Dropped || len(g.Bans(start)) > 0 {
		t.Error("who sends garbage is heard, or banned")
	}
	if g.Heard(eve, true, start) != Stranger || g.Heard(eve, false, start.Add(time.Minute)) != Stranger {
		t.Error("the owner of a borrowed address is not heard")
	}
}

func TestPardon(t *testing.T) {
	g := New(Config{})
	for i := range 3 {
		for range 100 {
			g.Failed(at(i).Addr(), start)
		}
	}
	if n := g.Pardon(at(1).Addr(), start); n != 1 || len(g.Bans(start)) != 2 {
		t.Errorf("%d pardoned, %v left", n, g.Bans(start))
	}
	if g.Failed(at(1).Addr(), start); len(g.Bans(start)) != 2 {
		t.Error("who was pardoned is banned for the next wrong password")
	}
	if n := g.Pardon(netip.Addr{}, start); n != 2 || len(g.Bans(start)) != 0 {
		t.Errorf("%d pardoned, %v left", n, g.Bans(start))
	}
}

func TestInvitesAndUsers(t *testing.T) {
	g := New(Config{})
	n, m := 0, 0
	for range 1000 {
		if g.Invites(eve, false, start) {
			n++
		}
		if g.User("bob@x.example", eve.Addr(), start) {
			m++
		}
	}
	if n != 60 || m != 500 {
		t.Errorf("%d INVITEs of a stranger, %d requests of a user", n, m)
	}
	if !g.Invites(eve, false, start.Add(2*time.Second)) || !g.User("carol@x.example", eve.Addr(), start) {
		t.Error("for ever, or for others")
	}
}

// Nobody who may be somewhere else is sent more than has come from there.
func TestMeter(t *testing.T) {
	g := New(Config{})
	if g.Pays(eve, 1, start) {
		t.Error("out of nothing")
	}
	g.Came(eve, 300, start)
	if !g.Pays(eve, 200, start) || g.Pays(eve, 101, start) || !g.Pays(eve, 100, start) || g.Pays(eve, 1, start) {
		t.Error("300 bytes are not 300")
	}
	if g.Room(netip.AddrPortFrom(eve.Addr(), 9), start) != 0 {
		t.Error("another port has its credit")
	}
	g.Echoed(eve, start)
	for range 1000 {
		if !g.Pays(eve, 65000, start) {
			t.Fatal("who is there is not answered")
		}
	}
	g.Proved(bob, start.Add(time.Hour), start)
	if !g.Pays(bob, 1e6, start) || g.Room(bob, start) < 1e6 {
		t.Error("a user is not answered")
	}
}

// No flood makes the tables grow beyond their bounds, and what is forgotten
// is credit, never a debt.
func TestTablesAreBounded(t *testing.T) {
	g := New(Config{})
	for i := range 3 * maxCredits {
		g.Came(at(i), 500, start)
	}
	if n := len(g.meter.credit) + len(g.meter.before); n > 2*maxCredits {
		t.Errorf("%d credits", n)
	}
	if g.Room(at(0), start) != 0 {
		t.Error("credit outlasts its table")
	}
	for i := range 2 * maxFlows {
		g.Proved(at(i), start.Add(time.Hour), start)
	}
	if len(g.flows) > maxFlows || len(g.homes) > maxFlows {
		t.Errorf("%d flows, %d homes", len(g.flows), len(g.homes))
	}
	h := New(Config{})
	for i := range 2 * maxBans {
		for range 45 {
			h.Failed(at(i).Addr(), start)
		}
	}
	if n := len(h.bans); n > maxBans || n < maxBans/2 {
		t.Errorf("%d bans", n)
	}
	later := start.Add(24 * time.Hour)
	g.Expire(later)
	h.Expire(later)
	if len(g.flows)+len(g.homes)+len(h.bans) > 0 {
		t.Error("what is over is kept")
	}
}

// A thousand attackers hold back hardly anybody else.
func TestSharedCells(t *testing.T) {
	g := New(Config{All: 1e9})
	for i := range 1000 {
		heard(g, at(i), false, 500, start)
	}
	out := 0
	for i := range 10000 {
		if g.Heard(at(1<<20+i), false, start) == Dropped {
			out++
		}
	}
	if out > 10 {
		t.Errorf("%d of 10,000 innocents pay", out)
	}
}

// All strangers together have a share; users and those who come back to where
// one is at home do not wait for it.
func TestStrangersTogether(t *testing.T) {
	g := New(Config{All: 100})
	g.Proved(bob, start.Add(time.Hour), start)
	n := 0
	for i := range 1000 {
		n += heard(g, at(i), false, 1, start)
	}
	if n != 100 {
		t.Errorf("%d of 1000 are heard", n)
	}
	if g.Heard(bob, false, start) != Known || g.Heard(netip.AddrPortFrom(bob.Addr(), 9), false, start) != Stranger {
		t.Error("bob, or his second phone, waits for strangers")
	}
	if g.Heard(eve, false, start.Add(time.Second)) != Stranger {
		t.Error("for ever")
	}
}
