package coalesce

import "time"

// A rate is that of an interface, and what comes of it.
type rate struct {
	packets uint64 // received until then
	at      time.Time
	now     time.Duration // what was last asked for
	over    bool          // more comes than gathering is for
}

// share is how many packets gather (measured, as rtpengine's own pause: more of
// them make none of them cheaper).
const share = 16

// Bounds of what gathering is for. Where fewer than few come within the time
// that they may wait, each would be delayed and none cheaper. From enough
// packets/s on, a receive queue has several of them without it; they gather
// again below patient (docs/performance.md).
const (
	few     = 4
	enough  = 60000
	patient = 50000
)

// gather is how long packets are to gather at an interface that has received so
// many by now: for most at the most, and 0 if it is to be left alone. It keeps
// what it has asked for while a little more or less comes.
func (r *rate) gather(packets uint64, now time.Time, most time.Duration) time.Duration {
	passed := now.Sub(r.at)
	came := packets - r.packets
	first := r.at.IsZero() || packets < r.packets // or counted anew
	r.packets, r.at = packets, now
	if first || passed <= 0 {
		r.now = 0
		return 0
	}
	each := uint64(float64(came) * float64(time.Second) / float64(passed))
	r.over = each >= enough || r.over && each > patient
	least := uint64(few * time.Second / most)
	if r.now > 0 {
		least /= 2
	}
	if r.over || each < least {
		r.now = 0
		return 0
	}
	want := min(most, share*time.Second/time.Duration(each))
	if change := want - r.now; r.now == 0 || max(change, -change) > r.now/4 {
		r.now = want
	}
	return r.now
}
