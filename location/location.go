// Package location is the location service of RFC 3261 §10: which devices an
// address of record has now, and over which flow each is reached (RFC 5626).
// All of it is in memory; a snapshot carries it over a restart.
package location

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
	byFlow map[Flow][]uint64 // a phone with several accounts has one connection for all
	byPeer map[netip.AddrPort]int
	edits  uint64
}

// New makes an empty table.
func New(l Limits) *Table {
	l.PerAOR, l.Total = cmp.Or(l.PerAOR, 10), cmp.Or(l.Total, 1_000_000)
	return &Table{
		limits: l, byAOR: map[aor.AOR][]Binding{}, byID: map[uint64]aor.AOR{}, byFlow: map[Flow][]uint64{},
		byPeer: map[netip.AddrPort]int{},
	}
}

// idOf identifies a device: by its instance and reg-id (RFC 5626 §6), else by
// its contact. The hash is one that nobody can aim: requests within a dialog
// find their device by it, and its text is a phone's to choose.
func idOf(b Binding) uint64 {
	if b.Instance != "" {
		return hashed(b.AOR, "instance", strconv.Itoa(b.RegID), b.Instance)
	}
	return hashed(b.AOR, "contact", b.Contact)
}

func hashed(a aor.AOR, what ...string) uint64 {
	sum := sha256.Sum256([]byte(a.String() + "\x00" + strings.Join(what, "\x00")))
	return max(binary.BigEndian.Uint64(sum[:8]), 1)
}

// Update carries out the changes of one REGISTER, all or none (RFC 3261
// §10.3 steps 6 and 7), and returns the bindings that hold after it.
func (t *Table) Update(a aor.AOR, callID string, cseq uint32, all []Change, now time.Time) ([]Binding, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.byAOR[a]
	next := slices.Clone(held)
	alone := only(all)
	for _, c := range all {
		b := c.Binding
		b.AOR, b.Path = a, slices.Clone(b.Path)
		same := func(o Binding) bool { return b.sameContact(o) || alone && !c.Remove && b.moved(o) }
		if i := slices.IndexFunc(held, same); i >= 0 && held[i].older(callID, cseq, now) {
			return nil, ErrOutOfOrder
		}
		b.ID = idIn(next, b, same)
		next = slices.DeleteFunc(next, same)
		if !c.Remove {
			next = append(next, b)
		}
	}
	next = slices.DeleteFunc(next, func(b Binding) bool { return !now.Before(b.Expires) })
	if len(next) > t.limits.PerAOR || len(t.byID)+len(next)-len(t.byAOR[a]) > t.limits.Total {
		return nil, ErrTooMany
	}
	t.set(a, next)
	return ordered(next, now), nil
}

// sameContact says that b is what RFC 3261 §10.3 step 7 and RFC 5626 §6 take
// for the same binding as o.
func (b Binding) sameContact(o Binding) bool {
	if b.Instance != "" || o.Instance != "" {
		return b.Instance == o.Instance && b.RegID == o.RegID
	}
	return b.Contact == o.Contact
}

// moved says that b is o at another address. A phone registers with one
// Call-ID as long as it runs (RFC 3261 §10.2), so that a contact of the same
// Call-ID and user part is the phone that has learnt its public address or
// connected anew, and would ring twice if the old contact stayed until it
// expires. Contacts registered together are another matter.
func (b Binding) moved(o Binding) bool {
	user := userOf(b.Contact)
	return b.Instance == "" && o.Instance == "" && b.CallID == o.CallID && user != "" && user == userOf(o.Contact)
}

// userOf is the scheme and user part of a contact, "" without.
func userOf(contact string) string {
	user, _, ok := strings.Cut(contact, "@")
	if !ok {
		return ""
	}
	return user
}

// idIn is the ID of b: that of the binding it takes the place of, so that
// running calls find their phone; else one that none in all has.
func idIn(all []Binding, b Binding, same func(Binding) bool) uint64 {
	if i := slices.IndexFunc(all, same); i >= 0 {
		return all[i].ID
	}
	id := idOf(b)
	for slices.ContainsFunc(all, func(o Binding) bool { return o.ID == id }) {
		id++
	}
	return id
}

// only says that one contact is registered, whatever is removed beside it.
func only(all []Change) bool {
	n := 0
	for _, c := range all {
		if !c.Remove {
			n++
		}
	}
	return n == 1
}

// older says that a request of this number came before b, or is b's own.
func (b Binding) older(callID string, cseq uint32, now time.Time) bool {
	return b.CallID == callID && b.CSeq >= cseq && now.Before(b.Expires)
}

// RemoveAll is "Contact: *" (§10.3 step 6).
func (t *Table) RemoveAll(a aor.AOR, callID string, cseq uint32, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.byAOR[a] {
		if b.older(callID, cseq, now) {
			return ErrOutOfOrder
		}
	}
	t.set(a, nil)
	return nil
}

// set replaces the bindings of a and keeps the indexes in step.
func (t *Table) set(a aor.AOR, next []Binding) {
	t.edits++
	for _, b := range t.byAOR[a] {
		delete(t.byID, b.ID)
		t.leave(b)
		if t.byPeer[b.Flow.Peer]--; t.byPeer[b.Flow.Peer] == 0 {
			delete(t.byPeer, b.Flow.Peer)
		}
	}
	delete(t.byAOR, a)
	if len(next) == 0 {
		return
	}
	t.byAOR[a] = next
	for _, b := range next {
		t.byID[b.ID] = a
		t.byFlow[b.Flow] = append(t.byFlow[b.Flow], b.ID)
		t.byPeer[b.Flow.Peer]++
	}
}

// leave takes a binding from those of its flow.
func (t *Table) leave(b Binding) {
	ids := t.byFlow[b.Flow]
	i := slices.Index(ids, b.ID)
	switch {
	case i < 0:
	case len(ids) == 1:
		delete(t.byFlow, b.Flow)
	default:
		t.byFlow[b.Flow] = slices.Delete(ids, i, i+1)
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
			b.Path = slices.Clone(b.Path)
			return b, true
		}
	}
	return Binding{}, false
}

// ByFlow returns the ID of the newest binding that was made over f, 0 without.
func (t *Table) ByFlow(f Flow) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if ids := t.byFlow[f]; len(ids) > 0 {
		return ids[len(ids)-1]
	}
	return 0
}

// DeviceAt says that a device has registered from an address and port.
func (t *Table) DeviceAt(at netip.AddrPort) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byPeer[at] > 0
}

// FlowClosed removes the bindings of a connection that has ended, whosever
// they are: nothing reaches the device until it registers again (RFC 5626 §5.3).
// stays, if not nil, says for which bindings that is not so.
func (t *Table) FlowClosed(f Flow, stays func(Binding) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := t.byFlow[f]
	delete(t.byFlow, f) // at once: of a PBX it has thousands
	gone := func(b Binding) bool { return b.Flow == f && (stays == nil || !stays(b)) }
	for _, id := range ids {
		a := t.byID[id]
		if all := t.byAOR[a]; slices.ContainsFunc(all, gone) {
			t.set(a, slices.DeleteFunc(slices.Clone(all), gone))
		}
	}
	delete(t.byFlow, f) // nothing comes over it any more
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

// Edits counts the changes: a snapshot made at the same count is the same.
func (t *Table) Edits() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.edits
}

// Len is the number of bindings.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID)
}
