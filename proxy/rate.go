package proxy

import "time"

// A rate is how often something may happen: so often at once, and once more
// each time that every has passed. What has happened is kept as the time at
// which the whole burst is there again; the zero time is a burst untouched.
type rate struct {
	burst int
	every time.Duration
}

// spend is when the burst is whole again after n more, and whether n were left.
func (r rate) spend(full time.Time, n int, now time.Time) (time.Time, bool) {
	if full.Before(now) {
		full = now
	}
	next := full.Add(time.Duration(n) * r.every)
	if next.Sub(now) > time.Duration(r.burst)*r.every {
		return full, false
	}
	return next, true
}

// ready is when one more is left.
func (r rate) ready(full time.Time) time.Time {
	if full.IsZero() {
		return full
	}
	return full.Add(-time.Duration(r.burst-1) * r.every)
}
