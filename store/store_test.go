package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/internal/aor"
)

// open opens a store in a directory of its own.
func open(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sotto.db")
	s, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func user(t *testing.T, name string) aor.AOR {
	t.Helper()
	a, err := aor.New(name, "example.com")
	must(t, err)
	return a
}

// writes are one of each kind, by a user who is there.
func writes(s *Store, bob, carol aor.AOR) map[string]func() error {
	key := make([]byte, 32)
	return map[string]func() error{
		"user":       func() error { return s.AddUser(carol, "x") },
		"password":   func() error { return s.SetPassword(bob, "y") },
		"setting":    func() error { return s.SetSetting(bob, "protect_ip", "always") },
		"key":        func() error { return s.AddKey(bob, key, "") },
		"old key":    func() error { return s.RetireKey(bob, ancient(), time.Now().Add(time.Hour)) },
		"block":      func() error { return s.Block(bob, "mallory@example.org") },
		"revocation": func() error { return s.Revoke(bob, [8]byte{1}, time.Now().Add(time.Hour)) },
		"first use": func() error {
			ok, err := s.BindFirstUse(bob, [8]byte{2}, [32]byte{3}, time.Now().Add(time.Hour))
			if ok == (err != nil) {
				return fmt.Errorf("bound: %v, and yet %w", ok, err)
			}
			return err
		},
		"open use": func() error {
			ok, err := s.CountUse(bob, [8]byte{3}, 1, time.Now().Add(time.Hour))
			if ok == (err != nil) {
				return fmt.Errorf("counted: %v, and yet %w", ok, err)
			}
			return err
		},
		"recent call": func() error { return s.Remember(bob, carol) },
		"silenced call": func() error {
			return second(s.Note([]Note{{Silenced: Silenced{Recipient: bob, Caller: "m", At: time.Now()}}}))
		},
		"snapshot": func() error { return s.SaveSnapshot("x", []byte("y")) },
		"media":    func() error { return s.KeepMedia(map[uint64][]byte{1: []byte("x")}) },
		"rotation": func() error { return s.Rotate("seal") },
	}
}

// ancient is a public key that a user has from the beginning.
func ancient() []byte { return bytes.Repeat([]byte{9}, 32) }

// refuses checks that every write fails as it should while the file takes
// none, that nothing has changed, and that reading goes on; afterwards all
// writes go through.
func refuses(t *testing.T, s *Store, stop func(), again func()) {
	t.Helper()
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddKey(bob, ancient(), "")))
	_, _, err := s.Secret("seal", 32)
	must(t, err)
	before, _ := s.User(bob)
	stop()
	for what, write := range writes(s, bob, carol) {
		if err := write(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	now, ok := s.User(bob)
	_, carols := s.User(carol)
	if !ok || now != before || carols || len(s.Keys(bob)) != 1 || s.Settings(bob).ProtectIP != Strangers ||
		s.Uses(bob, [8]byte{3}) != 0 || s.Revoked(bob, [8]byte{1}) || s.Blocked(bob, user(t, "mallory")) {
		t.Error("something that was not written is there")
	}
	if keys, err := s.ListKeys(bob); err != nil || !keys[0].Until.IsZero() {
		t.Errorf("keys: %v, %v", keys, err)
	}
	again()
	for what, write := range writes(s, bob, carol) {
		if err := write(); err != nil {
			t.Errorf("afterwards, %s: %v", what, err)
		}
	}
}

func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	other, err := sql.Open("sqlite", path)
	must(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	refuses(t, s, func() {
		_, err := s.db.Exec("PRAGMA busy_timeout = 10") // the test need not wait for what a person would
		must(t, err)
		_, err = other.Exec("BEGIN IMMEDIATE")
		must(t, err)
	}, func() {
		_, err := other.Exec("ROLLBACK")
		must(t, err)
	})
}

// Nobody who reads waits for a writer that waits for the disk.
func TestReadersDoNotWait(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	bob := user(t, "bob")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddKey(bob, ancient(), "")))
	other, err := sql.Open("sqlite", path)
	must(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err = s.db.Exec("PRAGMA busy_timeout = 60000")
	must(t, err)
	_, err = other.Exec("BEGIN IMMEDIATE")
	must(t, err)
	var writer sync.WaitGroup
	writer.Go(func() { _ = s.SetSetting(bob, "protect_ip", "always") }) // waits for the other one
	time.Sleep(100 * time.Millisecond)
	read := make(chan struct{})
	go func() {
		s.Settings(bob)
		s.Blocked(bob, bob)
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Error("a reader waits for a writer")
	}
	_, err = other.Exec("ROLLBACK")
	must(t, err)
	writer.Wait()
}

// Calls read the copy in memory while every kind of write changes it: the race
// detector finds a change that is made without the lock.
func TestReadersBesideWriters(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddKey(bob, ancient(), "")))
	_, _, err := s.Secret("seal", 32)
	must(t, err)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				read(s, bob, carol)
			}
		}
	})
	for what, write := range writes(s, bob, carol) {
		if err := write(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, s.Unblock(bob, "mallory@example.org"))
	must(t, s.DeleteKey(bob, make([]byte, 32)))
	must(t, s.DeleteUser(carol))
	close(stop)
	readers.Wait()
}

// read asks for what a call finds in memory; what waits for the database
// would put the readers in order with the writer, and hide what is sought.
func read(s *Store, bob, carol aor.AOR) {
	s.User(carol)
	s.Users()
	s.Settings(bob)
	s.Keys(bob)
	s.Blocked(bob, carol)
	s.Revoked(bob, [8]byte{1})
	s.FirstUser(bob, [8]byte{2})
	s.Uses(bob, [8]byte{3})
	s.Recent(bob, carol, 7)
}

// What was written is there after the process was killed: the file is opened
// again without having been closed.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	bob := user(t, "bob")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddKey(bob, ancient(), "")))
	for what, write := range writes(s, bob, user(t, "carol")) {
		if what != "rotation" {
			must(t, write())
		}
	}
	dead := filepath.Join(t.TempDir(), "copy.db")
	for _, ext := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + ext)
		must(t, err)
		must(t, os.WriteFile(dead+ext, text, 0o600))
	}
	again, err := Open(t.Context(), dead, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { _ = again.Close() }()
	bound, err := again.BindFirstUse(bob, [8]byte{2}, [32]byte{9}, time.Now().Add(time.Hour))
	calls, err2 := again.PendingNotices(bob)
	if err != nil || err2 != nil || bound || len(calls) != 1 || !again.Revoked(bob, [8]byte{1}) ||
		again.Settings(
			bob,
		).ProtectIP != Always || len(again.Keys(bob)) != 2 || !again.Recent(bob, user(t, "carol"), 7) {
		t.Errorf("bound %v, %d calls, %+v, %v, %v", bound, len(calls), again.Settings(bob), err, err2)
	}
}

// A revocation never goes backwards.
func TestRevocationStays(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	bob, later := user(t, "bob"), time.Now().Add(48*time.Hour)
	must(t, s.AddUser(bob, "x"))
	must(t, s.Revoke(bob, [8]byte{1}, later))
	must(t, s.Revoke(bob, [8]byte{1}, time.Now().Add(time.Hour)))
	if got := s.users[bob].revoked[[8]byte{1}]; !got.Equal(later) {
		t.Errorf("in memory until %v", got)
	}
	must(t, s.Close())
	again, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { _ = again.Close() }()
	if got := again.users[bob].revoked[[8]byte{1}]; got.Unix() != later.Unix() {
		t.Errorf("in the file until %v, want %v", got, later)
	}
}

// A file of every earlier version is brought up to date; one from the future
// is refused.
func TestMigrations(t *testing.T) {
	t.Parallel()
	files, err := migrations.ReadDir("migrations")
	must(t, err)
	for have := range len(files) {
		path := filepath.Join(t.TempDir(), "old.db")
		db, err := sql.Open("sqlite", path)
		must(t, err)
		for _, f := range files[:have] {
			text, err := migrations.ReadFile("migrations/" + f.Name())
			must(t, err)
			_, err = db.Exec(string(text))
			must(t, err)
		}
		_, err = db.Exec(fmt.Sprintf("PRAGMA user_version = %d", have))
		must(t, err)
		must(t, db.Close())
		s, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
		must(t, err)
		must(t, s.AddUser(user(t, "bob"), "x"))
		_, err = s.db.Exec("PRAGMA user_version = 1000")
		must(t, err)
		must(t, s.Close())
		if _, err := Open(t.Context(), path, slog.New(slog.DiscardHandler)); err == nil ||
			!strings.Contains(err.Error(), "newer") {
			t.Errorf("a file from the future: %v", err)
		}
	}
}

// The file is its owner's only, also one that was put there, and damage is told.
func TestFile(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	for range 2 {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
		must(t, errors.Join(s.Close(), os.Chmod(path, 0o644)))
		var err error
		s, err = Open(context.Background(), path, slog.New(slog.DiscardHandler))
		must(t, err)
	}
	must(t, s.Close())
	bad := filepath.Join(t.TempDir(), "bad.db")
	must(t, os.WriteFile(bad, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	if _, err := Open(context.Background(), bad, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is no database was opened")
	}
}

// Deleting a user deletes everything that belongs to it, and who did not
// exist has the strictest settings.
func TestDeletedUserLeavesNothing(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddKey(bob, ancient(), "")))
	for what, write := range writes(s, bob, carol) {
		if what != "rotation" {
			must(t, write())
		}
	}
	must(t, s.DeleteUser(bob))
	for _, table := range []string{"setting", "key", "block", "revocation", "first_use", "token_use"} {
		var n int
		must(t, s.db.QueryRow("SELECT count(*) FROM "+table+" WHERE aor = ?", bob.String()).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows of %s", n, table)
		}
	}
	if got := s.Settings(bob); got != (Settings{}) || got.ProtectIP != Always || got.RingStrangers {
		t.Errorf("%+v", got)
	}
	if _, err := s.Note([]Note{{Silenced: Silenced{Recipient: bob, At: time.Now()}}}); err != nil {
		t.Errorf("a call of nobody's: %v; it must not be tried again", err)
	}
}
