// Package location is the location service of RFC 3261 §10: which devices an
// address of record has now, and over which flow each is reached (RFC 5626).
// All of it is in memory; a snapshot carries it over a restart.
package location

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"sotto/internal/aor"
)

// Flow names the connection that a binding was made over. A UDP flow has ID
// 0; the ID of a connection means nothing after a restart.
type Flow struct {
	Transport   string
	Local, Peer netip.AddrPort
	ID          uint64
}

// Binding is one device of an address of record.
type Binding struct {
	ID       uint64 // stable: the same device has the same ID when it registers again
	AOR      aor.AOR
	Contact  string // URI
	Instance string // +sip.instance (RFC 5626 §4.1); "" without
	RegID    int    // RFC 5626 §4.2; 0 without
	Q        float32
	CallID   string
	CSeq     uint32
	Expires  time.Time
	Path     []string // RFC 3327, topmost first
	Flow     Flow
	NAT      bool // the device does not know its own address
}

// Change adds or refreshes a binding, or removes it.
type Change struct {
	Binding Binding
	Remove  bool
}

// Errors that the registrar answers differently.
var (
	ErrOutOfOrder = errors.New("older than the registration held")
	ErrTooMany    = errors.New("too many bindings")
)

// Limits bound the table. Zeros are the defaults.
type Limits struct {
	PerAOR int // default 10: a person's devices
	Total  int // default 1,000,000: about 1 GB
}

// Table is a location service. Safe for concurrent use; it hands out copies.
type Table struct {
	limits Limits
	mu     sync.RWMutex
	byAOR  map[aor.AOR][]Binding
	byID   map[uint64]aor.AOR
	byFlow map[Flow]uint64
}

// New makes an empty table.
func New(l Limits) *Table {
	l.PerAOR, l.Total = cmp.Or(l.PerAOR, 10), cmp.Or(l.Total, 1_000_000)
	return &Table{
		limits: l, byAOR: map[aor.AOR][]Binding{}, byID: map[uint64]aor.AOR{}, byFlow: map[Flow]uint64{},
	}
}

// idOf identifies a device: by its instance and reg-id (RFC 5626 §6), else by
// its contact.
func idOf(b Binding) uint64 {
	h := fnv.New64a()
	key := b.AOR.String() + "\x00" + b.Contact
	if b.Instance != "" {
		key = b.AOR.String() + "\x00" + b.Instance + "\x00" + strconv.Itoa(b.RegID)
	}
	_, _ = h.Write([]byte(key)) // never fails
	return max(h.Sum64(), 1)
}

// Update carries out the changes of one REGISTER, all or none (RFC 3261
// §10.3 steps 6 and 7), and returns the bindings that hold after it.
func (t *Table) Update(a aor.AOR, callID string, cseq uint32, all []Change, now time.Time) ([]Binding, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := slices.Clone(t.byAOR[a])
	for _, c := range all {
		c.Binding.ID = idOf(c.Binding)
		i := slices.IndexFunc(next, func(b Binding) bool { return b.ID == c.Binding.ID })
		switch {
		case i >= 0 && next[i].CallID == callID && next[i].CSeq >= cseq && now.Before(next[i].Expires):
			return nil, ErrOutOfOrder
		case i >= 0 && c.Remove:
			next = slices.Delete(next, i, i+1)
		case i >= 0:
			next[i] = c.Binding
		case !c.Remove:
			next = append(next, c.Binding)
		}
	}
	next = slices.DeleteFunc(next, func(b Binding) bool { return !now.Before(b.Expires) })
	if len(next) > t.limits.PerAOR || len(t.byID)+len(next)-len(t.byAOR[a]) > t.limits.Total {
		return nil, ErrTooMany
	}
	t.set(a, next)
	return ordered(next, now), nil
}

// RemoveAll is "Contact: *" (§10.3 step 6).
func (t *Table) RemoveAll(a aor.AOR, callID string, cseq uint32, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.byAOR[a] {
		if b.CallID == callID && b.CSeq >= cseq && now.Before(b.Expires) {
			return ErrOutOfOrder
		}
	}
	t.set(a, nil)
	return nil
}

// set replaces the bindings of a and keeps the indexes in step.
func (t *Table) set(a aor.AOR, next []Binding) {
	for _, b := range t.byAOR[a] {
		delete(t.byID, b.ID)
		delete(t.byFlow, b.Flow)
	}
	delete(t.byAOR, a)
	if len(next) == 0 {
		return
	}
	t.byAOR[a] = next
	for _, b := range next {
		t.byID[b.ID] = a
		t.byFlow[b.Flow] = b.ID
	}
}

// Bindings returns the bindings of a that have not expired, preferred first.
func (t *Table) Bindings(a aor.AOR, now time.Time) []Binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return ordered(t.byAOR[a], now)
}

// ordered copies what has not expired, by descending q.
func ordered(all []Binding, now time.Time) []Binding {
	out := make([]Binding, 0, len(all))
	for _, b := range all {
		if now.Before(b.Expires) {
			b.Path = slices.Clone(b.Path)
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(a, b Binding) int { return cmp.Compare(b.Q, a.Q) })
	return out
}

// ByID finds a binding by its ID.
func (t *Table) ByID(id uint64) (Binding, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, b := range t.byAOR[t.byID[id]] {
		if b.ID == id {
			return b, true
		}
	}
	return Binding{}, false
}

// ByFlow returns the ID of the binding that was made over f, 0 without.
func (t *Table) ByFlow(f Flow) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byFlow[f]
}

// FlowClosed removes the bindings of a connection that has ended: nothing
// reaches the device until it registers again (RFC 5626 §5.3).
func (t *Table) FlowClosed(f Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.byID[t.byFlow[f]]
	if !ok {
		return
	}
	t.set(a, slices.DeleteFunc(slices.Clone(t.byAOR[a]), func(b Binding) bool { return b.Flow == f }))
}

// Expire forgets bindings whose time is over.
func (t *Table) Expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, all := range t.byAOR {
		if slices.ContainsFunc(all, func(b Binding) bool { return !now.Before(b.Expires) }) {
			t.set(a, slices.DeleteFunc(slices.Clone(all), func(b Binding) bool { return !now.Before(b.Expires) }))
		}
	}
}

// Len is the number of bindings.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID)
}

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
		next[a] = append(next[a], s.Binding)
	}
	for a, bs := range next {
		t.set(a, bs)
	}
	return nil
}
