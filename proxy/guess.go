package proxy

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"sotto/proxy/guard"
)

// guesses slows down whoever guesses passwords. Each wrong one is put down to
// the address that it came from and to the account that it was for; while
// either has spent its allowance, passwords are not even looked at, and the
// answer is that to a wrong one. Nobody is locked out by it: an address from
// which the account has proved itself lately has an allowance of its own with
// this account, and neither of the others counts. Safe for concurrent use.
type guesses struct {
	seed maphash.Seed

	mu     sync.Mutex
	spent  [guessCells]time.Time // see cells
	known  map[acquaintance]*time.Time
	before map[acquaintance]*time.Time // known earlier; forgotten when known is full or old
	since  time.Time                   // when known was begun
}

// An acquaintance is an account, and an address at which its user is at home.
type acquaintance struct {
	account string
	at      netip.Prefix
}

// An allowance is how many wrong passwords are free, and how soon there is
// one more. What is spent is kept as the time at which all is given back.
type allowance struct {
	free  int
	every time.Duration
}

// The allowances (ours). A phone with a forgotten password tries once or
// twice a minute, and an office with many such phones has one address; 8,640
// guesses a day find a password of eight random letters in 30,000 years.
var (
	ofAddress = allowance{30, 2 * time.Second}
	ofAccount = allowance{20, 10 * time.Second}
	atHome    = allowance{30, 2 * time.Second}
)

const (
	// guessCells bounds the memory (ours: 1.5 MB). Keys share cells by a hash that
	// nobody outside can compute, and each key has two: it is held back only
	// if both are spent, which with a thousand attackers happens to one
	// innocent key in a thousand.
	guessCells = 1 << 16
	// maxKnown bounds each of the two tables; only holders of a password fill them.
	maxKnown = 1 << 16
	// knownLife is how long an acquaintance lasts at least (ours: a phone
	// registers every few hours).
	knownLife = 24 * time.Hour
)

func newGuesses() *guesses {
	return &guesses{
		seed: maphash.MakeSeed(), known: map[acquaintance]*time.Time{},
		before: map[acquaintance]*time.Time{}, since: time.Now(),
	}
}

// may says that a password from an address for an account may be looked at.
// The zero address is that of a peer, for many users: only the account counts.
func (g *guesses) may(from netip.Addr, account string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.acquainted(from, account); t != nil {
		return atHome.left(*t, now)
	}
	return g.left(ofAccount, g.account(account), now) &&
		(!from.IsValid() || g.left(ofAddress, g.network(from), now))
}

// wrong notes that it was wrong.
func (g *guesses) wrong(from netip.Addr, account string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.acquainted(from, account); t != nil {
		*t = atHome.spend(*t, now)
		return
	}
	g.spend(ofAccount, g.account(account), now)
	if from.IsValid() {
		g.spend(ofAddress, g.network(from), now)
	}
}

// right notes that it was right.
func (g *guesses) right(from netip.Addr, account string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxKnown || now.Sub(g.since) > knownLife {
		g.known, g.before, g.since = map[acquaintance]*time.Time{}, g.known, now
	}
	who := acquaintance{account, guard.Network(from)}
	t := g.known[who]
	if t == nil {
		t = g.before[who]
	}
	if t == nil {
		t = new(time.Time)
	}
	g.known[who] = t
}

// acquainted is what an account has spent at an address where it is at home,
// or nil.
func (g *guesses) acquainted(from netip.Addr, account string) *time.Time {
	who := acquaintance{account, guard.Network(from)}
	if t := g.known[who]; t != nil {
		return t
	}
	return g.before[who]
}

// account is the key of an account.
func (g *guesses) account(account string) uint64 { return maphash.String(g.seed, account) }

// network is the key of whose an address is.
func (g *guesses) network(a netip.Addr) uint64 { return maphash.Comparable(g.seed, guard.Network(a)) }

// cells are the two cells of a key.
func (g *guesses) cells(key uint64) [2]*time.Time {
	return [2]*time.Time{&g.spent[key%guessCells], &g.spent[(key>>32)%guessCells]}
}

// left says that a key has something left.
func (g *guesses) left(a allowance, key uint64, now time.Time) bool {
	c := g.cells(key)
	return a.left(*c[0], now) || a.left(*c[1], now)
}

// spend spends one of a key.
func (g *guesses) spend(a allowance, key uint64, now time.Time) {
	for _, t := range g.cells(key) {
		*t = a.spend(*t, now)
	}
}

// left says that not all is spent.
func (a allowance) left(spent, now time.Time) bool {
	return spent.Sub(now) <= time.Duration(a.free-1)*a.every
}

// spend spends one.
func (a allowance) spend(spent, now time.Time) time.Time {
	if spent.Before(now) {
		spent = now
	}
	return spent.Add(a.every)
}
