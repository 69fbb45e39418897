package rtpengine

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// ports hands out pairs of ports, an even one for RTP and the next for RTCP
// (RFC 3550 §11), at random, so that nobody can guess where a call's media
// is. A released pair rests before it is used again: late packets of one call
// must not reach the next. Safe for concurrent use.
type ports struct {
	min, max uint16
	rest     time.Duration
	most     int // pairs at a time, of all addresses

	mu      sync.Mutex
	used    map[portKey]bool
	resting map[portKey]time.Time
}

// portKey is the even port of a pair on one address.
type portKey struct {
	addr netip.Addr
	port uint16
}

// newPorts makes the table of a range. Each pair takes two descriptors, of
// which there are so many sockets; 0: no end of them.
func newPorts(lo, hi uint16, rest time.Duration, sockets int) *ports {
	most := math.MaxInt
	if sockets > 0 {
		most = sockets / 2
	}
	return &ports{
		min: lo + lo%2, max: hi, rest: rest, most: most,
		used: map[portKey]bool{}, resting: map[portKey]time.Time{},
	}
}

// pairs is how many pairs the range has.
func (p *ports) pairs() int { return (int(p.max) - int(p.min) + 1) / 2 }

// take finds a pair on addr for which open succeeds. Another program may hold
// a port: then the next is tried. It fails with ErrNoPorts or ErrNoSockets.
func (p *ports) take(addr netip.Addr, now time.Time, open func(rtp uint16) error) (uint16, error) {
	n := p.pairs()
	if n <= 0 {
		return 0, ErrNoPorts
	}
	start := int(random() % uint64(n))
	for i := range n {
		port := p.min + 2*uint16((start+i)%n)
		switch err := p.claim(portKey{addr, port}, now); {
		case errors.Is(err, ErrNoSockets):
			return 0, err
		case err != nil:
			continue
		}
		err := open(port)
		if err == nil {
			return port, nil
		}
		p.unclaim(portKey{addr, port})
		if why := hopeless(err); why != nil {
			return 0, fmt.Errorf("%w: %w", why, err)
		}
	}
	return 0, ErrNoPorts
}

// hopeless is why no other port would open either, nil if one might. To try
// all of a range under the lock of a loop would hold up its packets.
func hopeless(err error) error {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM),
		errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOSPC): // ENOSPC: epoll's max_user_watches
		return ErrNoSockets
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ErrNoPorts // the address is gone
	}
	return nil
}

// claim takes a pair if it is free, and there are descriptors for it.
func (p *ports) claim(k portKey, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.used) >= p.most:
		return ErrNoSockets
	case p.used[k] || now.Before(p.resting[k]):
		return ErrNoPorts
	}
	delete(p.resting, k)
	p.used[k] = true
	return nil
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

// SocketsPerCall is how many an audio call takes: RTP and RTCP toward each
// party, each on a port of its own.
const SocketsPerCall = 4

// Descriptors is what bounds the calls where it is not what the operator wrote.
const Descriptors = "descriptors"

// Room is how many audio calls fit at a time, and which setting bounds it.
// Where all parties are at one address there is no more; video takes as much again.
func (c Config) Room() (calls int, bound string) {
	calls, bound = newPorts(c.PortMin, c.PortMax, 0, 0).pairs()*2/SocketsPerCall, "media.ports"
	if n := c.MaxSockets / SocketsPerCall; c.MaxSockets > 0 && n < calls {
		calls, bound = n, Descriptors
	}
	if c.MaxSessions > 0 && c.MaxSessions < calls {
		calls, bound = c.MaxSessions, "media.max_sessions"
	}
	return calls, bound
}

// Room is that of the engine's configuration.
func (e *Engine) Room() (calls int, bound string) { return e.room.calls, e.room.bound }
