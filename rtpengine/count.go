package rtpengine

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// counts are what one party sent on one stream.
type counts struct {
	packets, bytes uint64
	lastHeard      time.Time

	ssrc      uint32
	seen      bool
	base, max uint32 // extended sequence numbers
	received  uint64 // of this SSRC
	transit   int64  // arrival minus timestamp, in units of the clock
	jitter    uint64 // times 16 (RFC 3550 A.8)

	lost    uint64 // of SSRCs before
	dropped [dropReasons]uint64
}

// dropReason is a rule by which a packet was not relayed.
type dropReason uint8

const (
	dropSource  dropReason = iota // not from the party
	dropKind                      // nothing that belongs here
	dropNowhere                   // the other party's address is not known yet, or on hold
	dropRTCP                      // nothing of it may cross
	dropSend                      // the system did not take it
	dropFull                      // the engine was late, its socket full
	dropReasons
)

// dropNames explain the rules.
var dropNames = [dropReasons]string{
	"from an address that is not the party's", "neither RTP nor anything else that is relayed",
	"the other party's address is not known", "RTCP of which nothing may cross",
	"the system did not take the packet", "the relay was too slow",
}

// clockRate stands for the clock of every payload type (ours: jitter is shown
// as a hint, and 8 kHz is what telephony has).
const clockRate = 8000

// rtp counts an RTP packet (RFC 3550 A.1, A.3, A.8).
func (c *counts) rtp(b []byte, now time.Time) {
	seq := uint32(binary.BigEndian.Uint16(b[2:4]))
	ssrc := binary.BigEndian.Uint32(b[8:12])
	if !c.seen || ssrc != c.ssrc {
		c.lost += c.lostNow()
		c.seen, c.ssrc, c.base, c.max, c.received, c.jitter = true, ssrc, seq, seq, 0, 0
		c.transit = 0
	} else if d := int16(seq - c.max); d > 0 { // wraps on purpose
		c.max += uint32(d)
	}
	c.received++
	arrival := now.UnixNano() / (int64(time.Second) / clockRate)
	transit := arrival - int64(binary.BigEndian.Uint32(b[4:8]))
	if c.received > 1 {
		d := transit - c.transit
		if d < 0 {
			d = -d
		}
		if d < clockRate { // a jump of the clock is no jitter
			c.jitter += uint64(d) - (c.jitter+8)>>4
		}
	}
	c.transit = transit
}

// lostNow is what is missing of the current SSRC.
func (c *counts) lostNow() uint64 {
	if expected := uint64(c.max-c.base) + 1; c.seen && expected > c.received {
		return expected - c.received
	}
	return 0
}

// Report says what a session is or was doing, for its owners and the operator.
type Report struct {
	Streams []StreamReport
}

// StreamReport is one m= line, and each party's part in it.
type StreamReport struct {
	Media    string // audio, video, image …
	Rejected bool
	Secure   bool // encrypted end to end: relayed untouched
	Caller   SideReport
	Callee   SideReport
}

// SideReport is one party's end of a stream.
type SideReport struct {
	Relay     netip.AddrPort // what the party was told
	Signalled netip.AddrPort // what the party told
	Latched   netip.AddrPort // what was learnt
	Codecs    []string       // as the party listed them
	Packets   uint64         // received from the party
	Bytes     uint64
	Lost      uint64
	Jitter    time.Duration
	LastHeard time.Time // zero: never
	Kernel    bool      // what the party sends is relayed in the kernel
	Dropped   map[string]uint64
}

// report copies the counts.
func (c *counts) report(r *SideReport) {
	r.Packets, r.Bytes, r.LastHeard = c.packets, c.bytes, c.lastHeard
	r.Lost = c.lost + c.lostNow()
	r.Jitter = time.Duration(c.jitter>>4) * time.Second / clockRate
	for i, n := range c.dropped {
		if n > 0 {
			if r.Dropped == nil {
				r.Dropped = map[string]uint64{}
			}
			r.Dropped[dropNames[i]] = n
		}
	}
}
