// Package store keeps what must never be lost: users, settings, keys,
// revocations, silenced calls (design §7). It is one SQLite file; what a call
// needs is read from a copy in memory, so that no call waits for a disk.
//
// Every write goes to the file first and to the copy when the file has it: a
// full disk or a locked file fails the write with ErrUnavailable and changes
// nothing, and reading goes on.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"

	"sotto/internal/aor"
)

// ErrUnavailable is the error of a write that the database does not take now.
var ErrUnavailable = errors.New("the database does not take writes now (full disk, or locked by another program)")

// ErrNotFound and ErrExists are the errors of what is not there, or is.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
)

// Store is an open store. Safe for concurrent use.
type Store struct {
	db  *sql.DB
	log *slog.Logger

	writing sync.Mutex   // held by a writer from its first look to its last change
	mu      sync.RWMutex // the copy in memory; a writer takes it for the change alone, not while it waits for the disk
	users   map[aor.AOR]*entry
	dayKeys map[int64][]byte // day → key of the recent-call hashes
	recent  map[string]int64 // hash → day
	// untold are users who may have silenced calls that they were not told of,
	// with the number of the last addition.
	untold    map[aor.AOR]uint64
	additions uint64
}

// entry is all that a call needs of one user.
type entry struct {
	user     User
	settings Settings
	keys     []Key
	blocks   map[string]bool
	revoked  map[[8]byte]time.Time
	uses     map[[8]byte]use
}

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens the store at path, makes it if it is not there, and brings an
// older one up to date.
func Open(ctx context.Context, path string, log *slog.Logger) (*Store, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	dsn := (&url.URL{Scheme: "file", Opaque: path, RawQuery: url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(2000)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one writer; what is hot is read from memory
	s := &Store{
		db: db, log: log, users: map[aor.AOR]*entry{}, dayKeys: map[int64][]byte{}, recent: map[string]int64{},
		untold: map[aor.AOR]uint64{},
	}
	if err := s.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("bringing %s up to date: %w", path, err)
	}
	if err := s.load(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return s, nil
}

// private makes the file with rights for its owner only, and takes those of
// others away from one that was put there, as a backup is.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening store: %w", err)
	}
	for _, ext := range []string{"", "-wal", "-shm"} {
		if st, err := os.Stat(path + ext); err == nil && st.Mode().Perm()&0o077 != 0 {
			_ = os.Chmod(path+ext, 0o600) // another user's: sotto doctor says so
		}
	}
	return f.Close()
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }

// migrate runs the migrations that the file has not seen, each in a
// transaction, and refuses a file from the future.
func (s *Store) migrate(ctx context.Context) error {
	var have int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("written by a newer version of sotto (schema %d, this one knows %d)", have, len(files))
	}
	for i := have; i < len(files); i++ {
		text, err := migrations.ReadFile("migrations/" + files[i].Name())
		if err != nil {
			return err
		}
		err = s.tx(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", i+1))
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", files[i].Name(), err)
		}
	}
	return nil
}

// tx runs do in a transaction.
func (s *Store) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// change changes the copy in memory. The caller holds writing.
func (s *Store) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// exec runs one write. What the database does not take now is ErrUnavailable.
func (s *Store) exec(query string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, args...)
	return unavailable(err)
}

// write runs several writes, all or none, like exec.
func (s *Store) write(do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return unavailable(s.tx(ctx, func(tx *sql.Tx) error { return do(ctx, tx) }))
}

// unavailable marks an error that may go away by itself. A constraint does not:
// the user, for example, was deleted meanwhile.
func unavailable(err error) error {
	if err == nil || isConstraint(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isConstraint says that the tables themselves refuse a write.
func isConstraint(err error) bool {
	const constraint = 19 // SQLITE_CONSTRAINT; the upper bits say which
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == constraint
}

// writeTimeout bounds how long a write may wait for the disk (ours).
const writeTimeout = 3 * time.Second

// rows reads all rows of a query.
func (s *Store) rows(ctx context.Context, query string, each func(*sql.Rows) error, args ...any) error {
	r, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := each(r); err != nil {
			return err
		}
	}
	return r.Err()
}
