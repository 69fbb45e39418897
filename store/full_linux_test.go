package store

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onSmallDisk opens a store on a disk of its own, and fills that disk to so many
// octets. It takes root, on Linux.
func onSmallDisk(t *testing.T) (s *Store, fill func(left int64), empty func()) {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	s, err := Open(t.Context(), filepath.Join(disk, "sotto.db"), slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	filler := filepath.Join(disk, "filler")
	fill = func(left int64) {
		f, err := os.Create(filler)
		must(t, err)
		defer f.Close()
		var written int64
		for size := 64 << 10; size > 0; {
			n, err := f.Write(make([]byte, size))
			if written += int64(n); err != nil {
				size /= 2
			}
		}
		must(t, f.Truncate(max(written-left, 0)))
	}
	return s, fill, func() { must(t, os.Remove(filler)) }
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, fill, empty := onSmallDisk(t)
	refuses(t, s, func() { fill(0) }, empty)
}

// What a disk takes of many notes is counted, and none is written twice when the others are.
func TestNotesOnADiskThatFills(t *testing.T) {
	t.Parallel()
	s, fill, empty := onSmallDisk(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, s.AddUser(bob, "x"))
	notes := make([]Note, 3*notesAtOnce)
	for i := range notes {
		notes[i] = Note{From: carol, To: bob, Silenced: Silenced{
			Recipient: bob, Caller: strings.Repeat("a", 200), At: time.Unix(int64(i), 0),
		}}
	}
	fill(128 << 10)
	written, err := s.Note(notes)
	if !errors.Is(err, ErrUnavailable) || written == 0 || written%notesAtOnce != 0 || written == len(notes) {
		t.Fatalf("%d of %d are written: %v", written, len(notes), err)
	}
	kept := func() []Silenced {
		calls, err := s.PendingNotices(bob)
		must(t, err)
		return calls
	}
	if n := len(kept()); n != written {
		t.Errorf("%d are written, and %d there", written, n)
	}
	empty()
	rest, err := s.Note(notes[written:])
	must(t, err)
	for i, c := range kept() {
		if c.At.Unix() != int64(i) {
			t.Errorf("call %d is that of %v", i, c.At)
		}
	}
	if written+rest != len(notes) || len(kept()) != len(notes) {
		t.Errorf("%d and %d are written, and %d there", written, rest, len(kept()))
	}
}
