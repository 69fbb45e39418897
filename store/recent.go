package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"time"

	"sotto/internal/aor"
)

// Who called or messaged whom lately is kept only as hashes, each with the
// random key of its day. A copied file yields a pair only to who guesses it,
// and nothing once the day is deleted (design §5, rule 4).

// today is the number of a day.
func today() int64 { return time.Now().Unix() / 86400 }

func (s *Store) loadRecent(ctx context.Context) error {
	if err := s.exec("DELETE FROM day_key WHERE day < ?", today()-maxRecentDays); err != nil {
		s.log.Warn("old recent-call hashes not deleted", "err", err)
	}
	err := s.rows(ctx, "SELECT day, key FROM day_key", func(r *sql.Rows) error {
		var (
			day int64
			key []byte
		)
		err := r.Scan(&day, &key)
		s.change(func() { s.dayKeys[day] = key })
		return err
	})
	if err != nil {
		return err
	}
	return s.rows(ctx, "SELECT hash, day FROM recent", func(r *sql.Rows) error {
		var (
			hash []byte
			day  int64
		)
		err := r.Scan(&hash, &day)
		s.recent[string(hash)] = day
		return err
	})
}

// pairHash is the hash of a pair on a day.
func pairHash(key []byte, owner, other aor.AOR) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(owner.String() + "\x00" + other.String()))
	return string(h.Sum(nil)[:16])
}

const insertRecent = "INSERT OR IGNORE INTO recent (hash, day) VALUES (?, ?)"

// Remember notes that owner turned to other today.
func (s *Store) Remember(owner, other aor.AOR) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	day := today()
	key, err := s.dayKey(day)
	if err != nil {
		return err
	}
	h := pairHash(key, owner, other)
	if _, ok := s.recent[h]; ok {
		return nil
	}
	if err := s.exec(insertRecent, []byte(h), day); err != nil {
		return err
	}
	s.change(func() { s.recent[h] = day })
	return nil
}

// dayKey is the key of a day, made when it is first needed; then the days
// that nobody may ask for any more are forgotten with their keys.
func (s *Store) dayKey(day int64) ([]byte, error) {
	if key := s.dayKeys[day]; key != nil {
		return key, nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	if err := s.exec("INSERT INTO day_key (day, key) VALUES (?, ?)", day, key); err != nil {
		return nil, err
	}
	s.change(func() { s.dayKeys[day] = key })
	return key, s.forgetDays(day - maxRecentDays)
}

// forgetDays deletes the days before first.
func (s *Store) forgetDays(first int64) error {
	if err := s.exec("DELETE FROM day_key WHERE day < ?", first); err != nil {
		return err
	}
	s.change(func() {
		maps.DeleteFunc(s.recent, func(_ string, day int64) bool { return day < first })
		maps.DeleteFunc(s.dayKeys, func(day int64, _ []byte) bool { return day < first })
	})
	return nil
}

// Recent says whether owner turned to other within so many days. It hashes as
// often whatever owner has set, and whoever that is: other, who may be a
// stranger, must not learn it by the time that it takes.
func (s *Store) Recent(owner, other aor.AOR, days int) bool {
	if other.IsZero() {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	first, found := today()-int64(days), false
	for day, key := range s.dayKeys {
		_, there := s.recent[pairHash(key, owner, other)]
		found = found || there && day > first
	}
	return found
}
