package rtpengine

import (
	"net/netip"
	"time"
)

// A flow that the kernel's plane has declined, for want of a route that it can
// take, is relayed by user space. The kernel is asked again when routes, rules,
// links or addresses change; after a while, since not all that decides a route
// is seen to change; and when the flow goes elsewhere.
type declined struct {
	to    netip.AddrPort
	epoch uint32
	wait  time.Duration
	again time.Time
}

// How long a declined flow is let be (ours). The wait doubles each time: to ask
// is three system calls under the lock of a loop, and one packet that takes the
// long way, of each of the flows that may never find their route.
const (
	declinedFirst = time.Second
	declinedMost  = time.Minute
)

// decline notes that the kernel will not have a flow as of this epoch.
func (f *kflow) decline(to netip.AddrPort, epoch uint32, now time.Time) {
	wait := declinedFirst
	if f.declined != nil && f.declined.to == to {
		wait = min(2*f.declined.wait, declinedMost)
	}
	f.declined = &declined{to, epoch, wait, now.Add(wait)}
}

// mayAsk says that the kernel may be asked to take a flow that goes there.
func (f *kflow) mayAsk(to netip.AddrPort, now time.Time) bool {
	d := f.declined
	return d == nil || d.to != to || d.epoch != f.Epoch() || !now.Before(d.again)
}

// reconsider takes the flows that the kernel may be asked for again from user
// space: their next packet asks.
func (s *session) reconsider(now time.Time) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	for _, t := range s.streams {
		if !t.declined {
			continue // without a look at its faces, once a second for each of thousands
		}
		t.declined = false
		for side := range t.faces {
			f := &t.faces[side]
			if d := f.flow.declined; d != nil {
				t.declined = true
				if f.flow.mayAsk(d.to, now) {
					f.withdraw()
				}
			}
		}
	}
}
