package store

import (
	"fmt"
	"testing"
	"time"

	"sotto/internal/aor"
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
		call := Silenced{Recipient: bob, Caller: "a@b.example", At: time.Now(), Notified: who.notified}
		must(t, second(s.Note([]Note{{Silenced: call}})))
		calls, err := s.PendingNotices(bob)
		must(t, err)
		if len(calls) != who.pending {
			t.Errorf("notified %t: %d calls to tell of; want %d", who.notified, len(calls), who.pending)
		}
		for _, c := range calls {
			must(t, s.MarkNotified([]int64{c.ID}, time.Now()))
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

// Of calls that are not kept nothing is left; of kept ones the newest are, and
// who called whom. One call of a user who is no more spoils nothing.
func TestNotes(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob, carol, gone := user(t, "bob"), user(t, "carol"), user(t, "gone")
	must(t, s.AddUser(bob, "x"))
	var notes []Note
	for i := range maxSilenced + 3 {
		at := time.Unix(int64(i), 0)
		notes = append(notes,
			Note{Silenced: Silenced{Recipient: bob, Caller: "a@b.example", At: at}, From: carol, To: bob},
			Note{Silenced: Silenced{Recipient: bob, Caller: "d@b.example", At: at}, Decoy: true},
			Note{Silenced: Silenced{Recipient: gone, Caller: "a@b.example", At: at}},
			Note{Silenced: Silenced{Recipient: gone, Caller: "d@b.example", At: at}, Decoy: true})
	}
	must(t, second(s.Note(notes)))
	calls, err := s.PendingNotices(bob)
	must(t, err)
	if len(calls) != maxSilenced || calls[0].At.Unix() != 3 || calls[0].Caller != "a@b.example" {
		t.Errorf("%d calls are kept, the first is %+v", len(calls), calls[0])
	}
	var left int
	must(t, s.db.QueryRow("SELECT (SELECT count(*) FROM decoy) + (SELECT count(*) FROM silenced)").Scan(&left))
	if left != maxSilenced || !s.Recent(carol, bob, 1) || len(s.Untold()) != 1 {
		t.Errorf("%d rows are left, %v were not told, recent: %t", left, s.Untold(), s.Recent(carol, bob, 1))
	}
}

// A flood of calls, of nobody or of one user, takes no other caller's call off the list.
func TestFloodHidesNobodysCall(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob := user(t, "bob")
	must(t, s.AddUser(bob, "x"))
	call := func(caller string, verified bool) Note {
		return Note{Silenced: Silenced{Recipient: bob, Caller: caller, Verified: verified, At: time.Unix(1, 0)}}
	}
	notes := []Note{call("carol@example.com", true)}
	for i := range maxSilenced {
		notes = append(notes, call(fmt.Sprintf("x%d@b.example", i), false))
	}
	notes = append(notes, call("dave@example.com", true))
	for range maxSilenced {
		notes = append(notes, call("mallory@example.com", true))
	}
	must(t, second(s.Note(notes)))
	calls, err := s.PendingNotices(bob)
	must(t, err)
	count := map[string]int{}
	for _, c := range calls {
		if count[c.Caller]++; !c.Verified {
			count["unverified"]++
		}
	}
	if len(calls) != maxSilenced || count["carol@example.com"] != 1 || count["dave@example.com"] != 1 ||
		count["unverified"] < maxSilenced/3 {
		t.Errorf("of %d calls %d are of carol, %d of dave, %d of mallory, %d of nobody", len(calls),
			count["carol@example.com"], count["dave@example.com"], count["mallory@example.com"], count["unverified"])
	}
}

// When whom was told of which calls is known, one notice as one.
func TestTellings(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, s.AddUser(bob, "x"))
	must(t, s.AddUser(carol, "x"))
	began := time.Unix(1_800_000_000, 0)
	for _, to := range []aor.AOR{bob, carol, bob} {
		must(t, second(s.Note([]Note{{Silenced: Silenced{Recipient: to, Caller: "a@b.example", At: began, Verified: true}}})))
		must(t, second(s.Note([]Note{{Silenced: Silenced{Recipient: to, Caller: "c@d.example", At: began}}})))
		must(t, second(s.Note([]Note{{Silenced: Silenced{Recipient: to, Caller: "quiet", At: began, Notified: true}}})))
		calls, err := s.PendingNotices(to)
		must(t, err)
		must(t, s.MarkNotified([]int64{calls[0].ID, calls[1].ID}, began))
		began = began.Add(time.Hour)
	}
	for since, want := range map[time.Duration]int{-4 * time.Hour: 3, -3 * time.Hour: 2, 0: 0} {
		all, err := s.Tellings(began.Add(since))
		must(t, err)
		if len(all) != want {
			t.Errorf("since %v: %+v", since, all)
		}
		for _, n := range all {
			if len(n.Calls) != 2 || !n.Calls[0].Verified || n.Calls[1].Caller != "c@d.example" {
				t.Errorf("%+v", n)
			}
		}
	}
}
