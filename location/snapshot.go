package location

import (
	"encoding/json"
	"fmt"
	"time"

	"sotto/internal/aor"
)

// saved is a binding as a snapshot has it.
type saved struct {
	Binding
	AOR string
}

// Snapshot writes all bindings down.
func (t *Table) Snapshot() []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]saved, 0, len(t.byID))
	for a, bs := range t.byAOR {
		for _, b := range bs {
			all = append(all, saved{b, a.String()})
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil // only types that JSON cannot write fail
	}
	return raw
}

// Restore reads a snapshot into an empty table; an empty one is no error.
// Bindings over connections are restored too: the phone comes back over a new
// one, and meanwhile counts as registered but out of reach.
func (t *Table) Restore(raw []byte, now time.Time) error {
	if len(raw) == 0 {
		return nil
	}
	var all []saved
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[aor.AOR][]Binding{}
	for _, s := range all {
		a, err := aor.Parse(s.AOR)
		if err != nil || !now.Before(s.Expires) {
			continue
		}
		s.Binding.AOR = a
		if s.ID == 0 {
			s.ID = idOf(s.Binding)
		}
		next[a] = append(next[a], s.Binding)
	}
	for a, bs := range next {
		t.set(a, bs)
	}
	return nil
}
