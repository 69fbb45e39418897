package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sotto/internal/aor"
)

// maxRevocations bounds the revocations and first-use bindings of one user
// that are kept at a time (ours; they go when their token would have expired).
const maxRevocations = 10_000

func (s *Store) loadRevocations(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, salt, expires FROM revocation WHERE expires > unixepoch()", func(r *sql.Rows) error {
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

func (s *Store) loadFirstUse(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, salt, holder FROM first_use WHERE expires > unixepoch()", func(r *sql.Rows) error {
		var (
			a            string
			salt, holder []byte
		)
		if err := r.Scan(&a, &salt, &holder); err != nil {
			return err
		}
		if e := s.byText(a); e != nil && len(salt) == 8 && len(holder) == 32 {
			e.firstUse[[8]byte(salt)] = [32]byte(holder)
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
	case len(e.revoked) >= maxRevocations:
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

// BindFirstUse binds a first-use token to its holder, if nobody has used it
// before, and says whether the token is the holder's. Of two who show it at
// once, one gets it. On an error nobody does.
func (s *Store) BindFirstUse(a aor.AOR, salt [8]byte, holder [32]byte, until time.Time) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	if e == nil {
		return false, fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	if bound, ok := e.firstUse[salt]; ok {
		return bound == holder, nil
	}
	if len(e.firstUse) >= maxRevocations {
		return false, errors.New("too many first-use tokens")
	}
	err := s.exec("INSERT INTO first_use (aor, salt, holder, expires) VALUES (?, ?, ?, ?)",
		a.String(), salt[:], holder[:], until.Unix())
	if err != nil {
		return false, err
	}
	s.change(func() { e.firstUse[salt] = holder })
	return true, nil
}
