package rtpengine

import (
	"testing"
	"time"
)

// steady plays rounds at a load for a second from now on, and says what the
// pause is then. A packet takes each.
func (p *pace) steady(now time.Time, rate int, each time.Duration) time.Duration {
	waiting := 0.0
	for until := now.Add(time.Second); now.Before(until); {
		n := min(batch, int(waiting))
		waiting -= float64(n)
		round := time.Duration(n) * each
		pause, _ := p.after(n, now.Add(round))
		if n < batch {
			round += pause
		}
		round = max(round, time.Microsecond)
		waiting += float64(rate) * round.Seconds()
		now = now.Add(round)
	}
	return p.pause
}

// The pause is what is set while few packets come, as long as so many take as
// it is for, and none above a load.
func TestPauseFollowsTheLoad(t *testing.T) {
	const most, each = time.Millisecond, 4 * time.Microsecond
	for _, c := range []struct {
		rate     int
		min, max time.Duration
	}{
		{0, most, most},
		{1000, most, most},
		{10000, most, most},
		{25000, 600 * time.Microsecond, 680 * time.Microsecond},
		{36000, 420 * time.Microsecond, 470 * time.Microsecond},
		{60000, 0, 0},
		{100000, 0, 0},
		{300000, 0, 0},
	} {
		p := pace{most: most, pause: most}
		if pause := p.steady(time.Unix(1, 0), c.rate, each); pause < c.min || pause > c.max {
			t.Errorf("%d packets/s: a pause of %v, want %v to %v", c.rate, pause, c.min, c.max)
		}
	}
}

// A loop that has ceased to pause does so again at a load that is a good deal
// lower: at the limit it does not go to and fro.
func TestPauseReturnsLater(t *testing.T) {
	const most, each = time.Millisecond, 4 * time.Microsecond
	p := pace{most: most, pause: most}
	for i, c := range []struct {
		rate   int
		pauses bool
	}{{45000, true}, {55000, false}, {45000, false}, {38000, true}, {45000, true}} {
		if pause := p.steady(time.Unix(int64(1+i), 0), c.rate, each); pause > 0 != c.pauses {
			t.Errorf("%d packets/s: a pause of %v", c.rate, pause)
		}
	}
}
