package rtpengine

import (
	"encoding/binary"
	"net/netip"
	"time"

	"sotto/internal/stun"
)

// A stream is one m= line of a session: a face toward each party.
type stream struct {
	media    string
	manner           // as agreed: what an offer asks for holds from its answer on
	offered  manner  // by the last offer
	zrtp     [2]bool // the party speaks ZRTP
	declined bool    // the kernel has, some flow of it (declined_linux.go)
	faces    [2]face
}

// A manner is how the packets of a stream are to be read.
type manner struct {
	UDPTL    bool // T.38: every packet is payload
	Secure   bool // SRTP or DTLS end to end
	Mux      bool // RTCP on the RTP port (RFC 5761)
	Rejected bool // there are none
}

// manner is what a section asks for.
func (d *description) manner(m *mediaLine) manner {
	return manner{m.udptl, m.secure || d.secure, m.mux, m.port == 0}
}

// answered is what is agreed on by an answer. There may be several, each to the
// offer (RFC 3261 §13.2.2.4).
func (m manner) answered(by manner) manner {
	return manner{m.UDPTL && by.UDPTL, m.Secure && by.Secure, m.Mux && by.Mux, by.Rejected}
}

// secured says that the stream is encrypted end to end, and nothing is looked
// into: both parties have said that they have keys for it, or speak ZRTP. One
// alone does not decide it: who has no keys writes in the clear (RFC 8643 §3.1).
func (t *stream) secured() bool { return t.Secure || t.zrtp[Caller] && t.zrtp[Callee] }

// A face is the engine's end toward one party of a stream: the sockets that
// the party sends to, and what is known of the party.
type face struct {
	addr   Address
	port   uint16
	rtcp   *sock
	said   said
	alias  alias  // as which the other party knows this one in RTCP
	ice    *agent // of ours, toward the party; nil: it has none
	latchC latch  // RTCP, without mux
	echo   *echo  // nil: no RTCP in the clear has come
	start  start
	page   uint16 // the number of the party's last packet of T.38

	strangers []stranger

	flow   kflow // of the kernel's plane
	rtp    *sock // nil: not open
	latch  latch // RTP
	counts counts
}

// kind is what a packet is, by its first bytes (RFC 7983 §7).
type kind uint8

const (
	kindNone kind = iota
	kindRTP
	kindRTCP
	kindSTUN
	kindDTLS
	kindZRTP
)

// minRTP is the fixed part of an RTP header, minRTCP of an RTCP packet.
const (
	minRTP  = 12
	minRTCP = 8
)

// classify says what a packet is.
func classify(b []byte) kind {
	switch {
	case len(b) >= minRTCP && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223: // RFC 5761 §4
		return kindRTCP
	case len(b) >= minRTP && b[0]>>6 == 2:
		return kindRTP
	case len(b) > 0 && b[0] >= 20 && b[0] <= 63:
		return kindDTLS
	case stun.IsSTUN(b):
		return kindSTUN
	case len(b) >= minRTP && b[0]&0xf0 == 0x10 && string(b[4:8]) == "ZRTP": // RFC 6189 §5
		return kindZRTP
	}
	return kindNone
}

// classify says what a packet that comes to a face is. T.38 has a number where
// RTP has its kind, so that after a quarter of an hour it looks like that; but
// it counts from 0. What else looks like RTP is what is left of the voice.
func (t *stream) classify(in *face, b []byte) kind {
	k := classify(b)
	if t.UDPTL && (k == kindRTP || k == kindRTCP) {
		if ahead := int16(binary.BigEndian.Uint16(b) - in.page); ahead < maxDropout && ahead > -maxMisorder {
			return kindNone
		}
	}
	return k
}

// packet relays one packet that came from there to a face's RTP or RTCP
// socket. It runs under the lock of the session's loop. Of RTCP it returns what
// was sent.
func (t *stream) packet(side Side, rtcpPort bool, b []byte, from netip.AddrPort) (report []byte) {
	in, out := &t.faces[side], &t.faces[side.Other()]
	k := t.classify(in, b)
	lt := &in.latch
	if rtcpPort && !t.Mux {
		lt = &in.latchC
	}
	now := time.Now()
	switch {
	case k == kindSTUN:
		t.stun(in, out, lt, rtcpPort, b, from)
		return nil
	case !t.belongs(k, rtcpPort):
		in.counts.dropped[misplaced(k)]++
		return nil
	case !t.accepts(in, out, lt, from, now):
		in.refuse(from, lt.why(from, t.mayLearn(in, out, lt)), now)
		return nil
	}
	in.counts.packets++
	in.counts.bytes += uint64(len(b))
	in.counts.lastHeard = now
	switch k {
	case kindRTP:
		in.withdraw() // it was none of the flow: its sequence and ours are one
		in.rtpFrom(b, now, out)
		if !t.secured() {
			b = plainRTP(b)
		}
	case kindZRTP:
		if !t.zrtp[side] {
			t.zrtp[side] = true
			in.withdraw()
			out.withdraw()
		}
	case kindRTCP:
		in.counts.controls++
		if b = t.control(in, out, b, now); b == nil {
			in.counts.dropped[dropRTCP]++
			return nil
		}
	case kindNone:
		if len(b) >= 2 {
			in.page = binary.BigEndian.Uint16(b)
		}
	case kindSTUN, kindDTLS:
	}
	t.forward(in, out, k == kindRTCP || rtcpPort, b)
	switch k {
	case kindRTP:
		t.install(in, out)
	case kindRTCP:
		return b
	case kindNone, kindSTUN, kindDTLS, kindZRTP:
	}
	return nil
}

// accepts says whether a packet is the party's. If that moves the latch, what
// the planes know of it is no longer true.
func (t *stream) accepts(in, out *face, lt *latch, from netip.AddrPort, now time.Time) bool {
	was := lt.latched
	if !lt.accept(from, now, t.mayLearn(in, out, lt)) {
		return false
	}
	if lt.latched != was {
		in.withdraw()
		out.withdraw()
	}
	return true
}

// mayLearn says what a packet on one of the party's ports may teach.
func (t *stream) mayLearn(in, out *face, lt *latch) mayLearn {
	switch {
	case !out.latch.latched.IsValid() && !out.latch.signalled.IsValid():
		return learnNothing
	case lt == &in.latchC && (!in.latch.latched.IsValid() || in.latch.latched == in.latch.signalled):
		// The party's RTP comes from where it says, so its RTCP does. A phone may
		// send none, and then a rival would always have its way.
		return learnSignalled
	}
	return learnAny
}

// control is RTCP as the other party gets it, and takes from it what it tells
// of the way. nil means that nothing may cross.
func (t *stream) control(in, out *face, b []byte, now time.Time) []byte {
	if t.secured() && !inClear(b) {
		return b
	}
	all := readRTCP(b)
	in.reports(all, out, now)
	return scrub(all, in.alias, out.alias)
}

// plainRTP is an RTP packet without contributing sources and header extension
// (RFC 3550 §5.1, §5.3.1), which were not negotiated and could name anything:
// in place, the fixed header moves to where the payload begins. What is too
// short for what it says it has is left as it is; no phone reads it.
func plainRTP(b []byte) []byte {
	const extension, hasSources = 0x10, 0x0f
	if b[0]&(extension|hasSources) == 0 {
		return b
	}
	at := minRTP + 4*int(b[0]&hasSources)
	if b[0]&extension != 0 {
		if len(b) < at+4 {
			return b
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	if len(b) < at {
		return b
	}
	b[0] &^= extension | hasSources
	copy(b[at-minRTP:], b[:minRTP])
	return b[at-minRTP:]
}

// belongs says that a packet of that kind is relayed on this stream.
func (t *stream) belongs(k kind, rtcpPort bool) bool {
	switch {
	case t.UDPTL:
		return !rtcpPort
	case k == kindRTP:
		return !rtcpPort
	case k == kindRTCP:
		return rtcpPort || t.Mux
	case k == kindDTLS:
		return t.Secure
	case k == kindZRTP:
		return !rtcpPort
	}
	return false
}

// misplaced is why a packet that does not belong is dropped.
func misplaced(k kind) dropReason {
	if k == kindRTP || k == kindRTCP {
		return dropPort
	}
	return dropKind
}

// forward sends a packet to the other party, from our own address.
func (t *stream) forward(in, out *face, control bool, b []byte) {
	s, to := out.rtp, out.latch.dest()
	if control && !t.Mux {
		s, to = out.rtcp, out.latchC.dest()
	}
	if s == nil || !to.IsValid() {
		in.counts.dropped[out.nowhere()]++
		return
	}
	if !s.send(b, to) {
		in.counts.dropped[dropSend]++
	}
}

// nowhere is why nothing can be sent to the party.
func (f *face) nowhere() dropReason {
	if f.said.Held {
		return dropHold
	}
	return dropNowhere
}

// full is how many packets of the party its sockets had no room for.
func (f *face) full() uint64 { return f.pair().full() }

// stun answers a Binding request; it never crosses. One that is no check of
// the party's agent is answered if it comes from the party's host, and nothing
// is learnt from it: it is not authenticated.
func (t *stream) stun(in, out *face, lt *latch, rtcpPort bool, b []byte, from netip.AddrPort) {
	if in.ice != nil && stun.HasUsername(b) {
		t.check(in, out, lt, rtcpPort, b, from)
		return
	}
	if !lt.related(from) {
		in.refuse(from, refuseCheck, time.Now())
		return
	}
	s := in.rtp
	if rtcpPort {
		s = in.rtcp
	}
	if res, ok := stun.BindingResponse(b, from); ok && s != nil {
		s.send(res, from)
	}
}
