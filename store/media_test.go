package store

import (
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
		s, err := Open(t.Context(), path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.KeepMedia(step.change); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(t.Context(), path, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Media()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		texts := map[uint64]string{}
		for id, text := range got {
			texts[id] = string(text)
		}
		if !maps.Equal(texts, step.want) {
			t.Errorf("after %v: %v, want %v", step.change, texts, step.want)
		}
	}
}
