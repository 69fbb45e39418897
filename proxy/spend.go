package proxy

import (
	"net/netip"
	"sync"
	"time"

	"sotto/proxy/guard"
)

// What a caller may spend of our time: checking a token costs up to a quarter
// of a millisecond (token-spec.md, validation), and who shows bogus ones must
// not get more of it than a caller needs. A token that is not checked is a
// missing one.

// Rates (ours). A user of ours, or whom a trusted peer vouches for, may be a
// whole switchboard; of the others nobody needs more than a few, and all of
// them together get an eighth of a processor at most.
var (
	rateUser    = rate{200, 20 * time.Millisecond}
	rateAddress = rate{20, 500 * time.Millisecond}
	rateNobody  = rate{500, 2 * time.Millisecond}
)

// A spending is who spent how much: for each the time at which its burst is
// full again. Safe for concurrent use.
type spending struct {
	mu     sync.Mutex
	until  map[string]time.Time
	nobody time.Time
}

func newSpending() *spending { return &spending{until: map[string]time.Time{}} }

// take takes n from what who may spend, and says whether that much was left.
func (s *spending) take(who identity, from netip.Addr, n int, now time.Time) bool {
	if who.aor.IsZero() {
		return s.takeFor(spender(who, from), rateAddress, false, n, now)
	}
	return s.takeFor(spender(who, from), rateUser, true, n, now)
}

// spender is who pays: a user or whom a peer vouches for, else an address.
func spender(who identity, from netip.Addr) string {
	if !who.aor.IsZero() {
		return who.aor.String()
	}
	return guard.Network(from.Unmap()).String()
}

func (s *spending) takeFor(key string, own rate, known bool, n int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.nobody
	full, ok := own.spend(s.until[key], n, now)
	if ok && !known {
		all, ok = rateNobody.spend(s.nobody, n, now)
	}
	if _, there := s.until[key]; !ok || !there && len(s.until) >= maxSpenders {
		return false
	}
	s.until[key], s.nobody = full, all
	return true
}

// maxSpenders bounds the table (ours: more callers within housekeeping are a flood).
const maxSpenders = 100_000

// forget drops those whose burst is full again.
func (s *spending) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, full := range s.until {
		if full.Before(now) {
			delete(s.until, who)
		}
	}
}
