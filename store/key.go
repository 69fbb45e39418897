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
}

// MaxKeys is how many keys a user may have (token-spec: each costs a
// verification in every call).
const MaxKeys = 4

// ErrTooManyKeys is the error of a fifth key.
var ErrTooManyKeys = errors.New("four keys are there already; delete one that is no longer used")

func (s *Store) loadKeys(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, public, label, created FROM key ORDER BY created, public", func(r *sql.Rows) error {
		var (
			a       string
			k       Key
			created int64
		)
		if err := r.Scan(&a, (*[]byte)(&k.Public), &k.Label, &created); err != nil {
			return err
		}
		k.Created = time.Unix(created, 0)
		if e := s.byText(a); e != nil {
			s.change(func() { e.keys = append(e.keys, k) })
		}
		return nil
	})
}

// Keys returns the public keys of a user; none for an unknown one.
func (s *Store) Keys(a aor.AOR) []ed25519.PublicKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil
	}
	all := make([]ed25519.PublicKey, 0, len(e.keys))
	for _, k := range e.keys {
		all = append(all, k.Public)
	}
	return all
}

// ListKeys returns a user's keys, oldest first.
func (s *Store) ListKeys(a aor.AOR) ([]Key, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil, fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	return slices.Clone(e.keys), nil
}

// AddKey adds a public key. It fails with ErrNotFound, ErrExists,
// ErrTooManyKeys or ErrUnavailable.
func (s *Store) AddKey(a aor.AOR, public ed25519.PublicKey, label string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
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

// DeleteKey deletes a key, and with it the power of everything that it signed.
func (s *Store) DeleteKey(a aor.AOR, public ed25519.PublicKey) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	if e == nil {
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	i := slices.IndexFunc(e.keys, func(k Key) bool { return bytes.Equal(k.Public, public) })
	if i < 0 {
		return fmt.Errorf("key: %w", ErrNotFound)
	}
	if err := s.exec("DELETE FROM key WHERE aor = ? AND public = ?", a.String(), []byte(public)); err != nil {
		return err
	}
	s.change(func() { e.keys = slices.Delete(e.keys, i, i+1) })
	return nil
}
