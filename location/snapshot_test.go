package location

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sotto/internal/aor"
)

// TestSnapshot: after a restart everything is there that has not expired.
func TestSnapshot(t *testing.T) {
	old, bob, eve := New(Limits{}), who(t, "bob"), who(t, "b%C3%B6b+tag")
	full := bind("bob@[2001:db8::1]:5060;transport=tls", device("<urn:uuid:1>"), q(0.25), until(100), on(7))
	full.Binding.Path, full.Binding.NAT = []string{"<sip:p1;lr>", "<sip:p2;lr>"}, true
	for a, all := range map[aor.AOR][]Change{bob: {full, bind("short", until(10))}, eve: {bind("e", on(0))}} {
		if _, err := old.Update(a, "c1", 1, all, at(0)); err != nil {
			t.Fatal(err)
		}
	}
	raw := old.Snapshot()
	tab := New(Limits{})
	if err := tab.Restore(raw, at(10)); err != nil {
		t.Fatal(err)
	}
	consistent(t, tab)
	for _, a := range []aor.AOR{bob, eve} {
		want, got := old.Bindings(a, at(10)), tab.Bindings(a, at(10))
		if len(want) != 1 || len(got) != 1 || !got[0].Expires.Equal(want[0].Expires) {
			t.Fatalf("%v: %+v, want %+v", a, got, want)
		}
		got[0].Expires = want[0].Expires // the same moment, another representation
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n%+v, want\n%+v", a, got, want)
		}
	}
	if tab.Len() != 2 {
		t.Errorf("%d bindings", tab.Len())
	}
	// The phone's next REGISTER refreshes, it does not add.
	full.Binding.CSeq = 2
	if bs, err := tab.Update(bob, "c1", 2, []Change{full}, at(11)); err != nil || len(bs) != 1 {
		t.Errorf("%v, %v", bs, err)
	}
}

func TestRestoreNothing(t *testing.T) {
	for _, raw := range []string{"", "[]", "null", string(New(Limits{}).Snapshot())} {
		tab := New(Limits{})
		if err := tab.Restore([]byte(raw), at(0)); err != nil || tab.Len() != 0 {
			t.Errorf("%q: %d bindings, %v", raw, tab.Len(), err)
		}
	}
}

// TestRestoreDamaged: what cannot be read is an error and changes nothing;
// one entry that makes no sense does not take the others with it.
func TestRestoreDamaged(t *testing.T) {
	old := New(Limits{})
	if _, err := old.Update(who(t, "bob"), "c", 1, []Change{bind("a")}, at(0)); err != nil {
		t.Fatal(err)
	}
	raw := string(old.Snapshot())
	tab := New(Limits{})
	for _, bad := range []string{raw[:len(raw)-1], "x", `{"a":1}`, `[{"Expires":"soon"}]`} {
		if err := tab.Restore([]byte(bad), at(0)); err == nil || tab.Len() != 0 {
			t.Errorf("%q: %v, %d bindings", bad, err, tab.Len())
		}
	}
	strange := strings.Replace(raw, "[", fmt.Sprintf(`[{"AOR":"nobody","Expires":%q},`, "2099-01-01T00:00:00Z"), 1)
	if err := tab.Restore([]byte(strange), at(0)); err != nil || tab.Len() != 1 {
		t.Errorf("%v, %d bindings", err, tab.Len())
	}
	consistent(t, tab)
}
