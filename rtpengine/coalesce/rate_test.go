package coalesce

import (
	"testing"
	"time"
)

// A look is what comes in a tenth of a second, and what is asked for then.
type looked struct {
	perSecond int
	want      time.Duration
}

func TestRate(t *testing.T) {
	const ms, us = time.Millisecond, time.Microsecond
	for name, c := range map[string]struct {
		most  time.Duration
		looks []looked
	}{
		"idle":                  {ms, []looked{{0, 0}, {100, 0}}},
		"too few":               {ms, []looked{{3900, 0}}},
		"few":                   {ms, []looked{{4000, ms}, {10000, ms}, {16000, ms}}},
		"fewer again":           {ms, []looked{{4000, ms}, {2500, ms}, {1900, 0}, {3000, 0}, {4000, ms}}},
		"more wait for less":    {ms, []looked{{20000, 800 * us}, {40000, 400 * us}}},
		"about the same":        {ms, []looked{{20000, 800 * us}, {24000, 800 * us}}},
		"enough":                {ms, []looked{{50000, 320 * us}, {60000, 0}, {55000, 0}, {50000, 320 * us}}},
		"at once":               {ms, []looked{{55000, 16 * time.Second / 55000}}},
		"little may be waited":  {100 * us, []looked{{39000, 0}, {40000, 100 * us}}},
		"nothing may be waited": {time.Nanosecond, []looked{{50000, 0}, {1000000, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				r       rate
				packets uint64
				now     = time.Unix(1, 0)
			)
			if got := r.gather(packets, now, c.most); got != 0 {
				t.Errorf("%v before a rate is known", got)
			}
			for i, l := range c.looks {
				packets, now = packets+uint64(l.perSecond/10), now.Add(time.Second/10)
				if got := r.gather(packets, now, c.most); got != l.want {
					t.Errorf("look %d, %d packets/s: %v, want %v", i, l.perSecond, got, l.want)
				}
			}
		})
	}
}

// An interface that counts anew, as one of the same number and name that was
// made again, has no rate yet.
func TestRateOfAnotherInterface(t *testing.T) {
	r, now := rate{}, time.Unix(1, 0)
	r.gather(5000, now, time.Millisecond)
	for _, c := range []struct {
		packets uint64
		want    time.Duration
	}{{6000, time.Millisecond}, {10, 0}, {1010, time.Millisecond}} {
		now = now.Add(time.Second / 10)
		if got := r.gather(c.packets, now, time.Millisecond); got != c.want {
			t.Errorf("at %d packets: %v, want %v", c.packets, got, c.want)
		}
	}
}
