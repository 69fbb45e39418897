package guard

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// An allowance is how much is free, and how soon there is one more. What is
// spent is kept as the time at which all is given back, in nanoseconds.
type allowance struct {
	free  int
	every time.Duration
}

// perSecond is n a second, and what comes in some seconds at once.
func perSecond(n, seconds int) allowance {
	return allowance{n * seconds, time.Second / time.Duration(n)}
}

// left says that not all is spent.
func (a allowance) left(spent int64, now time.Time) bool {
	return spent-now.UnixNano() <= int64(a.free-1)*int64(a.every)
}

// spend spends one.
func (a allowance) spend(spent *int64, now time.Time) {
	*spent = max(*spent, now.UnixNano()) + int64(a.every)
}

// take spends one if there is one left.
func (a allowance) take(spent *int64, now time.Time) bool {
	if !a.left(*spent, now) {
		return false
	}
	a.spend(spent, now)
	return true
}

// cells are what all keys have spent of one kind, in a memory that no flood
// makes grow. Keys share cells by a hash that nobody outside can compute, and
// each key has two: it is held back only if both are spent. With a thousand
// attackers that happens to one innocent key in twenty thousand.
type cells [1 << 18]int64

// of are the two cells of a key.
func (c *cells) of(key uint64) [2]*int64 {
	return [2]*int64{&c[key%uint64(len(c))], &c[(key>>32)%uint64(len(c))]}
}

// left says that a key has something left of a kind.
func (g *Guard) left(k kind, key uint64, now time.Time) bool {
	a, c := g.budget(k), g.cells[k].of(key)
	return a.left(*c[0], now) || a.left(*c[1], now)
}

// take spends one of a key, if there is one left.
func (g *Guard) take(k kind, key uint64, now time.Time) bool {
	if !g.left(k, key, now) {
		return false
	}
	a := g.budget(k)
	for _, c := range g.cells[k].of(key) {
		if a.left(*c, now) {
			a.spend(c, now)
		}
	}
	return true
}

// key is that of a network. What is known to have come from it, and what says
// so, are counted apart: who borrows an address cannot spend what its owner
// has over connections.
func (g *Guard) key(n netip.Prefix, stream bool) uint64 {
	return maphash.Comparable(g.seed, struct {
		n      netip.Prefix
		stream bool
	}{n, stream})
}
