package rtpengine

import (
	"net/netip"
	"time"
)

// A latch decides whose packets are taken on one port, and where packets to
// that party go. It is a lock, not a convenience (design §6, RFC 7362 §4):
//
//   - a packet from the signalled address is taken, and ends all doubt;
//   - from a party behind NAT, one address is learnt, and only of the host
//     that its signalling comes from;
//   - a party that signals the host of its signalling is where it says. Another
//     port of that host, which may be another's behind the same NAT, is learnt
//     only if it sends for a while and nothing comes from where it should;
//   - nothing is learnt before both parties have described themselves: until
//     then none of them can know where to send to;
//   - afterwards everything else is dropped, until a new offer or answer
//     brings another address; or until one with the same, after which nothing
//     comes from where the party was, and another port of its host sends for a
//     while: its NAT may have forgotten it during a hold.
type latch struct {
	signalled netip.AddrPort // from the description; invalid: nowhere (hold, or none yet)
	source    netip.Addr     // of the party's signalling; zero: only the signalled address counts
	split     bool           // a carrier that splits media and signalling: any host is learnt
	nominated bool           // by the party's ICE agent: better than what it signals
	again     bool           // the party will send and was not heard since it said so: it may have moved
	rival     *rival         // nil: there is none
	latched   netip.AddrPort // what was learnt
}

// A rival sends from somewhere else than the party signals.
type rival struct {
	from  netip.AddrPort
	since time.Time
	seen  int
}

// How long a rival must send before it is taken for the party (ours): a phone
// that talks has been heard at its own address by then.
const (
	rivalPackets = 25
	rivalTime    = 500 * time.Millisecond
)

// set notes what an offer or answer says. What was learnt is kept while the
// party says the same from the same place; will says that it is to send.
func (l *latch) set(signalled netip.AddrPort, source netip.Addr, split, will bool) {
	l.again = will && signalled.IsValid()
	if l.signalled == signalled && l.source == source && l.split == split {
		l.rival = nil
		return
	}
	if signalled.IsValid() && (l.signalled != signalled || l.source != source) {
		l.latched, l.rival = netip.AddrPort{}, nil
	}
	l.signalled, l.source, l.split = signalled, source, split
}

// mayLearn says what a latch may learn from a packet.
type mayLearn uint8

const (
	learnNothing   mayLearn = iota // the parties are not agreed on the stream
	learnSignalled                 // that the party is where it says
	learnAny
)

// accept says whether a packet from there is the party's, and learns.
func (l *latch) accept(from netip.AddrPort, now time.Time, may mayLearn) bool {
	switch {
	case from == l.latched:
		l.again = false
		return true
	case may == learnNothing, l.nominated:
		return false
	case from == l.signalled && (!l.latched.IsValid() || l.here()), may == learnAny && l.learns(from, now):
		l.latched, l.again = from, false
		return true
	}
	return false
}

// here says that the party is where it signals to be, as far as anybody can
// tell: no NAT lies between.
func (l *latch) here() bool {
	return l.split || !l.source.IsValid() || l.signalled.Addr() == l.source
}

// learns says that an address that is not the signalled one is the party's.
func (l *latch) learns(from netip.AddrPort, now time.Time) bool {
	switch {
	case !l.split && (!l.source.IsValid() || from.Addr() != l.source):
		return false
	case l.latched.IsValid() && !l.again:
		return false
	case !l.latched.IsValid() && !l.here():
		return true
	case l.rival == nil:
		l.rival = &rival{from: from, since: now}
	case l.rival.from != from:
		*l.rival = rival{from: from, since: now}
	}
	l.rival.seen++
	return l.rival.seen >= rivalPackets && now.Sub(l.rival.since) >= rivalTime
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
