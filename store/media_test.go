package store

import (
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"
)

// Media sessions are found again after a restart, and no longer once they ended.
func TestMediaSessionsAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sotto.db")
	for _, step := range []struct {
		change map[uint64][]byte
		want   map[uint64]string
	}{
		{nil, map[uint64]string{}},
		{
			map[uint64][]byte{1: []byte("one"), 1<<64 - 1: []byte("last"), 3: nil},
			map[uint64]string{1: "one", 1<<64 - 1: "last"},
		},
		{map[uint64][]byte{1: []byte("changed"), 1<<64 - 1: nil}, map[uint64]string{1: "changed"}},
	} {
		reopened(t, path, func(s *Store) error { return s.KeepMedia(step.change) })
		var got map[uint64][]byte
		reopened(t, path, func(s *Store) (err error) {
			got, err = s.Media()
			return err
		})
		texts := map[uint64]string{}
		for id, text := range got {
			texts[id] = string(text)
		}
		if !maps.Equal(texts, step.want) {
			t.Errorf("after %v: %v, want %v", step.change, texts, step.want)
		}
	}
}

// reopened opens a store, does something with it, and closes it.
func reopened(t *testing.T, path string, do func(*Store) error) {
	t.Helper()
	s, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(s), s.Close()); err != nil {
		t.Fatal(err)
	}
}
