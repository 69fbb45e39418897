package rtpengine

import (
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
	for name, c := range map[string]struct {
		q, other Quality
		want     float64 // 0: unknown
		delayed  bool
	}{
		"perfect":                  {way(heard("PCMU", 0, 5000), 30*time.Millisecond), near, 4.41, true},
		"no RTCP":                  {heard("PCMA", 0, 5000), Quality{}, 4.41, false},
		"one half of the way":      {way(heard("PCMA", 0, 5000), 30*time.Millisecond), Quality{}, 4.41, false},
		"1 % lost":                 {heard("PCMU", 50, 5000), Quality{}, 4.32, false},
		"5 % lost":                 {heard("PCMU", 250, 5000), Quality{}, 3.92, false},
		"all lost":                 {heard("PCMU", 5000, 5000), Quality{}, 1.18, false},
		"5 % lost further on":      {far(heard("PCMU", 0, 5000), 250, 5000), Quality{}, 3.92, false},
		"G.729":                    {heard("G729", 0, 5000), Quality{}, 4.10, false},
		"GSM":                      {heard("GSM-EFR", 0, 5000), Quality{}, 4.29, false},
		"half a second away":       {way(heard("PCMU", 0, 5000), time.Second), near, 3.14, true},
		"too few to say":           {heard("PCMU", 0, 99), Quality{}, 0, false},
		"Opus: no values":          {heard("opus", 0, 5000), Quality{}, 0, false},
		"G.722: no values":         {heard("G722", 0, 5000), Quality{}, 0, false},
		"a payload type of nobody": {heard("", 0, 5000), Quality{}, 0, false},
		"nothing came":             {Quality{Codec: "PCMU"}, Quality{}, 0, false},
	} {
		got := c.q.Score(c.other)
		if math.Abs(got.MOS-c.want) > 0.02 || got.Delayed != c.delayed {
			t.Errorf("%s: %+v, want %.2f, %v", name, got, c.want, c.delayed)
		}
	}
}
