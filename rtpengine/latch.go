package rtpengine

import "net/netip"

// A latch decides whose packets are taken on one port, and where packets to
// that party go. It is a lock, not a convenience (design §6, RFC 7362 §4):
//
//   - a packet from the signalled address is taken;
//   - from a party behind NAT, one address is learnt, and only of the host
//     that its signalling comes from;
//   - afterwards everything else is dropped, until a new offer or answer
//     brings another address.
type latch struct {
	signalled netip.AddrPort // from the description; invalid: nowhere (hold, or none yet)
	source    netip.Addr     // of the party's signalling; zero: only the signalled address counts
	split     bool           // a carrier that splits media and signalling: the first sender is learnt
	latched   netip.AddrPort // what was learnt
}

// set notes what an offer or answer says. What was learnt is kept while the
// party says the same from the same place.
func (l *latch) set(signalled netip.AddrPort, source netip.Addr, split bool) {
	if l.signalled == signalled && l.source == source && l.split == split {
		return
	}
	if signalled.IsValid() && (l.signalled != signalled || l.source != source) {
		l.latched = netip.AddrPort{}
	}
	l.signalled, l.source, l.split = signalled, source, split
}

// accept says whether a packet from there is the party's, and learns.
func (l *latch) accept(from netip.AddrPort) bool {
	if l.latched.IsValid() {
		return from == l.latched
	}
	if from == l.signalled || l.split || l.source.IsValid() && from.Addr() == l.source {
		l.latched = from
		return true
	}
	return false
}

// related says that a packet comes from the party's host, without learning.
func (l *latch) related(from netip.AddrPort) bool {
	return from == l.latched || from == l.signalled || l.source.IsValid() && from.Addr() == l.source
}

// dest is where packets to the party go; invalid if that is not known. Before
// the party was heard its signalled address is used only if it is on the host
// of its signalling: nobody can point our media at a third party.
func (l *latch) dest() netip.AddrPort {
	switch {
	case l.latched.IsValid():
		return l.latched
	case !l.source.IsValid(), l.split, l.signalled.Addr() == l.source:
		return l.signalled
	}
	return netip.AddrPort{}
}
