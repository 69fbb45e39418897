package store

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // RFC 7616 keeps MD5 for phones that know nothing better
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"sotto/internal/aor"
)

// User is a user of this server. Passwords are not kept: only what digest
// authentication needs, H(user:realm:password).
type User struct {
	AOR               aor.AOR
	HA1SHA256, HA1MD5 string
	Created           time.Time
}

// load fills the copy in memory.
func (s *Store) load(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		s.forgetTokens, s.loadUsers, s.loadSettings, s.loadKeys, s.loadBlocks, s.loadRevocations, s.loadFirstUse,
		s.loadOpenUse, s.loadRecent, s.loadUntold,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadUsers(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, ha1_sha256, ha1_md5, created FROM user", func(r *sql.Rows) error {
		var (
			text    string
			u       User
			created int64
		)
		if err := r.Scan(&text, &u.HA1SHA256, &u.HA1MD5, &created); err != nil {
			return err
		}
		a, err := aor.Parse(text)
		if err != nil {
			return fmt.Errorf("user %q: %w", text, err)
		}
		u.AOR, u.Created = a, time.Unix(created, 0)
		s.change(func() { s.users[a] = newEntry(u) })
		return nil
	})
}

// newEntry is a user without anything set.
func newEntry(u User) *entry {
	return &entry{
		user: u, settings: DefaultSettings(), blocks: map[string]bool{},
		revoked: map[[8]byte]time.Time{}, uses: map[[8]byte]use{},
	}
}

// hashes are the HA1 of RFC 7616 §3.4.2 for both algorithms.
func hashes(a aor.AOR, password string) (sha, md string) {
	text := []byte(a.User() + ":" + a.Host() + ":" + password)
	h, m := sha256.Sum256(text), md5.Sum(text) //nolint:gosec // as above
	return hex.EncodeToString(h[:]), hex.EncodeToString(m[:])
}

// AddUser adds a user. It fails with ErrExists or ErrUnavailable.
func (s *Store) AddUser(a aor.AOR, password string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.users[a] != nil {
		return fmt.Errorf("user %s: %w", a, ErrExists)
	}
	u := User{AOR: a, Created: time.Now().Truncate(time.Second)}
	u.HA1SHA256, u.HA1MD5 = hashes(a, password)
	err := s.exec("INSERT INTO user (aor, ha1_sha256, ha1_md5, created) VALUES (?, ?, ?, ?)",
		a.String(), u.HA1SHA256, u.HA1MD5, u.Created.Unix())
	if err != nil {
		return err
	}
	s.change(func() { s.users[a] = newEntry(u) })
	return nil
}

// SetPassword changes a user's password. It fails with ErrNotFound or ErrUnavailable.
func (s *Store) SetPassword(a aor.AOR, password string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	if e == nil {
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	sha, md := hashes(a, password)
	if err := s.exec("UPDATE user SET ha1_sha256 = ?, ha1_md5 = ? WHERE aor = ?", sha, md, a.String()); err != nil {
		return err
	}
	s.change(func() { e.user.HA1SHA256, e.user.HA1MD5 = sha, md })
	return nil
}

// DeleteUser removes a user and everything that belongs to it.
func (s *Store) DeleteUser(a aor.AOR) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.users[a] == nil {
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	if err := s.exec("DELETE FROM user WHERE aor = ?", a.String()); err != nil {
		return err
	}
	s.change(func() { delete(s.users, a) })
	return nil
}

// User returns a user, if there is one of that address.
func (s *Store) User(a aor.AOR) (User, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.users[a]; e != nil {
		return e.user, true
	}
	return User{}, false
}

// Users lists all users by address.
func (s *Store) Users() []User {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]User, 0, len(s.users))
	for e := range maps.Values(s.users) {
		all = append(all, e.user)
	}
	slices.SortFunc(all, func(a, b User) int { return cmp.Compare(a.AOR.String(), b.AOR.String()) })
	return all
}
