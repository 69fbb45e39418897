package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"sotto/internal/aor"
)

// maxRevocations bounds the revocations of one user that are kept at a time,
// and the used tokens (ours; they go when their token would have expired).
const maxRevocations = 10_000

func (s *Store) loadRevocations(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, salt, expires FROM revocation", func(r *sql.Rows) error {
		var (
			a       string
			salt    []byte
			expires int64
		)
		if err := r.Scan(&a, &salt, &expires); err != nil {
			return err
		}
		if e := s.byText(a); e != nil && len(salt) == 8 {
			e.revoked[[8]byte(salt)] = time.Unix(expires, 0)
		}
		return nil
	})
}

// Revoke takes a token back, by its salt, until it would have expired. It
// holds from the next call on.
func (s *Store) Revoke(a aor.AOR, salt [8]byte, until time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	switch {
	case e == nil:
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	case s.tooManyRevoked(e):
		return errors.New("too many tokens are revoked; make a new key and delete the old one, which revokes all")
	}
	err := s.exec("INSERT INTO revocation (aor, salt, expires) VALUES (?, ?, ?) "+
		"ON CONFLICT (aor, salt) DO UPDATE SET expires = max(expires, excluded.expires)",
		a.String(), salt[:], until.Unix())
	if err != nil {
		return err
	}
	s.change(func() {
		if until.After(e.revoked[salt]) { // a revocation never goes backwards
			e.revoked[salt] = until
		}
	})
	return nil
}

// tooManyRevoked makes room of revocations that are over, and says whether there
// is none. The caller holds writing.
func (s *Store) tooManyRevoked(e *entry) bool {
	if len(e.revoked) >= maxRevocations {
		now := time.Now()
		s.change(func() {
			maps.DeleteFunc(e.revoked, func(_ [8]byte, until time.Time) bool { return !now.Before(until) })
		})
	}
	return len(e.revoked) >= maxRevocations
}

// Revoked says whether a token was taken back.
func (s *Store) Revoked(a aor.AOR, salt [8]byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return false
	}
	_, ok := e.revoked[salt]
	return ok
}
