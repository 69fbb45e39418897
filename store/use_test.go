package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sotto/internal/aor"
)

// race has so many use a token at once, and counts who got through.
func race(t *testing.T, callers int, use func(i int) (bool, error)) int {
	t.Helper()
	var (
		wait    sync.WaitGroup
		through atomic.Int32
	)
	for i := range callers {
		wait.Go(func() {
			ok, err := use(i)
			if err != nil {
				t.Error(err)
			}
			if ok {
				through.Add(1)
			}
		})
	}
	wait.Wait()
	return int(through.Load())
}

// Of those who show a first-use token at once one gets it.
func TestFirstUseRace(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	bob := user(t, "bob")
	must(t, s.AddUser(bob, "x"))
	won := race(t, 16, func(i int) (bool, error) {
		return s.BindFirstUse(bob, [8]byte{7}, [32]byte{byte(i)}, time.Now().Add(time.Hour))
	})
	holder, bound := s.FirstUser(bob, [8]byte{7})
	if won != 1 || !bound {
		t.Errorf("%d got the token; bound: %v", won, bound)
	}
	for i := range byte(16) {
		ok, err := s.BindFirstUse(bob, [8]byte{7}, [32]byte{i}, time.Now().Add(time.Hour))
		if err != nil || ok != (holder == [32]byte{i}) {
			t.Errorf("afterwards it is the %dth's: %v, %v", i, ok, err)
		}
	}
}

// Of those who show an open token at once as many get through as it lets; a
// file that is opened again knows how many that were.
func TestOpenUseRace(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	bob, carol := user(t, "bob"), user(t, "carol")
	must(t, errors.Join(s.AddUser(bob, "x"), s.AddUser(carol, "x")))
	until := time.Now().Add(time.Hour)
	shows := func(int) (bool, error) { return s.CountUse(bob, [8]byte{7}, 5, until) }
	if n := race(t, 16, shows); n != 5 {
		t.Errorf("%d got through; want 5", n)
	}
	if n := race(t, 3, func(int) (bool, error) { return s.CountUse(bob, [8]byte{8}, 5, until) }); n != 3 {
		t.Errorf("of another token %d got through; want 3", n)
	}
	if n := race(t, 1, func(int) (bool, error) { return s.CountUse(carol, [8]byte{7}, 5, until) }); n != 1 {
		t.Errorf("of another's token %d got through; want 1", n)
	}
	must(t, s.Close())
	s = again(t, path)
	defer func() { _ = s.Close() }()
	if n, used := race(t, 4, shows), s.Uses(bob, [8]byte{7}); n != 0 || used != 5 {
		t.Errorf("after a restart %d got through, of %d uses", n, used)
	}
}

// tokensKept fails the test if a store keeps another number of used or revoked tokens.
func tokensKept(t *testing.T, s *Store, a aor.AOR, used, revoked int) {
	t.Helper()
	if e := s.users[a]; len(e.uses) != used || len(e.revoked) != revoked {
		t.Errorf("%d used and %d revoked tokens are kept; want %d and %d", len(e.uses), len(e.revoked), used, revoked)
	}
}

// What is kept of tokens is bounded, and what has expired makes room for more.
func TestTokensAreForgotten(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	synctest.Test(t, func(t *testing.T) {
		bob, first := user(t, "bob"), time.Now().Add(time.Hour)
		must(t, s.AddUser(bob, "x"))
		e := s.users[bob]
		for i := range maxRevocations { // as if they had been written
			salt := [8]byte(fmt.Appendf(nil, "%08d", i))
			e.uses[salt], e.revoked[salt] = use{until: first}, first
		}
		all := writes(s, bob, user(t, "carol"))
		for _, what := range []string{"revocation", "first use", "open use"} {
			if all[what]() == nil {
				t.Errorf("%s: more is kept than there may be", what)
			}
		}
		time.Sleep(time.Hour)
		for _, what := range []string{"revocation", "first use", "open use"} {
			must(t, all[what]())
		}
		tokensKept(t, s, bob, 2, 1)
		must(t, s.Close())
		for _, after := range []struct {
			wait          time.Duration
			used, revoked int
		}{{2 * time.Hour, 2, 1}, {forgetAfter, 0, 0}} {
			time.Sleep(after.wait)
			later := again(t, path)
			tokensKept(t, later, bob, after.used, after.revoked)
			must(t, later.Close())
		}
	})
}

// again opens a store's file again.
func again(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
	must(t, err)
	return s
}

// An old key and the one that takes its place hold both until the old one is over.
func TestKeysOverlap(t *testing.T) {
	t.Parallel()
	s, path := open(t)
	synctest.Test(t, func(t *testing.T) {
		bob := user(t, "bob")
		must(t, s.AddUser(bob, "x"))
		for i := range byte(MaxKeys) {
			must(t, s.AddKey(bob, bytesOf(i), ""))
		}
		must(t, s.RetireKey(bob, bytesOf(0), time.Now().Add(time.Hour)))
		if err := s.AddKey(bob, bytesOf(9), ""); !errors.Is(err, ErrTooManyKeys) {
			t.Errorf("a fifth key that holds: %v", err)
		}
		time.Sleep(time.Hour - time.Second)
		if n := len(s.Keys(bob)); n != MaxKeys {
			t.Errorf("%d keys hold within the overlap", n)
		}
		time.Sleep(time.Second)
		threeHold(t, s, bob)
		must(t, s.Close())
		s = again(t, path)
		threeHold(t, s, bob)
		must(t, s.AddKey(bob, bytesOf(0), ""))
		must(t, s.DeleteKey(bob, bytesOf(1)))
		if n := len(s.Keys(bob)); n != MaxKeys-1 {
			t.Errorf("%d keys in the end", n)
		}
		must(t, s.Close())
	})
}

// threeHold checks that the first of four keys is over.
func threeHold(t *testing.T, s *Store, a aor.AOR) {
	t.Helper()
	listed, err := s.ListKeys(a)
	must(t, err)
	if n := len(s.Keys(a)); n != MaxKeys-1 || len(listed) != n || !listed[0].Until.IsZero() {
		t.Errorf("%d keys hold after the overlap; %+v", n, listed)
	}
	if err := s.RetireKey(a, bytesOf(0), time.Now()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key that is over: %v", err)
	}
}

// bytesOf is a public key that differs by one octet.
func bytesOf(b byte) []byte { return append(make([]byte, 31), b) }
