package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"sotto/internal/aor"
)

// A Note is what is kept of a stranger's call: that the caller turned to
// somebody, who may call back, and that it was silenced.
type Note struct {
	From, To aor.AOR // who turned to whom; zero: that is not kept
	Silenced Silenced
	Decoy    bool // the call was not silenced, or there is nobody to tell of it
}

// Note writes notes of calls and returns how many are written: a group of them
// after the other, each in a transaction of its own, until the disk does not take
// one. Whatever is kept of a call, if anything, the disk has as much to do. What
// is of users who are no more is left out.
func (s *Store) Note(notes []Note) (written int, err error) {
	for group := range slices.Chunk(notes, notesAtOnce) {
		if err := s.noteGroup(group); err != nil {
			return written, err
		}
		written += len(group)
	}
	return written, nil
}

// notesAtOnce bounds a transaction, which must end within writeTimeout and for
// which all other writes wait (ours: some 10 ms on an idle machine).
const notesAtOnce = 128

// noteGroup writes some notes, all or none.
func (s *Store) noteGroup(notes []Note) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	day := today()
	key, err := s.dayKey(day)
	if err != nil {
		return err
	}
	hashes := s.newPairs(key, notes)
	var kept []Silenced
	err = s.write(func(ctx context.Context, tx *sql.Tx) (err error) {
		for h := range hashes {
			if _, err = tx.ExecContext(ctx, insertRecent, []byte(h), day); err != nil {
				return err
			}
		}
		kept, err = addSilenced(ctx, tx, notes)
		return err
	})
	if err != nil {
		return err
	}
	s.change(func() {
		for h := range hashes {
			s.recent[h] = day
		}
		for _, c := range kept {
			if !c.Notified {
				s.additions++
				s.untold[c.Recipient] = s.additions
			}
		}
	})
	return nil
}

// newPairs are the hashes of who turned to whom, but for those that are there
// already. The caller holds writing.
func (s *Store) newPairs(key []byte, notes []Note) map[string]bool {
	hashes := map[string]bool{}
	for _, n := range notes {
		if h := pairHash(key, n.From, n.To); !n.From.IsZero() && s.recent[h] == 0 {
			hashes[h] = true
		}
	}
	return hashes
}

// addSilenced writes the silenced calls of notes, and decoys, and returns which were kept.
func addSilenced(ctx context.Context, tx *sql.Tx, notes []Note) (kept []Silenced, err error) {
	for _, n := range notes {
		if n.Decoy {
			err = addCall(ctx, tx, "decoy", n.Silenced, 0)
		} else if err = addCall(ctx, tx, "silenced", n.Silenced, maxSilenced); err == nil {
			kept = append(kept, n.Silenced)
		}
		if err != nil && !isConstraint(err) { // of a constraint: the user was deleted meanwhile
			return nil, err
		}
	}
	return kept, nil
}

// addCall writes a call into a table that keeps so many of each recipient. The oldest call goes
// of the caller who has most, all of whom nobody has checked being one: who calls without end
// makes nobody else's call disappear.
func addCall(ctx context.Context, tx *sql.Tx, table string, c Silenced, most int) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s "+
		"(recipient, caller, verified, at, media, reason, notified) VALUES (?, ?, ?, ?, ?, ?, ?)", table),
		c.Recipient.String(), c.Caller, c.Verified, c.At.Unix(), c.Media, c.Reason, c.Notified)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM %[1]s WHERE id = (SELECT min(id) FROM %[1]s "+
		"WHERE recipient = ?1 AND (SELECT count(*) FROM %[1]s WHERE recipient = ?1) > ?2 "+
		"GROUP BY CASE WHEN verified THEN caller ELSE '' END ORDER BY count(*) DESC, min(id) LIMIT 1)", table),
		c.Recipient.String(), most)
	return err
}
