package proxy

import (
	"net/netip"
	"time"

	"sotto/proxy/guard"
	"sotto/rtpengine"
)

// Totals is what the proxy holds at a moment. With no call and no request
// under way all but Bindings, Connections and Resting are zero: whoever looks
// for a leak looks here.
type Totals struct {
	Bindings     int
	Connections  int // TCP and TLS
	Transactions int
	Calls        int // ringing and talking
	Facades      int // strangers who hear ringing
	Notices      int // recipients whose notice waits for its moment
	Sessions     int // of the media engine
	Ports        int // in use by sessions
	Resting      int // ports that rest after a call
	Bans         int // addresses that are not heard for a while

	// Since the start: datagrams that the system lost because they were not read
	// in time; messages that were not heard, being over a budget or banned;
	// strangers' messages for which there was no room; and answers that were not
	// sent since they were larger than what an address had sent that may be borrowed.
	Unread, Dropped, Crowded, Unpaid uint64

	// Leaks is how often a fact about one party of a protected call was found in
	// what was sent to the other, since the start. It is 0, or there is a bug.
	Leaks int

	Plane, WhyPlane string // by what media is relayed
	Media           rtpengine.Relayed
	Gathering       int    // interfaces at which packets gather
	Gathers         string // which, and for how long
	Room            int    // relayed calls that fit at a time
	Bound           string // what bounds them
}

// Totals counts what the proxy holds.
func (p *Proxy) Totals() Totals {
	t := Totals{
		Bindings: p.loc.Len(), Connections: p.mux.Connections(), Transactions: p.txn.Open(),
		Calls: p.calls.live(), Facades: p.facades.len(), Notices: p.notices.underWay(),
		Sessions: p.engine.Sessions(), Bans: len(p.Bans()),
		Dropped: p.guard.Counters().Dropped.Load(), Unpaid: p.guard.Counters().Unpaid.Load(),
		Unread:  p.mux.Lost(),
		Crowded: p.mux.Counters().Crowded.Load() + p.txn.Crowded() + p.facades.refused.Load(),
	}
	t.Leaks = p.receipts.Leaks()
	t.Ports, t.Resting = p.engine.Ports()
	plane, why := p.engine.Plane()
	t.Plane, t.WhyPlane, t.Media = string(plane), why, p.engine.Relayed()
	t.Gathering, t.Gathers, _ = p.engine.Gathers() // why not is what sotto doctor says
	t.Room, t.Bound = p.engine.Room()
	return t
}

// UserSpace relays the media of a call that is under way in user space only,
// or as the server relays all; ref is CallInfo.Ref. It says if there is such a
// call, and how many sessions of the media engine it has.
func (p *Proxy) UserSpace(ref string, only bool) (known bool, sessions int) {
	all, known := p.calls.sessionsOf(ref)
	for _, id := range all {
		if p.engine.UserSpace(id, only) {
			sessions++
		}
	}
	return known, sessions
}

// Bans lists the addresses that are not heard for a while.
func (p *Proxy) Bans() []guard.Ban { return p.guard.Bans(time.Now()) }

// Pardon ends the ban of an address, or with the zero address all, and says
// how many there were.
func (p *Proxy) Pardon(a netip.Addr) int { return p.guard.Pardon(a, time.Now()) }
