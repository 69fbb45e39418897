package rtpengine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Report says what a session is or was doing, for its owners and the operator.
type Report struct {
	At      time.Time // as of when
	Streams []StreamReport
}

// Agreed says that both parties have described a stream.
func (r Report) Agreed() bool {
	return slices.ContainsFunc(r.Streams, func(t StreamReport) bool { return t.Caller.Described && t.Callee.Described })
}

// StreamReport is one m= line, and each party's part in it.
type StreamReport struct {
	Media    string // audio, video, image …
	Rejected bool
	Secure   bool // encrypted end to end: relayed untouched
	Fax      bool // T.38: no RTP, and nothing is known of its packets
	Caller   SideReport
	Callee   SideReport
}

// SideReport is one party's end of a stream.
type SideReport struct {
	Relay     netip.AddrPort // what the party was told
	Source    netip.Addr     // where its signalling comes from
	Signalled netip.AddrPort // what the party told
	Latched   netip.AddrPort // what was learnt

	Described       bool // it has sent an offer or answer
	Sends, Receives bool // that it will, as it said last
	Held            bool // by 0.0.0.0

	Codecs  []string // as the party listed them; the first ones
	Packets uint64   // received from the party, and taken for its
	Bytes   uint64
	Media   uint64 // of these, RTP of a payload type that was negotiated,
	Comfort uint64 // comfort noise,
	Events  uint64 // digits,
	Unknown uint64 // RTP of a payload type that was not,
	RTCP    uint64 // and RTCP

	Forwarded uint64 // to the other party
	Dropped   map[string]uint64
	Strangers []Stranger // who else sent
	LastHeard time.Time  // zero: never
	LastMedia time.Time  // of a payload type whose clock is known
	Kernel    bool       // what the party sends is relayed in the kernel

	Quality
}

// Stranger is an address whose packets were not taken for the party's.
type Stranger struct {
	From    netip.AddrPort
	Why     string
	Packets uint64
	Last    time.Time
}

// Quality says how a party's media arrives.
type Quality struct {
	Codec    string // of what it sent last; "": unknown
	Lost     uint64 // between the party and the engine
	Expected uint64 // of so many
	Clock    uint32 // of the codec; 0: unknown, and so is the jitter
	Jitter   time.Duration

	// Within is what the round trip between the party and the engine is at most,
	// by how soon it began to send; 0: unknown.
	Within time.Duration

	// What RTCP tells, if it is there and not encrypted.
	RoundTrips  int           // how often that between the party and the engine was measured
	RoundTrip   time.Duration // its mean
	Slowest     time.Duration
	FarLost     uint64 // between the party and the other one
	FarExpected uint64 // of so many; 0: unknown

	Reports  int  // of the party's that could be read
	Reported bool // one of them speaks of what the other party sends now
}

// maxCodecs bounds the codecs of a report (ours; reports of ended calls are kept).
const maxCodecs = 12

// report copies the counts.
func (c *counts) report(r *SideReport) {
	c.settle()
	r.Packets, r.Bytes, r.LastHeard, r.RTCP = c.packets, c.bytes, c.lastHeard, c.controls
	r.Media, r.Events, r.Comfort, r.Unknown = c.of[useMedia], c.of[useEvents], c.of[useComfort], c.of[useNothing]
	r.Lost = c.lost + c.lostNow()
	r.Expected = c.before + c.received + r.Lost
	r.Codec, r.Clock = c.codec.Name, c.codec.Clock
	r.Jitter = time.Duration(c.jitter >> 4)
	if r.LastMedia = c.lastHeard; c.arrived != 0 {
		r.LastMedia = time.Unix(0, c.arrived)
	}
	for i, n := range c.dropped {
		if n > 0 {
			if r.Dropped == nil {
				r.Dropped = map[string]uint64{}
			}
			r.Dropped[dropNames[i]] = n
		}
	}
	r.Forwarded = c.packets - c.dropped[dropNowhere] - c.dropped[dropHold] - c.dropped[dropRTCP] - c.dropped[dropSend]
}

// report says what the session is doing.
func (s *session) report() Report {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	r := Report{At: time.Now()}
	for _, t := range s.streams {
		sr := StreamReport{Media: t.media, Rejected: t.Rejected, Secure: t.secured(), Fax: t.UDPTL}
		for side, out := range []*SideReport{&sr.Caller, &sr.Callee} {
			t.faces[side].read()
			t.faces[side].report(out)
		}
		for side, out := range []*SideReport{&sr.Caller, &sr.Callee} {
			out.FarLost, out.FarExpected = t.faces[Side(side).Other()].echo.far(&t.faces[side].counts)
		}
		r.Streams = append(r.Streams, sr)
	}
	return r
}

// report copies what is known of a party. Its counts are up to date.
func (f *face) report(r *SideReport) {
	if f.port != 0 {
		r.Relay = netip.AddrPortFrom(f.addr.Advertised, f.port)
	}
	r.Source, r.Signalled, r.Latched = f.latch.source, f.latch.signalled, f.latch.latched
	r.Described, r.Sends, r.Receives, r.Held = f.said.Described, f.said.Sends, f.said.Receives, f.said.Held
	for _, p := range f.said.Payloads[:min(len(f.said.Payloads), maxCodecs)] {
		r.Codecs = append(r.Codecs, fmt.Sprintf("%s/%d", p.Name, p.Clock))
	}
	for _, s := range f.strangers {
		r.Strangers = append(r.Strangers, Stranger{s.from, refusals[s.rule], s.packets, s.last})
	}
	r.Kernel = f.flow.live && f.flow.Installed()
	c := f.counts
	c.dropped[dropFull] += f.full()
	c.report(r)
	f.echo.report(&r.Quality)
	f.start.settle(&f.counts)
	f.start.report(&r.Quality)
}
