package rtpengine

import (
	"time"

	"github.com/pion/rtcp"
)

// An echo is what a party's RTCP tells of the way between it and the engine,
// and of the media that reached it.
//
// The engine stands in the middle: a sender report of one party passes at a
// time that the engine knows, and the other party's next report says how long
// ago that came (LSR and DLSR, RFC 3550 §6.4.1). What is left is the way from
// the engine to that party and back. Both halves together are the parties'
// round trip.
type echo struct {
	passed [4]passed // sender reports that went to the party
	next   uint8

	times        int
	sum, slowest time.Duration

	reports       int  // sender and receiver reports of the party's
	told          bool // one was about what the other one sent
	ssrc, highest uint32
	lost          int32
}

// passed is a sender report on its way to a party: the middle of its NTP
// timestamp, as the party has it.
type passed struct {
	ntp uint32
	at  int64 // ns; 0: none
}

// Limits of a measurement (ours): a phone may count its delay a little short,
// and nobody talks over a way that takes longer.
const (
	maxEarly = 10 * time.Millisecond
	maxTrip  = 10 * time.Second
)

// sends notes a sender report that goes to the party, whose clock is shifted.
func (e *echo) sends(ntp uint64, now time.Time) {
	e.passed[e.next] = passed{uint32(ntp >> 16), now.UnixNano()}
	e.next = (e.next + 1) % uint8(len(e.passed))
}

// hears notes what the party reports of the other, as it wrote it.
func (e *echo) hears(blocks []rtcp.ReceptionReport, about *counts, now time.Time) {
	e.reports++
	for _, b := range blocks {
		if about.seen && b.SSRC == about.ssrc {
			e.told, e.ssrc, e.highest = true, b.SSRC, b.LastSequenceNumber
			e.lost = int32(b.TotalLost<<8) >> 8 // 24 bits with a sign
		}
		for _, p := range e.passed {
			if b.LastSenderReport != 0 && p.ntp == b.LastSenderReport && p.at != 0 {
				e.took(time.Duration(now.UnixNano()-p.at) - time.Duration(uint64(b.Delay)*uint64(time.Second)>>16))
				break
			}
		}
	}
}

// took notes one measurement.
func (e *echo) took(d time.Duration) {
	if d < -maxEarly || d > maxTrip {
		return
	}
	d = max(d, 0)
	e.times++
	e.sum += d
	e.slowest = max(e.slowest, d)
}

// report copies the measurements; nil has none.
func (e *echo) report(q *Quality) {
	if e == nil {
		return
	}
	q.Reports, q.Reported = e.reports, e.told
	if e.times > 0 {
		q.RoundTrips, q.RoundTrip, q.Slowest = e.times, e.sum/time.Duration(e.times), e.slowest
	}
}

// far is what the party says is missing of what the other one sent, and of how
// much; of is what the engine counted of that. 0 of 0 if it has said nothing
// of the current source.
func (e *echo) far(of *counts) (lost, expected uint64) {
	if e == nil {
		return 0, 0
	}
	n := int64(int32(e.highest-of.base)) + 1
	if !e.told || e.ssrc != of.ssrc || n <= 0 || n > int64(of.max-of.base)+1 {
		return 0, 0
	}
	return uint64(min(max(int64(e.lost), 0), n)), uint64(n)
}

// reports takes from RTCP what it tells; scrub has not changed it yet.
func (in *face) reports(all []rtcp.Packet, out *face, now time.Time) {
	for _, f := range []*face{in, out} {
		if f.echo == nil {
			f.echo = &echo{}
		}
	}
	for _, p := range all {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			out.echo.sends(p.NTPTime+in.alias.clock, now)
			in.echo.hears(p.Reports, &out.counts, now)
		case *rtcp.ReceiverReport:
			in.echo.hears(p.Reports, &out.counts, now)
		}
	}
}
