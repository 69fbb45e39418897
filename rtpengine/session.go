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
	patient time.Time // until when it cannot have died, as far as signalling goes; zero: not known
	streams []*stream
	addrs   [2]Address // where each party sends to; zero until it is known
	aliases [2]alias
	origin  [2]origin
	before  *agreed // what held before the last offer, for a rollback
	offerer Side    // of the last offer
	asking  [2]bool // whose offers are neither answered nor refused
	told    bool    // reported dead
	edits   uint16  // offers, answers and rollbacks, for keep.go
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

// agreed is the part of a session that an offer changes.
type agreed struct {
	offerer Side
	addrs   [2]Address
	streams []terms
}

// terms are the part of a stream.
type terms struct {
	media           string
	manner, offered manner
	latch, latchC   [2]latch
	said            [2]said
	ice             [2]*agent
	pairs           [2]pair
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
	o, err := s.open(d, b)
	if err != nil {
		return nil, err
	}
	s.withdraw()
	if !s.crosses(b.From) {
		s.forget()
		s.before = s.agreed()
	}
	s.asking[b.From], s.offerer = true, b.From
	s.take(o)
	s.apply(d, b, true)
	s.edit()
	return s.write(d, b.From.Other(), false), nil
}

// answer takes an answer; on an error nothing has changed.
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
	for i, m := range d.media {
		if s.streams[i].offered.Rejected {
			m.port = 0 // what was refused stays refused
		}
	}
	o, err := s.open(d, b)
	if err != nil {
		return nil, err
	}
	s.withdraw()
	s.asking = [2]bool{}
	s.take(o)
	s.apply(d, b, false)
	s.edit()
	return s.write(d, b.From.Other(), true), nil
}

// shrink undoes what a refused offer has opened: whole new streams.
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
		t.media = m.kind
		switch {
		case offer:
			t.offered = d.manner(m)
		case b.From != s.offerer: // nobody answers his own offer, as by an ACK that has a description nevertheless
			t.manner = t.offered.answered(d.manner(m))
		}
		f := &t.faces[b.From]
		was := f.said
		f.said = d.said(m)
		t.faces[Caller].counts.payload, t.faces[Callee].counts.payload = 0, 0 // they may mean others now
		if m.port == 0 {
			continue
		}
		f.signalled(m, b, offer)
		f.lets(&t.faces[b.From.Other()], was, offer, time.Now())
	}
}

// agreed copies what an offer changes.
func (s *session) agreed() *agreed {
	all := agreed{offerer: s.offerer, addrs: s.addrs, streams: make([]terms, 0, len(s.streams))}
	for _, t := range s.streams {
		a := terms{media: t.media, manner: t.manner, offered: t.offered}
		for side := range t.faces {
			f := &t.faces[side]
			a.latch[side], a.latchC[side], a.said[side], a.ice[side] = f.latch, f.latchC, f.said, f.ice.clone()
			a.pairs[side] = f.pair()
		}
		all.streams = append(all.streams, a)
	}
	return &all
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
	s.shrink(len(s.before.streams))
	s.addrs, s.offerer = s.before.addrs, s.before.offerer
	for i, a := range s.before.streams {
		t := s.streams[i]
		t.media, t.manner, t.offered = a.media, a.manner, a.offered
		for side := range t.faces {
			f := &t.faces[side]
			f.latch, f.latchC, f.said, f.ice = a.latch[side], a.latchC[side], a.said[side], a.ice[side]
			f.counts.payload, f.start.since = 0, time.Time{}
			if a.pairs[side] != f.pair() {
				s.closeFace(f)
				s.move(f, Side(side), a.pairs[side])
			}
		}
	}
	s.before, s.asking = nil, [2]bool{}
}

// crosses says that an offer of that side crosses one of the other. Both are
// refused (RFC 3261 §14.1), and what held before the first holds again.
func (s *session) crosses(from Side) bool {
	return s.asking[from.Other()] && s.before != nil && len(s.before.streams) > 0
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
	s.forget()
	for _, t := range s.streams {
		for side := range t.faces {
			s.closeFace(&t.faces[side])
		}
	}
}

// died says that the media of the session is dead: once, and once more when an
// offer or answer has come since. While a call rings its owner does not end it
// for that; and who answers, or is off hold, is let have time to be heard. On
// hold both may be silent for as long as otherwise one.
//
// A session that is alive is not looked at again before it can have died:
// thousands of them, once a second, would cost as much as some of their packets.
func (s *session) died(now time.Time, silence, half time.Duration) (Reason, bool) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.told || s.ended || now.Before(s.patient) {
		return "", false
	}
	if s.paused() {
		silence = half
	}
	if s.onHold() && now.Sub(s.edited) < holdLimit {
		s.awaited = now
		return "", false
	}
	heard := s.heard()
	caller, callee := now.Sub(heard[Caller]), now.Sub(heard[Callee])
	both, one := min(caller, callee, now.Sub(s.edited)), max(caller, callee) // are silent for so long
	switch {
	case silence > 0 && both > silence:
		s.told = true
		return NoMedia, true
	case half > 0 && one > half:
		s.told = true
		return HalfMedia, true
	}
	left := holdLimit
	if silence > 0 {
		left = min(left, silence-both)
	}
	if half > 0 {
		left = min(left, half-one)
	}
	s.patient = now.Add(left)
	return "", false
}

// heard is when each party was heard last, and was awaited if it was not since.
func (s *session) heard() [2]time.Time {
	last := [2]time.Time{s.awaited, s.awaited}
	for _, t := range s.streams {
		for side := range t.faces {
			t.faces[side].read()
			if h := t.faces[side].counts.lastHeard; h.After(last[side]) {
				last[side] = h
			}
		}
	}
	return last
}

// holdLimit is how long nobody need send anything (ours: a day without
// signalling, after which the dialog's own identifiers are no longer good).
const holdLimit = 24 * time.Hour

// edit notes that signalling has changed the session.
func (s *session) edit() {
	s.edits, s.edited, s.told, s.patient = s.edits+1, time.Now(), false, time.Time{}
}

// onHold says that nobody is to send anything: then silence means nothing.
func (s *session) onHold() bool {
	for _, t := range s.streams {
		if !t.Rejected && (t.faces[Caller].said.wants() || t.faces[Callee].said.wants()) {
			return false
		}
	}
	return true
}

// paused says that at least one party is not to send: then the other one may
// have nothing to say, as who holds without music (RFC 3264 §8.4).
func (s *session) paused() bool {
	for _, t := range s.streams {
		a, b := &t.faces[Caller].said, &t.faces[Callee].said
		if !t.Rejected && (!a.Described || !b.Described || a.Sends && b.Receives && b.Sends && a.Receives) {
			return false
		}
	}
	return true
}
