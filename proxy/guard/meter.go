package guard

import (
	"math"
	"net/netip"
	"time"
)

// A meter keeps, for senders of datagrams who have not shown that their
// address is their own, how many bytes they may still be sent: never more than
// came from there, so that nobody can turn us on a third party by writing its
// address as his own. What does not fit is not sent; a sender who is there
// asks again, and so pays for the answer.
type meter struct {
	credit map[netip.AddrPort]int
	before map[netip.AddrPort]int // of an earlier while; forgotten when credit is full or old
	since  time.Time
}

const (
	// meterLife is how long credit lasts at least: more than an INVITE without
	// an answer does (64*T1, RFC 3261 §17).
	meterLife = 40 * time.Second
	// maxCredits bounds each of the two tables (ours: 20 MB). When a flood
	// fills it, credit is forgotten sooner, and less is answered.
	maxCredits = 1 << 17
	// verified is the credit of a sender who has shown to be there.
	verified = math.MaxInt32
)

// of finds what an address has left.
func (m *meter) of(a netip.AddrPort) int {
	if n, ok := m.credit[a]; ok {
		return n
	}
	return m.before[a]
}

// set notes what an address has left.
func (m *meter) set(a netip.AddrPort, n int, now time.Time) {
	if m.credit == nil || len(m.credit) >= maxCredits || now.Sub(m.since) > meterLife {
		m.credit, m.before, m.since = map[netip.AddrPort]int{}, m.credit, now
	}
	m.credit[a] = min(n, verified)
}

// Came notes a datagram of n bytes from a stranger.
func (g *Guard) Came(from netip.AddrPort, n int, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter.set(from, g.meter.of(from)+n, now)
}

// Room is how many bytes may be sent to an address.
func (g *Guard) Room(to netip.AddrPort, now time.Time) int {
	if g.exempt(to.Addr()) {
		return verified
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flow(to, now) != nil {
		return verified
	}
	return g.meter.of(to)
}

// Pays says that n bytes may be sent to an address, and counts them.
func (g *Guard) Pays(to netip.AddrPort, n int, now time.Time) bool {
	if g.exempt(to.Addr()) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flow(to, now) != nil {
		return true
	}
	left := g.meter.of(to)
	switch {
	case left < n:
		g.count.Unpaid.Add(1)
		return false
	case left < verified:
		g.meter.set(to, left-n, now)
	}
	return true
}

// Echoed notes that an address has sent back what only who received it there
// can know.
func (g *Guard) Echoed(from netip.AddrPort, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter.set(from, verified, now)
}
