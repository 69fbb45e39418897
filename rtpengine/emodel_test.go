package rtpengine

import (
	"cmp"
	"math"
	"testing"
	"time"
)

// G.107 Annex B has these pairs, and G.109 names them.
func TestOpinionOfR(t *testing.T) {
	for r, want := range map[float64]float64{
		-5: 1, 0: 1, 50: 2.58, 60: 3.10, 70: 3.60, 80: 4.03, 90: 4.34, 93.2: 4.41, 100: 4.5,
	} {
		if got := opinion(r); math.Abs(got-want) > 0.01 {
			t.Errorf("R %v is a mean opinion of %.3f, want %.2f", r, got, want)
		}
	}
}

// Delay below 100 ms costs nothing; half a second makes a call a poor one
// (G.114 Figure 1: R falls below 60 between 400 and 500 ms, and to about 80 at 300 ms).
func TestImpairmentByDelay(t *testing.T) {
	for ms, want := range map[int][2]float64{
		0: {0, 0}, 100: {0, 0}, 150: {0, 1}, 200: {2.5, 4}, 300: {11, 17}, 400: {22, 26}, 500: {29, 34},
	} {
		if got := late(time.Duration(ms) * time.Millisecond); got < want[0] || got > want[1] {
			t.Errorf("%d ms cost %.2f, want %v", ms, got, want)
		}
	}
	// Of twice and four times 100 ms the logarithm is whole, and clause 7.4 can be done by hand.
	for ms, want := range map[int]float64{200: 3.044, 400: 24.07} {
		if got := late(time.Duration(ms) * time.Millisecond); math.Abs(got-want) > 0.01 {
			t.Errorf("%d ms cost %.3f, want %.3f", ms, got, want)
		}
	}
}

// What is in the table is published elsewhere as G.113's: G.711 with and
// without concealment, and G.729A with VAD, in ICAO ACP WG-I/3 WP-306 (Table
// B-1, at no loss and at 2 %); G.729A with VAD at each loss in G.113 (02/2001)
// Table I.2, from listening tests, which 11 and 19 must come near.
func TestImpairmentsArePublished(t *testing.T) {
	for codec, byLoss := range map[string]map[float64]float64{
		"pcmu": {0: 0, 2: 7},
		"pcma": {0: 0, 2: 7},
		"g729": {0: 11, 0.5: 13, 1: 15, 1.5: 17, 2: 19, 3: 23, 4: 26, 8: 36},
	} {
		for percent, want := range byLoss {
			if got := impairments[codec].lossy(percent / 100); math.Abs(got-want) > 0.6 {
				t.Errorf("%s with %v %% lost costs %.2f, it is published that it is %v", codec, percent, got, want)
			}
		}
	}
}

func TestScore(t *testing.T) {
	heard := func(codec string, lost, of uint64) Quality {
		return Quality{Codec: codec, Lost: lost, Expected: of, Clock: 8000}
	}
	way := func(q Quality, trip time.Duration) Quality {
		q.RoundTrips, q.RoundTrip = 3, trip
		return q
	}
	far := func(q Quality, lost, of uint64) Quality {
		q.FarLost, q.FarExpected = lost, of
		return q
	}
	near := way(Quality{}, 30*time.Millisecond)
	within := func(q Quality, trip time.Duration) Quality {
		q.Within = trip
		return q
	}
	nearby := within(Quality{}, 60*time.Millisecond)
	for name, c := range map[string]struct {
		q, other Quality
		want     float64 // 0: unknown
		delayed  bool
		least    float64 // 0: as want
	}{
		"perfect":                  {way(heard("PCMU", 0, 5000), 30*time.Millisecond), near, 4.41, true, 0},
		"no RTCP":                  {heard("PCMA", 0, 5000), Quality{}, 4.41, false, 0},
		"one half of the way":      {way(heard("PCMA", 0, 5000), 30*time.Millisecond), Quality{}, 4.41, false, 0},
		"1 % lost":                 {heard("PCMU", 50, 5000), Quality{}, 4.32, false, 0},
		"5 % lost":                 {heard("PCMU", 250, 5000), Quality{}, 3.92, false, 0},
		"all lost":                 {heard("PCMU", 5000, 5000), Quality{}, 1.18, false, 0},
		"5 % lost further on":      {far(heard("PCMU", 0, 5000), 250, 5000), Quality{}, 3.92, false, 0},
		"G.729":                    {heard("G729", 0, 5000), Quality{}, 4.10, false, 0},
		"GSM":                      {heard("GSM-EFR", 0, 5000), Quality{}, 4.29, false, 0},
		"half a second away":       {way(heard("PCMU", 0, 5000), time.Second), near, 3.14, true, 0},
		"too few to say":           {heard("PCMU", 0, 99), Quality{}, 0, false, 0},
		"Opus: no values":          {heard("opus", 0, 5000), Quality{}, 0, false, 0},
		"G.722: no values":         {heard("G722", 0, 5000), Quality{}, 0, false, 0},
		"a payload type of nobody": {heard("", 0, 5000), Quality{}, 0, false, 0},
		"nothing came":             {Quality{Codec: "PCMU"}, Quality{}, 0, false, 0},
		"bounded, and short":       {within(heard("PCMU", 0, 5000), 60*time.Millisecond), nearby, 4.41, true, 0},
		"bounded, and long":        {within(heard("PCMU", 0, 5000), time.Second), near, 4.41, true, 3.14},
		"one half is bounded":      {within(heard("PCMU", 0, 5000), 60*time.Millisecond), Quality{}, 4.41, false, 0},
		"bounded by more":          {within(way(heard("PCMU", 0, 5000), time.Second), 2*time.Second), near, 3.14, true, 0},
	} {
		got := c.q.Score(c.other)
		least := cmp.Or(c.least, c.want)
		if math.Abs(got.MOS-c.want) > 0.02 || math.Abs(got.Least-least) > 0.02 || got.Delayed != c.delayed {
			t.Errorf("%s: %+v, want %.2f (at least %.2f), %v", name, got, c.want, least, c.delayed)
		}
	}
}
