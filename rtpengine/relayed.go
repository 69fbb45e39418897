package rtpengine

import "sync/atomic"

// Relayed is what the engine has taken from parties and relayed since its
// start, by plane, and how many flows the kernel has at this moment.
type Relayed struct {
	Kernel, User uint64 // packets
	Flows        int    // directions of streams, as the kernel's table has them
}

// A tally is the sum of the sessions that have ended.
type tally struct{ kernel, user atomic.Uint64 }

// add takes up a session at its end. It is called under the loop's lock.
func (t *tally) add(s *session) {
	r := s.relayed()
	t.kernel.Add(r.Kernel)
	t.user.Add(r.User)
}

// Relayed counts over all sessions, also those that have ended.
func (e *Engine) Relayed() Relayed {
	e.mu.Lock()
	all := make([]*session, 0, len(e.sessions))
	for _, s := range e.sessions {
		all = append(all, s)
	}
	e.mu.Unlock()
	sum := Relayed{Kernel: e.relayed.kernel.Load(), User: e.relayed.user.Load()}
	if e.kernel != nil {
		sum.Flows = e.kernel.Flows()
	}
	for _, s := range all {
		s.loop.mu.Lock()
		if !s.ended { // else it is in the tally
			r := s.relayed()
			sum.Kernel, sum.User = sum.Kernel+r.Kernel, sum.User+r.User
		}
		s.loop.mu.Unlock()
	}
	return sum
}

// relayed counts over the session. It is called under the loop's lock.
func (s *session) relayed() (r Relayed) {
	for _, t := range s.streams {
		for side := range t.faces {
			f := &t.faces[side]
			f.read()
			r.Kernel += f.counts.kernel
			r.User += f.counts.packets - f.counts.kernel
		}
	}
	return r
}
