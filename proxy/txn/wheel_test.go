package txn

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// turning runs a wheel, as a worker does, until the test ends.
func turning(t *testing.T) *wheel {
	t.Helper()
	w := newWheel()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		defer w.stop()
		for {
			select {
			case <-done:
				return
			case <-w.due():
				w.turn(time.Now())
				w.fire(slots)
			}
		}
	}()
	return w
}

// A timer never comes early, and at most two ticks late; also one that goes
// round several times.
func TestTimersComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := turning(t)
		began := time.Now()
		var order []time.Duration
		for _, d := range []time.Duration{
			32 * time.Second, 0, 500 * time.Millisecond, 3 * time.Minute, 10240 * time.Millisecond, 7 * time.Millisecond,
			-time.Second, 32 * time.Second,
		} {
			w.after(d, func() {
				late := time.Since(began) - max(d, 0)
				if late < 0 || late > 2*tick {
					t.Errorf("%v came %v late", d, late)
				}
				order = append(order, d)
			})
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if len(order) != 8 || !slices.IsSorted(order[2:]) {
			t.Errorf("came: %v", order)
		}
		if w.size != 0 {
			t.Errorf("%d timers left", w.size)
		}
	})
}

// When a timer comes does not tell whether others are left: in a busy wheel it is
// the same moment as in an empty one.
func TestTimersTellNothingOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy, empty := turning(t), turning(t)
		for _, d := range []time.Duration{0, 3 * time.Millisecond, 7 * time.Second, 3 * time.Minute} {
			busy.after(d, func() {}).Stop()
		}
		for i := range 50 {
			time.Sleep(13*time.Millisecond + time.Duration(i)*time.Microsecond)
			var at [2]time.Time
			for j, w := range []*wheel{busy, empty} {
				w.after(time.Duration(i)*7*time.Millisecond, func() { at[j] = time.Now() })
			}
			time.Sleep(time.Second)
			if synctest.Wait(); !at[0].Equal(at[1]) || at[0].IsZero() {
				t.Fatalf("timer %d comes %v later to a busy wheel", i, at[0].Sub(at[1]))
			}
		}
	})
}

func TestStoppedTimerNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := turning(t)
		var second *Timer
		first := w.after(time.Second, func() { second.Stop() }) // of the same tick
		second = w.after(time.Second, func() { t.Error("stopped by the one before it") })
		third := w.after(time.Minute, func() { t.Error("stopped") })
		third.Stop()
		third.Stop()
		(*Timer)(nil).Stop()
		time.Sleep(2 * time.Minute)
		first.Stop() // it has run
		synctest.Wait()
		if w.size != 0 {
			t.Errorf("%d timers left", w.size)
		}
	})
}

// An empty wheel sleeps, and wakes up for a timer long after.
func TestEmptyWheelSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		defer w.stop()
		w.after(0, func() {})
		turns := 0
		for range 100 {
			select {
			case <-w.due():
				turns++
				w.turn(time.Now())
				w.fire(slots)
			case <-time.After(time.Hour):
			}
		}
		if turns > 2 {
			t.Errorf("an empty wheel turned %d times", turns)
		}
		came := false
		began := time.Now()
		w.after(time.Second, func() { came = true })
		for !came {
			<-w.due()
			w.turn(time.Now())
			w.fire(slots)
		}
		if d := time.Since(began); d < time.Second || d > time.Second+2*tick {
			t.Errorf("came after %v", d)
		}
	})
}

// A worker that was held up runs what is overdue, in its order.
func TestOverdueTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		defer w.stop()
		var order []int
		for i := range 5 {
			w.after(time.Duration(5-i)*time.Second, func() { order = append(order, 5-i) })
		}
		time.Sleep(time.Minute)
		w.turn(time.Now())
		w.fire(slots)
		if !slices.Equal(order, []int{1, 2, 3, 4, 5}) {
			t.Errorf("came: %v", order)
		}
	})
}

func BenchmarkTimer(b *testing.B) {
	w := newWheel()
	defer w.stop()
	b.ReportAllocs()
	for b.Loop() {
		w.after(32*time.Second, func() {}).Stop()
		if w.size > 100_000 {
			w.turn(w.start.Add(time.Hour))
			w.fire(slots)
			w.start = time.Now()
			w.done = 0
		}
	}
}
