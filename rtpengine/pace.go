package rtpengine

import "time"

// A pace says how long a loop pauses after each round, by how many packets
// came of late. A pause is as long as some packets take to come, and
// media.pause at most. Above a load there is none: there a wake-up serves
// several packets without it, and what it would save is not worth the wait.
type pace struct {
	most   time.Duration // media.pause
	pause  time.Duration // until the window is over
	served int           // in the window
	began  time.Time     // the window; zero: none yet
}

// window is how long packets are counted for (ours: a packet of most streams
// has its turn in two of them; and as often lets Go others have a processor).
const window = 10 * time.Millisecond

// gather is how many packets a pause is for (measured: more of them make none
// of them cheaper).
const gather = 16

// Loads of a loop in packets/s: from the one on it does not pause, up to the
// other it pauses again (measured: a fifth of what a processor relays at most.
// A pause would save a sixth of a packet's cost there, too; docs/performance.md).
const (
	greedy  = 50000
	patient = 40000
)

// after is the pause after a round that has served n packets, and says whether
// a window has passed with it.
func (p *pace) after(n int, now time.Time) (pause time.Duration, passed bool) {
	p.served += n
	d := now.Sub(p.began)
	if d < window {
		return p.pause, false
	}
	rate := int(time.Duration(p.served) * time.Second / d)
	switch {
	case rate >= greedy, rate > patient && p.pause == 0:
		p.pause = 0
	default:
		p.pause = min(p.most, gather*time.Second/time.Duration(max(rate, 1)))
	}
	p.served, p.began = 0, now
	return p.pause, true
}
