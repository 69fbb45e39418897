package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sotto/internal/aor"
)

// Silenced is a call that did not ring. It holds nothing that the caller
// chose but the address, made fit to be read.
type Silenced struct {
	ID        int64
	Recipient aor.AOR
	Caller    string
	Verified  bool // it was established who called
	At        time.Time
	Media     string // audio or video
	Reason    string
	Notified  bool // the recipient was told, or is not to be
}

// Anonymous is the caller of a call from nobody: who asked for that, or did not say.
const Anonymous = "anonymous"

// Who names the caller for the recipient; of whom nobody has checked it says so.
func (c Silenced) Who() string {
	if c.Verified || c.Caller == Anonymous {
		return c.Caller
	}
	return c.Caller + " (not verified)"
}

// maxSilenced bounds the calls kept for one recipient; see addCall for which go (ours:
// nobody reads more, and a stranger must not fill the disk).
const maxSilenced = 500

// loadUntold reads who has calls that they were not told of.
func (s *Store) loadUntold(ctx context.Context) error {
	return s.rows(ctx, "SELECT DISTINCT recipient FROM silenced WHERE notified = 0", func(r *sql.Rows) error {
		var text string
		if err := r.Scan(&text); err != nil {
			return err
		}
		if a, err := aor.Parse(text); err == nil {
			s.additions++
			s.untold[a] = s.additions
		}
		return nil
	})
}

// Untold lists who may have calls that they were not told of.
func (s *Store) Untold() []aor.AOR {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Keys(s.untold))
}

// ListSilenced returns a user's silenced calls, newest first.
func (s *Store) ListSilenced(a aor.AOR, limit int) ([]Silenced, error) {
	return s.silenced("WHERE recipient = ? ORDER BY id DESC LIMIT ?", a, a.String(), limit)
}

// PendingNotices returns the calls that a user was not told of, oldest first.
// It is asked at each registration: for users without such calls, which are
// nearly all, the copy in memory knows.
func (s *Store) PendingNotices(a aor.AOR) ([]Silenced, error) {
	s.mu.RLock()
	addition, some := s.untold[a]
	s.mu.RUnlock()
	if !some {
		return nil, nil
	}
	all, err := s.silenced("WHERE recipient = ? AND notified = 0 ORDER BY id", a, a.String())
	if err == nil && len(all) == 0 {
		s.mu.Lock()
		if s.untold[a] == addition { // none was added since
			delete(s.untold, a)
		}
		s.mu.Unlock()
	}
	return all, err
}

func (s *Store) silenced(where string, a aor.AOR, args ...any) ([]Silenced, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	var all []Silenced
	const query = "SELECT id, caller, verified, at, media, reason, notified <> 0 FROM silenced "
	err := s.rows(ctx, query+where, func(r *sql.Rows) error {
		c := Silenced{Recipient: a}
		var at int64
		if err := r.Scan(&c.ID, &c.Caller, &c.Verified, &at, &c.Media, &c.Reason, &c.Notified); err != nil {
			return err
		}
		c.At = time.Unix(at, 0)
		all = append(all, c)
		return nil
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("reading silenced calls: %w", unavailable(err))
	}
	return all, nil
}

// MarkNotified notes that a recipient was told of these calls, and when.
func (s *Store) MarkNotified(ids []int64, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{at.Unix()}
	for _, id := range ids {
		args = append(args, id)
	}
	return s.exec("UPDATE silenced SET notified = ? WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
}

// A Telling is one notice of the past: who was told, when, and of which calls.
type Telling struct {
	Recipient aor.AOR
	At        time.Time
	Calls     []Silenced // Caller and Verified of each
}

// Tellings are the notices since a time, oldest first.
func (s *Store) Tellings(since time.Time) ([]Telling, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	var all []Telling
	const query = "SELECT recipient, notified, caller, verified FROM silenced " +
		"WHERE notified > ? ORDER BY notified, recipient"
	err := s.rows(ctx, query, func(r *sql.Rows) error {
		var (
			text string
			at   int64
			c    Silenced
		)
		if err := r.Scan(&text, &at, &c.Caller, &c.Verified); err != nil {
			return err
		}
		to, err := aor.Parse(text)
		if err != nil {
			return err
		}
		if n := len(all); n == 0 || all[n-1].Recipient != to || all[n-1].At.Unix() != at {
			all = append(all, Telling{Recipient: to, At: time.Unix(at, 0)})
		}
		last := &all[len(all)-1]
		last.Calls = append(last.Calls, c)
		return nil
	}, max(since.Unix(), 1)) // 1 is a call that is not to be told of
	if err != nil {
		return nil, fmt.Errorf("reading notices: %w", unavailable(err))
	}
	return all, nil
}
