package rtpengine

import (
	"math"
	"strings"
	"time"
)

// An estimate of what a listener would say of a party's voice, by the E-model
// (ITU-T G.107). Of its inputs three are known here, which is the usual
// simplification: delay, codec and loss. All others have the values that
// G.107 gives for them (clause 7.7), with which R is 93.2 for a perfect line.
//
// The model is for telephone bandwidth, and the values of a codec must have
// been published. Of whatever is not in the table there is no estimate:
//
//   - G.722 is on the scale of G.107.1, for wider speech. How it bears loss
//     could be found nowhere that can be cited.
//   - Opus is on that of G.107.2. ITU-T has no values for it. Others do
//     (doi:10.1145/3458751), for each bandwidth, rate and way of coding that a
//     phone may be set to, of which RTP tells none.
//   - G.723.1 is in G.113 Appendix I by a rate that RTP does not tell.

// impairment is what a codec takes from R, and how well it bears loss.
type impairment struct{ ie, bpl float64 }

// impairments are those that ITU-T G.113 Appendix I gives together (Tables I.1
// and I.2 of its edition of 2007), for loss at random; of G.711 with concealment
// of lost packets (its own Appendix I, which phones have), of G.729 with Annexes
// A and B, as it is in use. Where those are published beside, and the figures of
// listening tests that they stand for, is in TestImpairmentsArePublished. The
// pair of GSM-EFR is confirmed least: by simulators of calls (INET) that have it.
var impairments = map[string]impairment{
	"pcmu": {0, 25.1}, "pcma": {0, 25.1}, "g729": {11, 19}, "gsm-efr": {5, 10},
}

const (
	perfect = 93.2 // G.107 clause 7.7

	// packetTime is what a packet holds, and so waits for (RFC 3551 §4.2), and
	// buffered is how many times the jitter a phone holds packets back (ours, as
	// phones that adapt do).
	packetTime = 20 * time.Millisecond
	buffered   = 2

	// enough is after how many packets there is an estimate (ours: two seconds).
	enough = 100
)

// Score is a mean opinion, from 1 (bad) to 4.5 (as good as a telephone gets).
type Score struct {
	MOS     float64 // 0: unknown
	Least   float64 // it may be as low as this, since a delay is not measured, but at most so long
	Delayed bool    // the delay is taken into account
}

// Score estimates how the party's voice sounds to the other one. A round trip
// that is not measured but bounded is no delay to count with: it makes two
// estimates, between which the opinion lies. Where they are the same, as for
// all ways that are short, it need not be known better.
func (q Quality) Score(other Quality) Score {
	c, ok := impairments[strings.ToLower(q.Codec)]
	if !ok || q.Expected < enough {
		return Score{}
	}
	rated := func(delay time.Duration) float64 { return opinion(perfect - late(delay) - c.lossy(q.Loss())) }
	least, most := q.trip()
	l, m := other.trip()
	if most == 0 || m == 0 {
		return Score{MOS: rated(0), Least: rated(0)}
	}
	atPhones := buffered*q.Jitter + packetTime
	return Score{MOS: rated((least+l)/2 + atPhones), Least: rated((most+m)/2 + atPhones), Delayed: true}
}

// trip is how long the round trip is at least and at most; at most 0: unknown.
func (q Quality) trip() (least, most time.Duration) {
	if q.RoundTrips > 0 {
		return q.RoundTrip, max(q.RoundTrip, 1)
	}
	return 0, q.Within
}

// Loss is the part of the party's packets that did not come: to the other
// party, if that says so, else to the engine.
func (q Quality) Loss() float64 {
	return max(part(q.Lost, q.Expected), part(q.FarLost, q.FarExpected))
}

// part is a number's part of another; of none it is 0.
func part(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// late is the impairment by delay alone (G.107 clause 7.4, Idd): echo is
// taken for cancelled.
func late(delay time.Duration) float64 {
	ms := float64(delay) / float64(time.Millisecond)
	if ms <= 100 {
		return 0
	}
	x := math.Log2(ms / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1./6) - 3*math.Pow(1+math.Pow(x/3, 6), 1./6) + 2)
}

// lossy is the impairment by the codec under loss at random (G.107 clause 7.5,
// Ie,eff with BurstR 1).
func (c impairment) lossy(loss float64) float64 {
	percent := 100 * loss
	return c.ie + (95-c.ie)*percent/(percent+c.bpl)
}

// opinion is the mean opinion that belongs to R (G.107 Annex B).
func opinion(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6)
}
