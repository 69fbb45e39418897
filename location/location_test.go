package location

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/internal/aor"
)

// start is the present at the beginning of every test.
var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func who(t testing.TB, name string) aor.AOR {
	t.Helper()
	a, err := aor.Parse(name + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// over is a connection; of number 0 it is UDP.
func over(n int) Flow {
	f := Flow{Transport: "udp", Local: netip.MustParseAddrPort("192.0.2.1:5060"), ID: uint64(n)}
	f.Peer = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(40000+n))
	if n > 0 {
		f.Transport = "tls"
	}
	return f
}

// bind is a contact that lasts a minute from start.
func bind(contact string, change ...func(*Binding)) Change {
	b := Binding{Contact: "sip:" + contact, Q: 1, CallID: "c1", CSeq: 1, Expires: at(60), Flow: over(1)}
	for _, f := range change {
		f(&b)
	}
	return Change{Binding: b}
}

func q(v float32) func(*Binding)   { return func(b *Binding) { b.Q = v } }
func until(s int) func(*Binding)   { return func(b *Binding) { b.Expires = at(s) } }
func cseq(n uint32) func(*Binding) { return func(b *Binding) { b.CSeq = n } }
func on(n int) func(*Binding)      { return func(b *Binding) { b.Flow = over(n) } }
func device(id string) func(*Binding) {
	return func(b *Binding) { b.Instance, b.RegID = id, 1 }
}

// contacts of a at a time, as one text.
func contacts(bs []Binding) string {
	var all []string
	for _, b := range bs {
		all = append(all, strings.TrimPrefix(b.Contact, "sip:"))
	}
	return strings.Join(all, " ")
}

// TestRegister is a life of one user's devices, REGISTER by REGISTER.
func TestRegister(t *testing.T) {
	tab, bob := New(Limits{}), who(t, "bob")
	for i, c := range []struct {
		name   string
		callID string
		cseq   uint32
		at     int
		all    []Change
		err    error
		want   string // after it
	}{
		{"first", "c1", 1, 0, []Change{bind("a")}, nil, "a"},
		{"the same again", "c1", 1, 1, []Change{bind("a")}, ErrOutOfOrder, "a"},
		{"older", "c1", 0, 1, []Change{bind("a")}, ErrOutOfOrder, "a"},
		{"newer", "c1", 2, 1, []Change{bind("a", cseq(2), until(100))}, nil, "a"},
		{"older of another dialog", "c2", 1, 1, []Change{bind("a", cseq(1), until(100))}, nil, "a"},
		{"two at once", "c3", 1, 2, []Change{bind("b", q(0.5)), bind("c", q(0.7))}, nil, "a c b"},
		{"equal q: first come", "c3", 2, 2, []Change{bind("d", q(0.7)), bind("e")}, nil, "a e c d b"},
		{"one of two is older: none", "c3", 1, 3, []Change{bind("f"), {bind("b").Binding, true}}, ErrOutOfOrder, "a e c d b"},
		{"gone", "c3", 3, 3, []Change{{bind("e").Binding, true}}, nil, "a c d b"},
		{"gone again", "c3", 4, 3, []Change{{bind("e").Binding, true}}, nil, "a c d b"},
		{"twice in one", "c4", 1, 3, []Change{bind("e", q(0.1)), bind("e", q(0.2))}, nil, "a c d b e"},
		{"added and removed in one", "c5", 1, 3, []Change{bind("g"), {bind("g").Binding, true}}, nil, "a c d b e"},
		{"time passes", "c6", 1, 60, nil, nil, "a"},
		{"after its end an older number counts", "c1", 1, 61, []Change{bind("b", until(99))}, nil, "a b"},
		{"over already", "c7", 1, 62, []Change{bind("h", until(62))}, nil, "a b"},
	} {
		for j := range c.all {
			c.all[j].Binding.CallID, c.all[j].Binding.CSeq = c.callID, c.cseq
		}
		got, err := tab.Update(bob, c.callID, c.cseq, c.all, at(c.at))
		if !errors.Is(err, c.err) || err != nil && got != nil {
			t.Fatalf("%d %s: %v, %v", i, c.name, got, err)
		}
		if err == nil && contacts(got) != c.want {
			t.Errorf("%d %s: response has %q, want %q", i, c.name, contacts(got), c.want)
		}
		if now := contacts(tab.Bindings(bob, at(c.at))); now != c.want {
			t.Errorf("%d %s: %q, want %q", i, c.name, now, c.want)
		}
		consistent(t, tab)
	}
}

// TestRemoveAll is "Contact: *".
func TestRemoveAll(t *testing.T) {
	tab, bob, eve := New(Limits{}), who(t, "bob"), who(t, "eve")
	for _, a := range []aor.AOR{bob, eve} {
		if _, err := tab.Update(a, "c1", 5, []Change{bind("a", cseq(5)), bind("b", cseq(5))}, at(0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.RemoveAll(bob, "c1", 5, at(1)); !errors.Is(err, ErrOutOfOrder) || len(tab.Bindings(bob, at(1))) != 2 {
		t.Errorf("the number of the registration itself: %v", err)
	}
	if err := tab.RemoveAll(bob, "c2", 1, at(1)); err != nil || len(tab.Bindings(bob, at(1))) != 0 {
		t.Errorf("another dialog: %v", err)
	}
	if err := tab.RemoveAll(bob, "c2", 2, at(1)); err != nil {
		t.Errorf("nothing left: %v", err)
	}
	if err := tab.RemoveAll(eve, "c1", 5, at(60)); err != nil || tab.Len() != 0 {
		t.Errorf("expired ones are no order: %v", err)
	}
	consistent(t, tab)
}

// TestDevice: a device that has an instance is the same behind whatever
// address (RFC 5626 §6), one without is its contact, and nobody's is another's.
func TestDevice(t *testing.T) {
	tab, bob, eve := New(Limits{}), who(t, "bob"), who(t, "eve")
	update := func(a aor.AOR, n int, all ...Change) uint64 {
		t.Helper()
		bs, err := tab.Update(a, fmt.Sprint(n), 1, all, at(n))
		if err != nil {
			t.Fatal(err)
		}
		return bs[len(bs)-1].ID
	}
	home := update(bob, 1, bind("bob@192.168.0.2", device("uuid"), on(1)))
	moved := update(bob, 2, bind("bob@10.0.0.9", device("uuid"), on(2)))
	if b, ok := tab.ByID(home); home != moved || tab.Len() != 1 || !ok || b.Flow != over(2) || b.AOR != bob {
		t.Errorf("a device that moved has ID %x, then %x; %d bindings", home, moved, tab.Len())
	}
	if tab.ByFlow(over(1)) != 0 || tab.ByFlow(over(2)) != home {
		t.Error("the old connection still leads to it")
	}
	second := bind("bob@10.0.0.9", device("uuid"))
	second.Binding.RegID = 2
	if id := update(bob, 3, second); id == home {
		t.Error("two flows of one device are one (reg-id)")
	}
	if id := update(eve, 3, bind("bob@10.0.0.9", device("uuid"))); id == home {
		t.Error("another user has the device's ID")
	}
	for _, pair := range [][2]Binding{
		{{Instance: "x"}, {Contact: "x"}},
		{{Instance: "1", RegID: 11}, {Instance: "11", RegID: 1}},
		{{AOR: bob, Contact: "x"}, {AOR: eve, Contact: "x"}},
	} {
		if idOf(pair[0]) == idOf(pair[1]) {
			t.Errorf("%+v and %+v have one ID", pair[0], pair[1])
		}
	}
	if b, ok := tab.ByID(0); ok {
		t.Errorf("ID 0 is %v", b)
	}
}

// TestMoved: a phone without an instance ID that registers another contact of
// its own has one binding, and running calls find it.
func TestMoved(t *testing.T) {
	tab, bob := New(Limits{}), who(t, "bob")
	register := func(callID string, n uint32, want string, all ...Change) uint64 {
		t.Helper()
		for i := range all {
			all[i].Binding.CallID, all[i].Binding.CSeq = callID, n
		}
		bs, err := tab.Update(bob, callID, n, all, at(0))
		if err != nil {
			t.Fatal(err)
		}
		if got := contacts(bs); got != want {
			t.Fatalf("%s %d: bound are %q, not %q", callID, n, got, want)
		}
		consistent(t, tab)
		return bs[len(bs)-1].ID
	}
	gone := bind("bob@192.0.2.7:7000", on(2))
	gone.Remove = true
	first := register("phone", 1, "bob@10.0.0.2:5060", bind("bob@10.0.0.2:5060", on(1)))
	learnt := register("phone", 2, "bob@192.0.2.7:6000", bind("bob@192.0.2.7:6000", on(1)))
	again := register("phone", 3, "bob@10.0.0.2:5061", bind("bob@10.0.0.2:5061", on(2)))
	register("phone", 4, "bob@10.0.0.2:5061", gone)
	if learnt != first || again != first {
		t.Errorf("its IDs are %x, %x, %x", first, learnt, again)
	}
	if b, ok := tab.ByID(first); !ok || b.Flow != over(2) || tab.ByFlow(over(1)) != 0 {
		t.Errorf("calls find it on %v", b.Flow)
	}
	old := bind("bob@192.0.2.7:6000")
	old.Binding.CallID = "phone"
	if _, err := tab.Update(bob, "phone", 2, []Change{old}, at(0)); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("an old request for an old contact: %v", err)
	}

	register("desk", 1, "bob@10.0.0.2:5061 bob@10.0.0.3", bind("bob@10.0.0.3"))
	register("desk", 2, "bob@10.0.0.2:5061 bob@10.0.0.3 line2@10.0.0.3", bind("line2@10.0.0.3"))
	both := register("desk", 3, "bob@10.0.0.2:5061 line2@10.0.0.3 bob@10.0.0.3 bob@10.0.0.4",
		bind("bob@10.0.0.3"), bind("bob@10.0.0.4"))
	if both == first {
		t.Error("two phones have one ID")
	}
}

// TestMovedIDs: whoever registers what, an ID stays with one phone.
func TestMovedIDs(t *testing.T) {
	tab, bob := New(Limits{}), who(t, "bob")
	register := func(callID, contact string) uint64 {
		t.Helper()
		c := bind(contact)
		c.Binding.CallID, c.Binding.CSeq = callID, uint32(1+tab.Edits())
		bs, err := tab.Update(bob, callID, c.Binding.CSeq, []Change{c}, at(0))
		if err != nil {
			t.Fatal(err)
		}
		consistent(t, tab)
		return bs[len(bs)-1].ID
	}
	first := register("phone", "bob@10.0.0.2:5060")
	if register("phone", "bob@10.0.0.2:5061") != first {
		t.Error("a phone that moved is another one")
	}
	if register("phone, restarted", "bob@10.0.0.2:5061") != first {
		t.Error("a phone that was restarted is another one")
	}
	if register("phone", "bob@10.0.0.2:5060") == first || tab.Len() != 2 {
		t.Error("the ID of a phone is given to another")
	}
	saved := New(Limits{})
	if err := saved.Restore(tab.Snapshot(), at(0)); err != nil {
		t.Fatal(err)
	}
	if b, ok := saved.ByID(first); !ok || b.Contact != "sip:bob@10.0.0.2:5061" {
		t.Errorf("after a restart calls find %q", b.Contact)
	}
}

// TestAOR: whatever a change says, it is of the user who registers.
func TestAOR(t *testing.T) {
	tab, bob, eve := New(Limits{}), who(t, "bob"), who(t, "eve")
	c := bind("a")
	c.Binding.AOR = eve
	bs, err := tab.Update(bob, "c1", 1, []Change{c}, at(0))
	if err != nil || len(bs) != 1 || bs[0].AOR != bob {
		t.Errorf("%v, %v", bs, err)
	}
	consistent(t, tab)
}

// TestFlowClosed: with a connection go the bindings of every account that had
// registered over it, and no others.
func TestFlowClosed(t *testing.T) {
	tab := New(Limits{})
	for i, c := range []struct {
		user string
		all  []Change
	}{
		{"bob", []Change{bind("a", on(1)), bind("b", on(2))}},
		{"bobs-work", []Change{bind("a", on(1))}},
		{"eve", []Change{bind("c", on(3))}},
		{"carol", []Change{bind("d", on(1))}},
		{"carol", []Change{bind("d", on(4))}}, // is back over another before the first ends
	} {
		if _, err := tab.Update(who(t, c.user), fmt.Sprint(i), 1, c.all, at(0)); err != nil {
			t.Fatal(err)
		}
	}
	tab.FlowClosed(over(1), nil)
	for user, want := range map[string]string{"bob": "b", "bobs-work": "", "eve": "c", "carol": "d"} {
		if got := contacts(tab.Bindings(who(t, user), at(1))); got != want {
			t.Errorf("%s: %q, want %q", user, got, want)
		}
	}
	tab.FlowClosed(over(1), nil)
	tab.FlowClosed(over(9), nil)
	if tab.Len() != 3 || tab.ByFlow(over(1)) != 0 {
		t.Errorf("%d bindings", tab.Len())
	}
	consistent(t, tab)
}

// TestByFlow: of several accounts of one phone, the newest.
func TestByFlow(t *testing.T) {
	tab := New(Limits{})
	var last uint64
	for i, user := range []string{"bob", "eve", "bob"} {
		bs, err := tab.Update(who(t, user), fmt.Sprint(i), 1, []Change{bind("a")}, at(0))
		if err != nil {
			t.Fatal(err)
		}
		if last = bs[0].ID; tab.ByFlow(over(1)) != last {
			t.Errorf("after %s the flow leads to another", user)
		}
	}
	if err := tab.RemoveAll(who(t, "bob"), "x", 1, at(0)); err != nil {
		t.Fatal(err)
	}
	if b, ok := tab.ByID(tab.ByFlow(over(1))); !ok || b.AOR != who(t, "eve") || b.ID == last {
		t.Errorf("without bob the flow leads to %v", b)
	}
}

func TestExpire(t *testing.T) {
	tab, bob, eve := New(Limits{}), who(t, "bob"), who(t, "eve")
	for _, a := range []aor.AOR{bob, eve} {
		if _, err := tab.Update(a, "c", 1, []Change{bind("a", until(10)), bind("b", until(20))}, at(0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ at, seen, held int }{{9, 2, 4}, {10, 1, 2}, {19, 1, 2}, {20, 0, 0}} {
		if got := len(tab.Bindings(bob, at(c.at))); got != c.seen {
			t.Errorf("at %d: %d bindings, want %d", c.at, got, c.seen)
		}
		tab.Expire(at(c.at))
		if tab.Len() != c.held {
			t.Errorf("at %d: %d are held, want %d", c.at, tab.Len(), c.held)
		}
		consistent(t, tab)
	}
}

func TestLimits(t *testing.T) {
	tab, bob, eve := New(Limits{PerAOR: 2, Total: 3}), who(t, "bob"), who(t, "eve")
	for i, c := range []struct {
		a    aor.AOR
		at   int
		all  []Change
		err  error
		held int
	}{
		{bob, 0, []Change{bind("a"), bind("b")}, nil, 2},
		{bob, 0, []Change{bind("c")}, ErrTooMany, 2},
		{bob, 0, []Change{bind("c"), {bind("a").Binding, true}}, nil, 2}, // one goes, one comes
		{bob, 0, []Change{bind("b"), bind("c")}, nil, 2},                 // a refresh is none more
		{eve, 0, []Change{bind("a"), bind("b")}, ErrTooMany, 2},
		{eve, 0, []Change{bind("a")}, nil, 3},
		{eve, 0, []Change{bind("b")}, ErrTooMany, 3},
		{bob, 60, []Change{bind("x", until(100)), bind("y", until(100))}, nil, 3}, // the old ones are over
	} {
		if _, err := tab.Update(c.a, fmt.Sprint(i), 1, c.all, at(c.at)); !errors.Is(err, c.err) || tab.Len() != c.held {
			t.Errorf("%d: %v, %d held, want %v, %d", i, err, tab.Len(), c.err, c.held)
		}
		consistent(t, tab)
	}
	if l := New(Limits{}).limits; l.PerAOR != 10 || l.Total != 1_000_000 {
		t.Errorf("defaults are %+v", l)
	}
}

// TestCopies: who was handed a binding cannot change the table with it.
func TestCopies(t *testing.T) {
	tab, bob := New(Limits{}), who(t, "bob")
	path := []string{"<sip:p1;lr>"}
	given, err := tab.Update(bob, "c", 1, []Change{bind("a", func(b *Binding) { b.Path = path })}, at(0))
	if err != nil {
		t.Fatal(err)
	}
	byID, _ := tab.ByID(given[0].ID)
	for _, p := range [][]string{path, given[0].Path, tab.Bindings(bob, at(0))[0].Path, byID.Path} {
		p[0] = "changed"
	}
	if got := tab.Bindings(bob, at(0))[0].Path[0]; got != "<sip:p1;lr>" {
		t.Errorf("the path is %q now", got)
	}
}

// consistent checks that the indexes say what the bindings say.
func consistent(t *testing.T, tab *Table) {
	t.Helper()
	tab.mu.RLock()
	defer tab.mu.RUnlock()
	n := 0
	for a, bs := range tab.byAOR {
		if len(bs) == 0 {
			t.Errorf("%v has an empty list", a)
		}
		for _, b := range bs {
			n++
			if tab.byID[b.ID] != a || b.AOR != a || !slices.Contains(tab.byFlow[b.Flow], b.ID) {
				t.Errorf("%v: an index does not have %+v", a, b)
			}
		}
	}
	flows := 0
	for _, ids := range tab.byFlow {
		flows += len(ids)
	}
	if len(tab.byID) != n || flows != n {
		t.Errorf("%d bindings, %d by ID, %d by flow", n, len(tab.byID), flows)
	}
}

// BenchmarkBindings is what every call asks.
func BenchmarkBindings(b *testing.B) {
	tab := New(Limits{})
	for i := range 100_000 {
		if _, err := tab.Update(who(b, fmt.Sprint("u", i)), "c", 1, []Change{bind("a", on(i))}, at(0)); err != nil {
			b.Fatal(err)
		}
	}
	a := who(b, "u500")
	b.ReportAllocs()
	for b.Loop() {
		if len(tab.Bindings(a, at(1))) != 1 {
			b.Fatal("not there")
		}
	}
}
