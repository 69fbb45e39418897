package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sotto/internal/aor"
)

// maxBlocks bounds a user's block list (ours).
const maxBlocks = 1000

func (s *Store) loadBlocks(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, caller FROM block", func(r *sql.Rows) error {
		var a, caller string
		if err := r.Scan(&a, &caller); err != nil {
			return err
		}
		if e := s.byText(a); e != nil {
			e.blocks[caller] = true
		}
		return nil
	})
}

// blockText is the canonical form of whom to block: an address of record, or
// "@domain" for everybody there.
func blockText(caller string) (string, error) {
	if domain, ok := strings.CutPrefix(strings.TrimSpace(caller), "@"); ok {
		a, err := aor.New("x", domain)
		if err != nil {
			return "", err
		}
		return "@" + a.Host(), nil
	}
	a, err := aor.Parse(caller)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// Blocked says whether a recipient blocked a caller.
func (s *Store) Blocked(recipient, caller aor.AOR) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[recipient]
	return e != nil && !caller.IsZero() && (e.blocks[caller.String()] || e.blocks["@"+caller.Host()])
}

// Block adds a caller, or "@domain", to a user's block list.
func (s *Store) Block(a aor.AOR, caller string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	text, err := blockText(caller)
	switch {
	case e == nil:
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	case err != nil:
		return err
	case len(e.blocks) >= maxBlocks:
		return errors.New("the block list is full; block a whole domain as @example.org, or silence strangers")
	}
	if err := s.exec("INSERT OR IGNORE INTO block (aor, caller) VALUES (?, ?)", a.String(), text); err != nil {
		return err
	}
	s.change(func() { e.blocks[text] = true })
	return nil
}

// Unblock removes a caller from a user's block list.
func (s *Store) Unblock(a aor.AOR, caller string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	text, err := blockText(caller)
	switch {
	case e == nil:
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	case err != nil:
		return err
	case !e.blocks[text]:
		return fmt.Errorf("%s: %w", text, ErrNotFound)
	}
	if err := s.exec("DELETE FROM block WHERE aor = ? AND caller = ?", a.String(), text); err != nil {
		return err
	}
	s.change(func() { delete(e.blocks, text) })
	return nil
}

// Blocks lists whom a user blocks.
func (s *Store) Blocks(a aor.AOR) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil, fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	all := make([]string, 0, len(e.blocks))
	for b := range e.blocks {
		all = append(all, b)
	}
	slices.Sort(all)
	return all, nil
}
