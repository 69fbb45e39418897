package rtpengine

import (
	"net/netip"
	"sync"
	"time"
)

// ports hands out pairs of ports, an even one for RTP and the next for RTCP
// (RFC 3550 §11), at random, so that nobody can guess where a call's media
// is. A released pair rests before it is used again: late packets of one call
// must not reach the next. Safe for concurrent use.
type ports struct {
	min, max uint16
	rest     time.Duration

	mu      sync.Mutex
	used    map[portKey]bool
	resting map[portKey]time.Time
}

// portKey is the even port of a pair on one address.
type portKey struct {
	addr netip.Addr
	port uint16
}

func newPorts(lo, hi uint16, rest time.Duration) *ports {
	return &ports{
		min: lo + lo%2, max: hi, rest: rest,
		used: map[portKey]bool{}, resting: map[portKey]time.Time{},
	}
}

// pairs is how many pairs the range has.
func (p *ports) pairs() int { return (int(p.max) - int(p.min) + 1) / 2 }

// take finds a pair on addr for which open succeeds. Another program may hold
// a port: then the next is tried. It fails with ErrNoPorts.
func (p *ports) take(addr netip.Addr, now time.Time, open func(rtp uint16) error) (uint16, error) {
	n := p.pairs()
	if n <= 0 {
		return 0, ErrNoPorts
	}
	start := int(random() % uint64(n))
	for i := range n {
		port := p.min + 2*uint16((start+i)%n)
		if !p.claim(portKey{addr, port}, now) {
			continue
		}
		if err := open(port); err == nil {
			return port, nil
		}
		p.unclaim(portKey{addr, port})
	}
	return 0, ErrNoPorts
}

// claim takes a pair, if it is free.
func (p *ports) claim(k portKey, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[k] || now.Before(p.resting[k]) {
		return false
	}
	delete(p.resting, k)
	p.used[k] = true
	return true
}

// unclaim gives a pair back that was never used.
func (p *ports) unclaim(k portKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, k)
}

// release lets a pair rest.
func (p *ports) release(addr netip.Addr, port uint16, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := portKey{addr, port}
	delete(p.used, k)
	if p.rest > 0 {
		p.resting[k] = now.Add(p.rest)
	}
}

// count is how many ports are in use, and how many rest.
func (p *ports) count(now time.Time) (used, resting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, until := range p.resting {
		if !now.Before(until) {
			delete(p.resting, k)
		}
	}
	return 2 * len(p.used), 2 * len(p.resting)
}
