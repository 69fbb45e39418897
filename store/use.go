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

// Of some tokens it is kept who or how many have used them: of a first-use
// token its holder, of an open one the number of calls that it let ring. A use
// counts when the file has it, so that neither a crash nor a race makes more of
// a token than its issuer gave.

// A use is what is kept of one token.
type use struct {
	holder [32]byte // first use: a hash of salt and caller
	count  int      // open
	until  time.Time
}

// errTooManyUses is the error of more tokens than are kept of one user.
var errTooManyUses = errors.New("too many tokens of this user are in use")

func (s *Store) loadFirstUse(ctx context.Context) error {
	return s.loadUses(ctx, "SELECT aor, salt, expires, holder, 0 FROM first_use")
}

func (s *Store) loadOpenUse(ctx context.Context) error {
	return s.loadUses(ctx, "SELECT aor, salt, expires, NULL, uses FROM token_use")
}

// loadUses reads what one table has: address, salt, expiry, holder and count.
func (s *Store) loadUses(ctx context.Context, query string) error {
	return s.rows(ctx, query, func(r *sql.Rows) error {
		var (
			a            string
			salt, holder []byte
			expires      int64
			u            use
		)
		if err := r.Scan(&a, &salt, &expires, &holder, &u.count); err != nil {
			return err
		}
		u.until = time.Unix(expires, 0)
		copy(u.holder[:], holder)
		if e := s.byText(a); e != nil && len(salt) == 8 {
			e.uses[[8]byte(salt)] = u
		}
		return nil
	})
}

// used is what is kept of a token of a user; nothing if nobody has used it.
func (s *Store) used(a aor.AOR, salt [8]byte) (use, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return use{}, false
	}
	u, ok := e.uses[salt]
	return u, ok
}

// FirstUser is the holder of a first-use token, if somebody has used it.
func (s *Store) FirstUser(a aor.AOR, salt [8]byte) (holder [32]byte, bound bool) {
	u, ok := s.used(a, salt)
	return u.holder, ok
}

// BindFirstUse binds a first-use token to its holder, if nobody has used it
// before, and says whether the token is the holder's. Of two who show it at
// once, one gets it. On an error nobody does.
func (s *Store) BindFirstUse(a aor.AOR, salt [8]byte, holder [32]byte, until time.Time) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if bound, ok := s.FirstUser(a, salt); ok {
		return bound == holder, nil
	}
	err := s.keepUse(a, salt, use{holder: holder, until: until},
		"INSERT INTO first_use (aor, salt, holder, expires) VALUES (?, ?, ?, ?)",
		a.String(), salt[:], holder[:], until.Unix())
	return err == nil, err
}

// Uses is how often an open token has let somebody ring.
func (s *Store) Uses(a aor.AOR, salt [8]byte) int {
	u, _ := s.used(a, salt)
	return u.count
}

// CountUse counts one more use of an open token, and says whether that was one
// of the most that it has: of those who show it at once, no more than are left
// get through. On an error nobody does.
func (s *Store) CountUse(a aor.AOR, salt [8]byte, most int, until time.Time) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n := s.Uses(a, salt) + 1
	if n > most {
		return false, nil
	}
	err := s.keepUse(a, salt, use{count: n, until: until},
		"INSERT INTO token_use (aor, salt, uses, expires) VALUES (?, ?, ?, ?) "+
			"ON CONFLICT (aor, salt) DO UPDATE SET uses = excluded.uses",
		a.String(), salt[:], n, until.Unix())
	return err == nil, err
}

// keepUse writes a use into the file and then into the copy. The caller holds writing.
func (s *Store) keepUse(a aor.AOR, salt [8]byte, u use, query string, args ...any) error {
	e := s.users[a]
	if e == nil {
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	if _, known := e.uses[salt]; !known && len(e.uses) >= maxRevocations {
		now := time.Now()
		s.change(func() {
			maps.DeleteFunc(e.uses, func(_ [8]byte, u use) bool { return !now.Before(u.until) })
		})
		if len(e.uses) >= maxRevocations {
			return errTooManyUses
		}
	}
	if err := s.exec(query, args...); err != nil {
		return err
	}
	s.change(func() { e.uses[salt] = u })
	return nil
}

// forgetAfter is how long what is kept of a token outlives it (ours): a clock
// that is wrong when the server starts must not bring a token back that was
// revoked or used up.
const forgetAfter = 366 * 24 * time.Hour

// forgetTokens deletes what is kept of tokens that have expired long ago.
func (s *Store) forgetTokens(ctx context.Context) error {
	for _, table := range []string{"revocation", "first_use", "token_use"} {
		_, err := s.db.ExecContext(ctx, "DELETE FROM "+table+" WHERE expires < ?", time.Now().Add(-forgetAfter).Unix())
		if err != nil {
			return err
		}
	}
	return nil
}
