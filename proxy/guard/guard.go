// Package guard decides, before a byte is parsed, whether what comes from an
// address is heard, and how soon: first from the flows of users who have
// proved themselves and from peers, then from strangers, each within a budget.
// What is over a budget is dropped without a word.
//
// A ban needs proof that an address is its sender's own: a connection, or a
// digest nonce that was received there. Datagrams can carry anybody's address;
// what floods in over UDP is dropped as long as it floods, and bans nobody. No
// ban can fall on a peer, or on an address where a user is at home.
package guard

import (
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a guard is made of. Zero values take the defaults.
type Config struct {
	Messages int            // a second, of a stranger's address; default 50
	Invites  int            // a minute, of a stranger's address; default 60
	PerUser  int            // requests a second, of a user; default 100
	All      int            // messages a second, of all strangers together; default 2,000
	Ban      time.Duration  // how long; default 10 min
	Exempt   []netip.Prefix // peers, and whom else nothing limits
	Log      *slog.Logger   // nil: none
}

// Defaults (ours). A phone behind which nobody is known yet needs some ten
// messages to register and call; an office of 40 that starts at once fits into
// the burst of eight seconds. A stranger who calls once a second is a machine.
const (
	defaultMessages = 50
	defaultInvites  = 60
	defaultPerUser  = 100
	// 2,000 messages are a third of what one processor does in a second.
	defaultAll = 2000
	defaultBan = 10 * time.Minute
)

// Standing is how what comes over a flow is treated.
type Standing uint8

const (
	Dropped  Standing = iota // not at all
	Stranger                 // after everybody else, within its address's budget
	Known                    // first
)

// A Guard is the memory of who did what. Safe for concurrent use.
type Guard struct {
	cfg   Config
	log   *slog.Logger
	seed  maphash.Seed
	count Counters

	mu    sync.Mutex
	cells [kinds]*cells
	flows map[netip.AddrPort]*proved
	homes map[netip.Prefix]time.Time // where a flow of flows is, and until when
	bans  map[netip.Prefix]Ban
	meter meter
	all   int64 // what strangers have spent together, see cells
}

// proved is a flow over which a user has proved to be who he is.
type proved struct {
	until time.Time
	spent int64 // see cells
}

// Counters are what has been kept out since the start.
type Counters struct {
	Dropped atomic.Uint64 // messages and connections over a budget or from a ban
	Banned  atomic.Uint64 // bans
	Unpaid  atomic.Uint64 // answers that were larger than what was asked with
}

// kind is what is counted.
type kind uint8

const (
	messages kind = iota
	invites
	connections
	malformed
	failed
	users
	kinds
)

// budget is the budget of a kind.
func (g *Guard) budget(k kind) allowance {
	switch k {
	case messages:
		return perSecond(g.cfg.Messages, 8)
	case invites:
		return allowance{60, time.Minute / time.Duration(g.cfg.Invites)}
	case connections:
		return allowance{100, 200 * time.Millisecond} // an office whose router restarts
	case malformed:
		return allowance{20, 10 * time.Second} // no working phone sends any
	case failed:
		return allowance{40, 30 * time.Second} // a phone with an old password tries twice a minute
	default:
		return perSecond(g.cfg.PerUser, 5)
	}
}

// flowBudget is what a known flow may send: a PBX that is registered as a
// user and sets up 50 calls a second.
var flowBudget = perSecond(500, 4)

// malformedCost is what a malformed message costs a known flow, in messages.
const malformedCost = 10

// Bounds of the tables (ours), 30 MB at most. Only holders of a password fill
// the flows, only who has received something from us the bans.
const (
	maxFlows = 1 << 17
	maxBans  = 1 << 14
)

// New makes a guard.
func New(c Config) *Guard {
	for _, n := range []struct {
		have *int
		def  int
	}{{&c.Messages, defaultMessages}, {&c.Invites, defaultInvites}, {&c.PerUser, defaultPerUser}, {&c.All, defaultAll}} {
		if *n.have <= 0 {
			*n.have = n.def
		}
	}
	if c.Ban <= 0 {
		c.Ban = defaultBan
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{
		cfg: c, log: c.Log, seed: maphash.MakeSeed(), flows: map[netip.AddrPort]*proved{},
		homes: map[netip.Prefix]time.Time{}, bans: map[netip.Prefix]Ban{},
	}
	for k := range g.cells {
		g.cells[k] = new(cells)
	}
	return g
}

// Counters returns the live counters.
func (g *Guard) Counters() *Counters { return &g.count }

// Heard says how one message that has come is treated. stream: over a
// connection, whose peer cannot pretend to be at another address.
func (g *Guard) Heard(from netip.AddrPort, stream bool, now time.Time) Standing {
	if g.exempt(from.Addr()) {
		return Known
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flow(from, now); f != nil {
		if !flowBudget.take(&f.spent, now) {
			return g.drop()
		}
		return Known
	}
	n := Network(from.Addr())
	key := g.key(n, stream)
	if g.banned(n, now) || !g.left(malformed, key, now) || !g.take(messages, key, now) {
		return g.drop()
	}
	// A phone that comes back to where its user is at home does not wait in line.
	if all := perSecond(g.cfg.All, 1); now.After(g.homes[n]) && !all.take(&g.all, now) {
		return g.drop()
	}
	return Stranger
}

// drop counts something that is not heard.
func (g *Guard) drop() Standing {
	g.count.Dropped.Add(1)
	return Dropped
}

// Invites says that a stranger's INVITE may begin a call: each costs us half a
// minute of memory.
func (g *Guard) Invites(from netip.AddrPort, stream bool, now time.Time) bool {
	return g.spends(invites, from.Addr(), stream, now)
}

// Connects says that a connection from an address may be opened.
func (g *Guard) Connects(from netip.Addr, now time.Time) bool {
	return g.spends(connections, from, true, now)
}

// spends takes one of a stranger's budget.
func (g *Guard) spends(k kind, from netip.Addr, stream bool, now time.Time) bool {
	if g.exempt(from) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := Network(from)
	if g.banned(n, now) || !g.take(k, g.key(n, stream), now) {
		g.drop()
		return false
	}
	return true
}

// Malformed notes what was no SIP message. Over a connection it ends in a ban;
// over UDP the address is not heard until its budget is back.
func (g *Guard) Malformed(from netip.AddrPort, stream bool, now time.Time) {
	if g.exempt(from.Addr()) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flow(from, now); f != nil {
		for range malformedCost {
			flowBudget.spend(&f.spent, now)
		}
		return
	}
	if n := Network(from.Addr()); !g.take(malformed, g.key(n, stream), now) && stream {
		g.ban(n, "malformed messages", now)
	}
}

// Failed notes a wrong password from an address that has proved to be its
// sender's: with a nonce that was received there, or over a connection.
func (g *Guard) Failed(from netip.Addr, now time.Time) {
	if g.exempt(from) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := Network(from); !g.take(failed, g.key(n, true), now) {
		g.ban(n, "wrong passwords", now)
	}
}

// User says that a user may send one more request.
func (g *Guard) User(account string, from netip.Addr, now time.Time) bool {
	if g.exempt(from) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.take(users, maphash.String(g.seed, account), now) {
		g.drop()
		return false
	}
	return true
}

// Proved notes that a user has proved himself over a flow, which is known
// until a time, and nobody's address can be banned who is known there.
func (g *Guard) Proved(from netip.AddrPort, until, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flows[from]
	if f == nil {
		if len(g.flows) >= maxFlows {
			return // a stranger among so many
		}
		f = &proved{}
		g.flows[from] = f
	}
	if until.After(f.until) {
		f.until = until
	}
	n := Network(from.Addr())
	if until.After(g.homes[n]) {
		g.homes[n] = until
	}
	delete(g.bans, n)
}

// Expire forgets what is over.
func (g *Guard) Expire(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, f := range g.flows {
		if now.After(f.until) {
			delete(g.flows, k)
		}
	}
	for k, until := range g.homes {
		if now.After(until) {
			delete(g.homes, k)
		}
	}
	for k, b := range g.bans {
		if now.After(b.Until) {
			delete(g.bans, k)
		}
	}
}

// exempt says that nothing limits an address.
func (g *Guard) exempt(a netip.Addr) bool {
	for _, p := range g.cfg.Exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// flow is a known flow, or nil.
func (g *Guard) flow(from netip.AddrPort, now time.Time) *proved {
	if f := g.flows[from]; f != nil && now.Before(f.until) {
		return f
	}
	return nil
}

// Network is all addresses that one party has: of IPv6, a /64.
func Network(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // no more than an address has
	return p
}
