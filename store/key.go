package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"sotto/internal/aor"
)

// Key is a public key of a user's privacy tokens.
type Key struct {
	Public  ed25519.PublicKey
	Label   string
	Created time.Time
	Until   time.Time // zero: no end
}

// holds says that tokens of the key let callers ring.
func (k Key) holds(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// MaxKeys is how many keys a user may have (token-spec: each costs a
// verification in every call).
const MaxKeys = 4

// ErrTooManyKeys is the error of a fifth key.
var ErrTooManyKeys = errors.New("four keys are there already; delete one that is no longer used")

func (s *Store) loadKeys(ctx context.Context) error {
	const query = "SELECT aor, public, label, created, until FROM key ORDER BY created, public"
	return s.rows(ctx, query, func(r *sql.Rows) error {
		var (
			a              string
			k              Key
			created, until int64
		)
		if err := r.Scan(&a, (*[]byte)(&k.Public), &k.Label, &created, &until); err != nil {
			return err
		}
		k.Created = time.Unix(created, 0)
		if until != 0 {
			k.Until = time.Unix(until, 0)
		}
		if e := s.byText(a); e != nil {
			s.change(func() { e.keys = append(e.keys, k) })
		}
		return nil
	})
}

// Keys returns the public keys of a user that hold now; none for an unknown one.
func (s *Store) Keys(a aor.AOR) []ed25519.PublicKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil
	}
	now, all := time.Now(), make([]ed25519.PublicKey, 0, len(e.keys))
	for _, k := range e.keys {
		if k.holds(now) {
			all = append(all, k.Public)
		}
	}
	return all
}

// ListKeys returns a user's keys that hold now, oldest first.
func (s *Store) ListKeys(a aor.AOR) ([]Key, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil, fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(e.keys), func(k Key) bool { return !k.holds(now) }), nil
}

// AddKey adds a public key. It fails with ErrNotFound, ErrExists,
// ErrTooManyKeys or ErrUnavailable.
func (s *Store) AddKey(a aor.AOR, public ed25519.PublicKey, label string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	if err := s.forgetKeys(a, e); err != nil {
		return err
	}
	switch {
	case e == nil:
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	case len(public) != ed25519.PublicKeySize:
		return errors.New("not an Ed25519 public key")
	case slices.ContainsFunc(e.keys, func(k Key) bool { return bytes.Equal(k.Public, public) }):
		return fmt.Errorf("key: %w", ErrExists)
	case len(e.keys) >= MaxKeys:
		return ErrTooManyKeys
	}
	k := Key{Public: bytes.Clone(public), Label: label, Created: time.Now().Truncate(time.Second)}
	err := s.exec("INSERT INTO key (aor, public, label, created) VALUES (?, ?, ?, ?)",
		a.String(), []byte(public), label, k.Created.Unix())
	if err != nil {
		return err
	}
	s.change(func() { e.keys = append(e.keys, k) })
	return nil
}

// forgetKeys makes room of keys whose time is over. The caller holds writing.
func (s *Store) forgetKeys(a aor.AOR, e *entry) error {
	now := time.Now()
	over := func(k Key) bool { return !k.holds(now) }
	if e == nil || !slices.ContainsFunc(e.keys, over) {
		return nil
	}
	if err := s.exec("DELETE FROM key WHERE aor = ? AND until BETWEEN 1 AND ?", a.String(), now.Unix()); err != nil {
		return err
	}
	s.change(func() { e.keys = slices.DeleteFunc(e.keys, over) })
	return nil
}

// RetireKey lets a key's tokens hold until then and no longer: so long the
// key that takes its place and the old one hold both. It fails with
// ErrNotFound or ErrUnavailable.
func (s *Store) RetireKey(a aor.AOR, public ed25519.PublicKey, until time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e, i := s.keyAt(a, public)
	if i < 0 {
		return fmt.Errorf("key: %w", ErrNotFound)
	}
	until = until.Truncate(time.Second)
	err := s.exec("UPDATE key SET until = ? WHERE aor = ? AND public = ?", until.Unix(), a.String(), []byte(public))
	if err != nil {
		return err
	}
	s.change(func() { e.keys[i].Until = until })
	return nil
}

// keyAt is a user's entry and where in it a key is that holds; -1: nowhere. The
// caller holds writing.
func (s *Store) keyAt(a aor.AOR, public ed25519.PublicKey) (*entry, int) {
	e, now := s.users[a], time.Now()
	if e == nil {
		return nil, -1
	}
	return e, slices.IndexFunc(e.keys, func(k Key) bool { return k.holds(now) && bytes.Equal(k.Public, public) })
}

// DeleteKey deletes a key, and with it the power of everything that it signed.
// It fails with ErrNotFound or ErrUnavailable.
func (s *Store) DeleteKey(a aor.AOR, public ed25519.PublicKey) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e, i := s.keyAt(a, public)
	if i < 0 {
		return fmt.Errorf("key: %w", ErrNotFound)
	}
	if err := s.exec("DELETE FROM key WHERE aor = ? AND public = ?", a.String(), []byte(public)); err != nil {
		return err
	}
	s.change(func() { e.keys = slices.Delete(e.keys, i, i+1) })
	return nil
}
