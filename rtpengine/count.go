package rtpengine

import (
	"encoding/binary"
	"time"
)

// counts are what one party sent on one stream.
type counts struct {
	packets, bytes uint64
	lastHeard      time.Time

	ssrc      uint32
	payload   uint8 // of the last RTP packet, with looked; 0: to be looked up
	seen      bool
	use       use
	base, max uint32 // extended sequence numbers
	received  uint64 // of this SSRC
	stamp     uint32 // the last packet's, of a payload type with a clock,
	tick      uint32 // and what a unit of it lasts; 0: nobody knows, or none of the media
	arrived   int64  // and when it came, ns; 0: none yet
	jitter    uint64 // ns times 16 (RFC 3550 A.8)

	turned   uint64 // received before the payload type became what it is
	of       [uses]uint64
	codec    payload // of the media
	before   uint64  // received, and
	lost     uint64  // lost of SSRCs before
	controls uint64  // RTCP packets
	kernel   uint64  // of packets: those that the kernel has relayed
	dropped  [dropReasons]uint64
}

// looked marks a payload type that has been looked up.
const looked = 0x80

// A unit of a clock is counted in 1/4096 ns, for 1 kHz to be counted, too (RFC 4103).
const tickBits = 12

// Beyond these a sequence begins anew, rather than that so many were lost
// (RFC 3550 A.1). relay.c has them, too.
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// rtpFrom counts an RTP packet that the party sends toward out.
func (in *face) rtpFrom(b []byte, now time.Time, out *face) {
	c := &in.counts
	if pt := b[1] | looked; pt != c.payload { // the marker bit is there
		c.turn(b[1]&^looked, in, out)
	}
	c.rtp(b, now)
	if !in.start.since.IsZero() && c.tick != 0 {
		in.start.begins(c, now)
	}
}

// rtp counts an RTP packet (RFC 3550 A.1, A.3, A.8).
func (c *counts) rtp(b []byte, now time.Time) {
	seq := binary.BigEndian.Uint16(b[2:4])
	ssrc := binary.BigEndian.Uint32(b[8:12])
	ahead := int16(seq - uint16(c.max)) // wraps on purpose
	switch {
	case !c.seen || ssrc != c.ssrc || ahead >= maxDropout || ahead <= -maxMisorder:
		c.begin(ssrc, seq)
	case ahead > 0:
		c.max += uint32(ahead)
	}
	c.received++
	if c.tick == 0 {
		return
	}
	stamp, at := binary.BigEndian.Uint32(b[4:8]), now.UnixNano()
	if c.arrived != 0 {
		c.jitter = shaken(c.jitter, at-c.arrived, int32(stamp-c.stamp), c.tick)
	}
	c.stamp, c.arrived = stamp, at
}

// shaken is the jitter with one more packet, that came so many ns after the one
// before and has a timestamp that is so much higher (RFC 3550 A.8).
func shaken(jitter uint64, after int64, stamps int32, tick uint32) uint64 {
	d := after - int64(stamps)*int64(tick)>>tickBits
	if d < 0 {
		d = -d
	}
	if d >= int64(time.Second) { // a jump of the clock is no jitter
		return jitter
	}
	return jitter + uint64(d) - (jitter+8)>>4
}

// begin begins to count a source, or the sequence of one that began it anew.
func (c *counts) begin(ssrc uint32, seq uint16) {
	c.settle()
	c.lost += c.lostNow()
	c.before += c.received
	c.seen, c.ssrc, c.base, c.max = true, ssrc, uint32(seq), uint32(seq)
	c.received, c.turned, c.jitter, c.arrived = 0, 0, 0, 0
}

// settle says of the packets since the payload type became what it is what they were for.
func (c *counts) settle() {
	c.of[c.use] += c.received - c.turned
	c.turned = c.received
}

// turn notes another payload type. A packet is of the receiver's types, which
// are rarely others than the sender's (RFC 3264 §5.1).
func (c *counts) turn(pt uint8, in, out *face) {
	c.settle()
	c.payload, c.tick = pt|looked, 0
	p, ok := find(out.said.Payloads, pt)
	if !ok {
		p, ok = find(in.said.Payloads, pt)
	}
	if c.use = p.use(); !ok {
		c.use = useNothing
	}
	if c.use != useMedia || p.Clock == 0 {
		return // digits have the time when they began, and comfort noise comes when it comes
	}
	if c.tick = uint32(min(uint64(time.Second)<<tickBits/uint64(p.Clock), 1<<32-1)); c.codec.Clock != p.Clock {
		c.jitter, c.arrived = 0, 0
	}
	c.codec = p
}

// lostNow is what is missing of the current SSRC.
func (c *counts) lostNow() uint64 {
	if expected := uint64(c.max-c.base) + 1; c.seen && expected > c.received {
		return expected - c.received
	}
	return 0
}
