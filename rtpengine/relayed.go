package rtpengine

import "sync"

// Relayed is what the engine has taken from parties and relayed since its
// start, by plane, and how many flows the kernel has at this moment.
type Relayed struct {
	Kernel, User uint64 // packets; they never decrease
	Flows        int    // directions of streams, as the kernel's table has them
}

// A tally knows the sessions that count, and the sum of those that have ended.
type tally struct {
	mu    sync.Mutex // the innermost of all
	live  map[*session]bool
	ended Relayed
}

// begin takes up a new session.
func (t *tally) begin(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = map[*session]bool{}
	}
	t.live[s] = true
}

// end adds a session at its end. It is called under the loop's lock.
func (t *tally) end(s *session) {
	s.past = s.relayed()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, s)
	t.ended.Kernel += s.past.Kernel
	t.ended.User += s.past.User
}

// snapshot are the sessions that are not in the sum with it.
func (t *tally) snapshot() (live []*session, ended Relayed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	live = make([]*session, 0, len(t.live))
	for s := range t.live {
		live = append(live, s)
	}
	return live, t.ended
}

// Relayed counts over all sessions, also those that have ended.
func (e *Engine) Relayed() Relayed {
	live, sum := e.relayed.snapshot()
	if e.kernel != nil {
		sum.Flows = e.kernel.Flows()
	}
	for _, s := range live {
		s.loop.mu.Lock()
		r := s.past // it has ended since the snapshot
		if !s.ended {
			r = s.relayed()
		}
		s.loop.mu.Unlock()
		sum.Kernel, sum.User = sum.Kernel+r.Kernel, sum.User+r.User
	}
	return sum
}

// relayed counts over the session. It is called under the loop's lock.
func (s *session) relayed() Relayed {
	return count(s.past, s.streams)
}

// count adds what streams have relayed to a sum. It is called under the loop's lock.
func count(sum Relayed, all []*stream) Relayed {
	for _, t := range all {
		for side := range t.faces {
			f := &t.faces[side]
			f.read()
			sum.Kernel += f.counts.kernel
			sum.User += f.counts.packets - f.counts.kernel
		}
	}
	return sum
}
