package store

import (
	"testing"
	"time"
)

// A registration asks what its user was not told of. For one who was told of
// everything nothing is read: here the file is closed, so that reading fails.
func TestNothingIsReadForWhoWasTold(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, s.AddUser(bob, "x"))
	for _, who := range []struct {
		notified bool
		pending  int
	}{{true, 0}, {false, 1}} {
		must(t, s.AddSilenced(Silenced{Recipient: bob, Caller: "a@b.example", At: time.Now(), Notified: who.notified}))
		calls, err := s.PendingNotices(bob)
		must(t, err)
		if len(calls) != who.pending {
			t.Errorf("notified %t: %d calls to tell of; want %d", who.notified, len(calls), who.pending)
		}
		for _, c := range calls {
			must(t, s.MarkNotified([]int64{c.ID}))
		}
	}
	if calls, err := s.PendingNotices(bob); err != nil || len(calls) > 0 {
		t.Errorf("told of everything, and yet: %v, %v", calls, err)
	}
	must(t, s.Close())
	for _, who := range []struct {
		name string
		err  error
	}{{"bob", second(s.PendingNotices(bob))}, {"carol", second(s.PendingNotices(carol))}} {
		if who.err != nil {
			t.Errorf("%s was told of everything, but the file is read: %v", who.name, who.err)
		}
	}
}

// second is the second of two results.
func second[T any](_ T, err error) error { return err }
