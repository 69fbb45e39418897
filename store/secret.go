package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Secret returns a secret of the server of n bytes and the one before it,
// which is nil if there was none. It is made when it is first asked for; there
// is no default.
func (s *Store) Secret(name string, n int) (current, previous []byte, err error) {
	if current, err = s.secret(name, 0); err != nil {
		return nil, nil, err
	}
	if current == nil {
		if current, err = random(n); err != nil {
			return nil, nil, err
		}
		err = s.exec("INSERT INTO secret (name, age, value, created) VALUES (?, 0, ?, ?)",
			name, current, time.Now().Unix())
		if err != nil {
			return nil, nil, err
		}
	}
	previous, err = s.secret(name, 1)
	return current, previous, err
}

// Rotate makes a new secret; the current one becomes the one before it.
func (s *Store) Rotate(name string) error {
	current, err := s.secret(name, 0)
	if err != nil || current == nil {
		return errors.Join(err, fmt.Errorf("secret %s: %w", name, ErrNotFound))
	}
	next, err := random(len(current))
	if err != nil {
		return err
	}
	return s.write(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO secret (name, age, value, created) "+
			"SELECT name, 1, value, created FROM secret WHERE name = ? AND age = 0", name)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE secret SET value = ?, created = ? WHERE name = ? AND age = 0",
			next, time.Now().Unix(), name)
		return err
	})
}

// SecretMade is when the current secret of that name was made, to the second;
// long ago where that is not known. There must be one.
func (s *Store) SecretMade(name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	var made int64
	err := s.db.QueryRowContext(ctx, "SELECT created FROM secret WHERE name = ? AND age = 0", name).Scan(&made)
	if err != nil {
		return time.Time{}, fmt.Errorf("secret %s: %w", name, err)
	}
	return time.Unix(made, 0), nil
}

func (s *Store) secret(name string, age int) ([]byte, error) {
	return s.blob("SELECT value FROM secret WHERE name = ? AND age = ?", name, age)
}

// blob reads one value, nil if there is none.
func (s *Store) blob(query string, args ...any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	var b []byte
	err := s.db.QueryRowContext(ctx, query, args...).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

func random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("making secret: %w", err)
	}
	return b, nil
}

// Snapshot returns what SaveSnapshot kept, nil without.
func (s *Store) Snapshot(kind string) ([]byte, error) {
	return s.blob("SELECT value FROM snapshot WHERE kind = ?", kind)
}

// SaveSnapshot keeps the state of something that heals by itself, so that it
// need not after a restart.
func (s *Store) SaveSnapshot(kind string, value []byte) error {
	err := s.exec("INSERT INTO snapshot (kind, value) VALUES (?, ?) "+
		"ON CONFLICT (kind) DO UPDATE SET value = excluded.value", kind, value)
	return err
}
