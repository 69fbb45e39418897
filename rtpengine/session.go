package rtpengine

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// A session is the media of one dialog: a stream for each m= line. Everything
// in it is guarded by the lock of its loop, which a packet's way holds too.
type session struct {
	e       *Engine
	id      ID
	loop    *loop
	awaited time.Time // since when media is: the beginning, or the end of a hold
	streams []*stream
	addrs   [2]Address // where each party sends to; zero until it is known
	aliases [2]alias
	origin  [2]origin
	before  []agreed // what held before the last offer, for a rollback
	told    bool     // reported dead
	edits   uint16   // offers, answers and rollbacks, for keep.go
	edited  time.Time
	keptAt  []netip.AddrPort
	ended   bool
	past    Relayed // by streams that are no more

	userOnly bool // nothing of it is given to the kernel
}

// origin is the o= line that one party has been sent (RFC 3264 §8: the same
// ID, a version that grows by one when the description changes).
type origin struct {
	id      uint64
	version uint64
	body    []byte // the last description, without its o= line
}

// agreed is the part of a stream that an offer changes.
type agreed struct {
	media                        string
	udptl, secure, mux, rejected bool
	latch, latchC                [2]latch
	said                         [2]said
	ice                          [2]*agent
}

func newSession(e *Engine, l *loop, id ID) *session {
	s := &session{e: e, loop: l, id: id, awaited: time.Now(), edited: time.Now()}
	for side := range s.aliases {
		s.aliases[side] = alias{cname: fmt.Sprintf("%016x", random()), clock: random() % day}
		s.origin[side] = origin{id: random() >> 2, version: random() >> 34}
	}
	return s
}

// offer takes an offer; on an error nothing has changed.
func (s *session) offer(b Body) ([]byte, error) {
	d, err := readSDP(b.SDP)
	if err != nil {
		return nil, err
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.ended {
		return nil, ErrUnknown
	}
	s.withdraw()
	before, opened := s.agreed(), len(s.streams)
	if err := s.open(d, b); err != nil {
		s.shrink(opened)
		return nil, err
	}
	s.before = before
	for i, m := range d.media {
		s.streams[i].mux = m.mux
	}
	s.apply(d, b, true)
	s.edit()
	return s.write(d, b.From.Other(), false), nil
}

// answer takes an answer.
func (s *session) answer(b Body) ([]byte, error) {
	d, err := readSDP(b.SDP)
	if err != nil {
		return nil, err
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	switch {
	case s.ended:
		return nil, ErrUnknown
	case len(d.media) > len(s.streams): // RFC 3264 §6: as many m= lines as the offer
		return nil, notSafe("answer with more m= lines than its offer")
	}
	s.withdraw()
	if err := s.open(d, b); err != nil {
		return nil, err
	}
	for i, m := range d.media {
		if s.streams[i].rejected && m.port != 0 {
			m.port = 0 // what we refused stays refused
		}
		s.streams[i].mux = s.streams[i].mux && m.mux
	}
	s.apply(d, b, false)
	s.edit()
	return s.write(d, b.From.Other(), true), nil
}

// open makes streams and opens the sockets that the description needs, toward
// both parties: the call is relayed before anything of it is forwarded.
func (s *session) open(d *description, b Body) error {
	from, to := b.From, b.From.Other()
	if err := s.choose(from, b.Source, familyOf(b.Source)); err != nil {
		return err
	}
	if err := s.choose(to, b.Other, b.Toward); err != nil {
		return err
	}
	for i, m := range d.media {
		if i == len(s.streams) {
			s.streams = append(s.streams, &stream{media: m.kind})
		}
		if m.port == 0 {
			continue
		}
		for _, side := range []Side{from, to} {
			if err := s.openFace(s.streams[i], side); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose picks the address that a party sends to. One that is in use stays.
func (s *session) choose(side Side, party netip.Addr, f Family) error {
	if s.addrs[side].Local.IsValid() && (f == Any || familyOf(s.addrs[side].Local) == f) {
		return nil
	}
	a, ok := s.e.cfg.addressFor(party.Unmap(), f)
	if !ok {
		return ErrNoPorts // no address of that family
	}
	s.addrs[side] = a
	return nil
}

// openFace opens the pair of sockets of a stream toward a party, once.
func (s *session) openFace(t *stream, side Side) error {
	f := &t.faces[side]
	a := s.addrs[side]
	if f.rtp != nil && f.addr == a {
		return nil
	}
	var rtp, rtcp *sock
	port, err := s.e.ports.take(a.Local, time.Now(), func(port uint16) (err error) {
		rtp, rtcp, err = s.openPair(t, side, a, port)
		return err
	})
	if err != nil {
		return err
	}
	s.closeFace(f)
	f.addr, f.port, f.rtp, f.rtcp, f.alias = a, port, rtp, rtcp, s.aliases[side]
	s.openFlow(f)
	return nil
}

// openPair opens the two sockets of a pair of ports, or none.
func (s *session) openPair(t *stream, side Side, a Address, port uint16) (rtp, rtcp *sock, err error) {
	if rtp, err = s.loop.open(netip.AddrPortFrom(a.Local, port), s.handler(t, side, false)); err != nil {
		return nil, nil, err
	}
	if rtcp, err = s.loop.open(netip.AddrPortFrom(a.Local, port+1), s.handler(t, side, true)); err != nil {
		s.loop.shut(rtp)
		return nil, nil, err
	}
	return rtp, rtcp, nil
}

// handler is what the loop calls for each packet of a socket.
func (s *session) handler(t *stream, side Side, control bool) func([]byte, netip.AddrPort) {
	return func(b []byte, from netip.AddrPort) {
		if report := t.packet(side, control, b, from); report != nil && s.e.cfg.Reported != nil {
			s.e.cfg.Reported(s.id, side.Other(), report, t.secure)
		}
	}
}

// closeFace closes a pair of sockets and lets its ports rest.
func (s *session) closeFace(f *face) {
	if f.rtp == nil {
		return
	}
	f.counts.dropped[dropFull] += f.full()
	s.loop.shut(f.rtp)
	s.loop.shut(f.rtcp)
	s.e.ports.release(f.addr.Local, f.port, time.Now())
	f.rtp, f.rtcp = nil, nil
}

// shrink undoes what a failed offer has opened: whole new streams.
func (s *session) shrink(n int) {
	s.past = count(s.past, s.streams[n:])
	for _, t := range s.streams[n:] {
		for side := range t.faces {
			s.closeFace(&t.faces[side])
		}
	}
	s.streams = s.streams[:n]
}

// apply notes what a description says about its author.
func (s *session) apply(d *description, b Body, offer bool) {
	for i, m := range d.media {
		t := s.streams[i]
		t.media, t.udptl = m.kind, m.udptl
		t.rejected = m.port == 0
		t.secure = t.secure || m.secure || d.secure
		f := &t.faces[b.From]
		f.said = d.said(m)
		t.faces[Caller].counts.payload, t.faces[Callee].counts.payload = 0, 0 // they may mean others now
		if t.rejected {
			continue
		}
		f.signalled(m, b, offer)
	}
}

// agreed copies what an offer changes.
func (s *session) agreed() []agreed {
	all := make([]agreed, 0, len(s.streams))
	for _, t := range s.streams {
		a := agreed{media: t.media, udptl: t.udptl, secure: t.secure, mux: t.mux, rejected: t.rejected}
		for side := range t.faces {
			f := &t.faces[side]
			a.latch[side], a.latchC[side], a.said[side], a.ice[side] = f.latch, f.latchC, f.said, f.ice.clone()
		}
		all = append(all, a)
	}
	return all
}

// rollback returns to what held before the last offer.
func (s *session) rollback() {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.before == nil || s.ended {
		return
	}
	s.edit()
	s.withdraw()
	s.shrink(len(s.before))
	for i, a := range s.before {
		t := s.streams[i]
		t.media, t.udptl, t.secure, t.mux, t.rejected = a.media, a.udptl, a.secure, a.mux, a.rejected
		for side := range t.faces {
			f := &t.faces[side]
			f.latch, f.latchC, f.said, f.ice = a.latch[side], a.latchC[side], a.said[side], a.ice[side]
			f.counts.payload = 0
		}
	}
	s.before = nil
}

// write makes the description for a party, with the version that it needs.
func (s *session) write(d *description, to Side, answer bool) []byte {
	body := d.write(s, to, answer)
	o := &s.origin[to]
	if o.body != nil && !bytes.Equal(o.body, body) {
		o.version++
	}
	o.body = bytes.Clone(body) // without the room that was left for more
	return d.withOrigin(o, s.addrs[to].Advertised, body)
}

// close ends the session and frees everything that it held, but its flows in
// the kernel if they are left to the next process.
func (s *session) close(leave bool) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if !leave {
		s.withdraw()
	}
	s.e.relayed.end(s)
	for _, t := range s.streams {
		for side := range t.faces {
			s.closeFace(&t.faces[side])
		}
	}
}

// died says that the media of the session is dead: once, and once more when an
// offer or answer has come since. While a call rings its owner does not end it
// for that; and who answers, or is off hold, is let have time to be heard.
func (s *session) died(now time.Time, silence, half time.Duration) (Reason, bool) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.told || s.ended {
		return "", false
	}
	if s.onHold() && now.Sub(s.edited) < holdLimit {
		s.awaited = now
		return "", false
	}
	heard := [2]time.Time{s.awaited, s.awaited}
	for _, t := range s.streams {
		for side := range t.faces {
			t.faces[side].read()
			if h := t.faces[side].counts.lastHeard; h.After(heard[side]) {
				heard[side] = h
			}
		}
	}
	caller, callee := now.Sub(heard[Caller]), now.Sub(heard[Callee])
	switch {
	case silence > 0 && min(caller, callee, now.Sub(s.edited)) > silence:
		s.told = true
		return NoMedia, true
	case half > 0 && max(caller, callee) > half:
		s.told = true
		return HalfMedia, true
	}
	return "", false
}

// holdLimit is how long nobody need send anything (ours: a day without
// signalling, after which the dialog's own identifiers are no longer good).
const holdLimit = 24 * time.Hour

// edit notes that signalling has changed the session.
func (s *session) edit() { s.edits, s.edited, s.told = s.edits+1, time.Now(), false }

// onHold says that nobody is to send anything: then silence means nothing.
func (s *session) onHold() bool {
	for _, t := range s.streams {
		if !t.rejected && (t.faces[Caller].latch.signalled.IsValid() || t.faces[Callee].latch.signalled.IsValid()) {
			return false
		}
	}
	return true
}
