package store

import (
	"context"
	"database/sql"
)

// KeepMedia keeps what has changed of the media sessions of calls under way,
// all of it or nothing; nil ends a session. What the text says is the media
// engine's business.
func (s *Store) KeepMedia(changes map[uint64][]byte) error {
	return s.write(func(ctx context.Context, tx *sql.Tx) error {
		for id, text := range changes {
			query, args := "DELETE FROM media WHERE session = ?", []any{int64(id)}
			if text != nil {
				query, args = "INSERT OR REPLACE INTO media (session, value) VALUES (?, ?)", []any{int64(id), text}
			}
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Media returns the media sessions that were kept.
func (s *Store) Media() (map[uint64][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	all := map[uint64][]byte{}
	err := s.rows(ctx, "SELECT session, value FROM media", func(r *sql.Rows) error {
		var (
			id   int64
			text []byte
		)
		if err := r.Scan(&id, &text); err != nil {
			return err
		}
		all[uint64(id)] = text
		return nil
	})
	return all, err
}
