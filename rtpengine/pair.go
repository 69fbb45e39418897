package rtpengine

import (
	"net/netip"
	"slices"
	"time"
)

// A pair is the two sockets, RTP's and RTCP's, that a party sends to for one
// stream. A face has one; a party that comes to be reached in the other address
// family gets another. Until that offer can no longer be refused the former
// stays, for a rollback: its port is taken, and what comes to it is heard.
type pair struct {
	addr      Address
	port      uint16 // RTP's; RTCP's is the next
	rtp, rtcp *sock  // nil: not open
}

func (f *face) pair() pair { return pair{f.addr, f.port, f.rtp, f.rtcp} }

// An opening is what a description needs and a session does not have. All of
// it is there before anything of the session changes.
type opening struct {
	addrs   [2]Address
	streams []*stream // the session's, and new ones
	pairs   []opened
}

type opened struct {
	pair
	stream int
	side   Side
}

// open opens the sockets that the description needs, toward both parties: the
// call is relayed before anything of it is forwarded. On an error none is open.
func (s *session) open(d *description, b Body) (*opening, error) {
	o := &opening{addrs: s.addrs, streams: slices.Clone(s.streams)}
	if err := s.fill(o, d, b); err != nil {
		for _, n := range o.pairs {
			s.loop.shut(n.rtp)
			s.loop.shut(n.rtcp)
			s.e.ports.unclaim(portKey{n.addr.Local, n.port})
		}
		return nil, err
	}
	return o, nil
}

func (s *session) fill(o *opening, d *description, b Body) (err error) {
	from, to := b.From, b.From.Other()
	if o.addrs[from], err = s.choose(from, b.Source, familyOf(b.Source)); err != nil {
		return err
	}
	if o.addrs[to], err = s.choose(to, b.Other, b.Toward); err != nil {
		return err
	}
	for i, m := range d.media {
		if i == len(o.streams) {
			o.streams = append(o.streams, &stream{media: m.kind})
		}
		for _, side := range []Side{from, to} {
			f := &o.streams[i].faces[side]
			if m.port == 0 || f.rtp != nil && f.addr == o.addrs[side] {
				continue
			}
			p, err := s.openPair(o.streams[i], side, o.addrs[side])
			if err != nil {
				return err
			}
			o.pairs = append(o.pairs, opened{p, i, side})
		}
	}
	return nil
}

// choose picks the address that a party sends to. One that is in use stays,
// unless the party has come to another network, where it may not be reached.
func (s *session) choose(side Side, party netip.Addr, f Family) (Address, error) {
	a, ok := s.e.cfg.addressFor(party.Unmap(), f)
	if in := s.addrs[side]; in.Local.IsValid() && (f == Any || familyOf(in.Local) == f) && (!party.IsValid() || !ok) {
		return in, nil
	}
	if !ok {
		return a, ErrNoPorts // no address of that family
	}
	return a, nil
}

// openPair opens a pair on a port that is free.
func (s *session) openPair(t *stream, side Side, a Address) (p pair, err error) {
	_, err = s.e.ports.take(a.Local, time.Now(), func(port uint16) (err error) {
		p, err = s.bind(t, side, a, port)
		return err
	})
	return p, err
}

// bind opens the two sockets of a pair, or none.
func (s *session) bind(t *stream, side Side, a Address, port uint16) (pair, error) {
	rtp, err := s.loop.open(netip.AddrPortFrom(a.Local, port), s.handler(t, side, false))
	if err != nil {
		return pair{}, err
	}
	rtcp, err := s.loop.open(netip.AddrPortFrom(a.Local, port+1), s.handler(t, side, true))
	if err != nil {
		s.loop.shut(rtp)
		return pair{}, err
	}
	return pair{a, port, rtp, rtcp}, nil
}

// handler is what the loop calls for each packet of a socket.
func (s *session) handler(t *stream, side Side, control bool) func([]byte, netip.AddrPort) {
	return func(b []byte, from netip.AddrPort) {
		if report := t.packet(side, control, b, from); report != nil && s.e.cfg.Reported != nil {
			s.e.cfg.Reported(s.id, side.Other(), report, !inClear(report))
		}
	}
}

// take makes an opening the session's. What a rollback would need stays open.
func (s *session) take(o *opening) {
	s.addrs, s.streams = o.addrs, o.streams
	for _, n := range o.pairs {
		f := &s.streams[n.stream].faces[n.side]
		was := f.pair()
		s.move(f, n.side, n.pair)
		if s.before == nil || n.stream >= len(s.before.streams) || s.before.streams[n.stream].pairs[n.side] != was {
			s.closePair(f, was)
		}
	}
}

// move gives a face a pair.
func (s *session) move(f *face, side Side, p pair) {
	f.addr, f.port, f.rtp, f.rtcp, f.alias = p.addr, p.port, p.rtp, p.rtcp, s.aliases[side]
	s.openFlow(f)
}

// forget gives up what held before the last offer, with the pairs that only that had.
func (s *session) forget() {
	if s.before == nil {
		return
	}
	for i, a := range s.before.streams {
		for side, was := range a.pairs {
			if f := &s.streams[i].faces[side]; f.rtp != was.rtp {
				s.closePair(f, was)
			}
		}
	}
	s.before = nil
}

// closePair closes a pair that a face has or had, and lets its ports rest.
func (s *session) closePair(f *face, p pair) {
	if p.rtp == nil {
		return
	}
	f.counts.dropped[dropFull] += p.full()
	s.loop.shut(p.rtp)
	s.loop.shut(p.rtcp)
	s.e.ports.release(p.addr.Local, p.port, time.Now())
}

// closeFace closes the pair that a face has.
func (s *session) closeFace(f *face) {
	s.closePair(f, f.pair())
	f.rtp, f.rtcp = nil, nil
}

// full is how many packets its sockets had no room for.
func (p pair) full() uint64 { return p.rtp.drops() + p.rtcp.drops() }
