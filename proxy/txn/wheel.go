package txn

import (
	"sync"
	"time"
)

// tick is the resolution of all timers (ours: a fiftieth of T1).
const tick = 10 * time.Millisecond

// slots is the length of the wheel: 10.24 s, so that most timers of RFC 3261
// go round at most three times.
const slots = 1024

// A wheel is a timing wheel: starting and stopping a timer cost the same
// however many there are. It sleeps while it is empty.
type wheel struct {
	mu     sync.Mutex
	slot   [slots][]*Timer
	start  time.Time
	done   int64 // ticks that are over
	size   int
	ticker *time.Timer

	ready []*Timer // due, in their order; whoever turns the wheel has it alone
}

// Timer is one timer of a wheel.
type Timer struct {
	w      *wheel
	fn     func()
	at     int64 // in ticks
	active bool
}

func newWheel() *wheel {
	w := &wheel{start: time.Now(), ticker: time.NewTimer(time.Hour)}
	w.ticker.Stop()
	return w
}

// due fires when turn should be called.
func (w *wheel) due() <-chan time.Time { return w.ticker.C }

// after starts a timer.
func (w *wheel) after(d time.Duration, fn func()) *Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := int64(time.Since(w.start) / tick)
	if w.size == 0 {
		w.done = now
		w.rearm()
	}
	at := max(now+int64((d+tick-1)/tick), w.done) + 1
	t := &Timer{w: w, fn: fn, at: at, active: true}
	w.slot[at%slots] = append(w.slot[at%slots], t)
	w.size++
	return t
}

// Stop ends the timer. It is safe to call at any time, more than once, and
// from any goroutine; fn may still run if it was due already and Stop is
// called from another worker.
func (t *Timer) Stop() {
	if t == nil {
		return
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.active, t.fn = false, nil
}

// turn turns the wheel up to now; fire then runs what is due.
func (w *wheel) turn(now time.Time) {
	w.ready = append(w.ready, w.take(int64(now.Sub(w.start)/tick))...)
}

// fire runs some of the timers that are due, and says whether there are more.
func (w *wheel) fire(some int) bool {
	n := min(some, len(w.ready))
	for i, t := range w.ready[:n] {
		w.ready[i] = nil
		w.mu.Lock()
		fn := t.fn
		t.fn, t.active = nil, false
		w.mu.Unlock()
		if fn != nil {
			fn()
		}
	}
	if w.ready = w.ready[n:]; len(w.ready) == 0 {
		w.ready = nil
	}
	return len(w.ready) > 0
}

// take removes the timers that are due at tick upTo, in their order.
func (w *wheel) take(upTo int64) []*Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*Timer
	for ; w.done < upTo; w.done++ {
		i := (w.done + 1) % slots
		kept := w.slot[i][:0]
		for _, t := range w.slot[i] {
			switch {
			case !t.active:
				w.size--
			case t.at <= w.done+1:
				due = append(due, t)
				w.size--
			default:
				kept = append(kept, t)
			}
		}
		clear(w.slot[i][len(kept):])
		w.slot[i] = kept
	}
	if w.size > 0 {
		w.rearm()
	}
	return due
}

// rearm has the wheel turn at the next of the ticks that are counted from its
// start. Ticks counted from when it was last empty would show in the answer to
// one call whether a timer of another one is left, as timer C is of a call that
// rang: strangers could tell. The caller holds mu.
func (w *wheel) rearm() { w.ticker.Reset(tick - time.Since(w.start)%tick) }

func (w *wheel) stop() { w.ticker.Stop() }
