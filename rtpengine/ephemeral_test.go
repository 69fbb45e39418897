package rtpengine

import (
	"slices"
	"testing"
)

// What the system says of its ephemeral ports is read as it writes it, or not at all.
func TestParseEphemeral(t *testing.T) {
	for _, c := range []struct {
		ports, reserved string
		want            Ephemeral
		ok              bool
	}{
		{"32768\t60999\n", "\n", Ephemeral{Min: 32768, Max: 60999}, true},
		{
			"1024 65535", "8080,9148,20000-29999\n",
			Ephemeral{Min: 1024, Max: 65535, Reserved: [][2]uint16{{8080, 8080}, {9148, 9148}, {20000, 29999}}},
			true,
		},
		{"", "", Ephemeral{}, false},
		{"32768", "", Ephemeral{}, false},
		{"32768 70000", "", Ephemeral{}, false},
		{"32768 60999", "many", Ephemeral{}, false},
	} {
		got, ok := parseEphemeral(c.ports, c.reserved)
		if ok != c.ok || got.Min != c.want.Min || got.Max != c.want.Max || !slices.Equal(got.Reserved, c.want.Reserved) {
			t.Errorf("%q and %q: %+v, %v", c.ports, c.reserved, got, ok)
		}
	}
}

// Media ports are the engine's alone: outside of the system's own, or reserved,
// each of them.
func TestEphemeralOverlaps(t *testing.T) {
	stock := Ephemeral{Min: 32768, Max: 60999} // Linux's default
	reserved := Ephemeral{Min: 32768, Max: 60999, Reserved: [][2]uint16{{39000, 39999}, {30000, 38999}, {50000, 50000}}}
	for _, c := range []struct {
		e      Ephemeral
		lo, hi uint16
		want   bool
	}{
		{stock, 20000, 29999, false}, // media.ports' default
		{stock, 1024, 32767, false},
		{stock, 32767, 32768, true},
		{stock, 40000, 40003, true},
		{stock, 60999, 65535, true},
		{stock, 61000, 65535, false},
		{stock, 1024, 65535, true},
		{reserved, 30000, 39999, false},
		{reserved, 30000, 40000, true},
		{reserved, 50000, 50001, true},
		{reserved, 50000, 50000, false},
		{Ephemeral{Min: 1024, Max: 65535}, 65000, 65535, true}, // no port wraps around
	} {
		if got := c.e.Overlaps(c.lo, c.hi); got != c.want {
			t.Errorf("%d-%d with %+v: %v", c.lo, c.hi, c.e, got)
		}
	}
}

// Both ways out lead out: the other range, and the longer list.
func TestEphemeralRemedies(t *testing.T) {
	for _, c := range []struct {
		e      Ephemeral
		n      int
		lo, hi uint16
		ok     bool
	}{
		{Ephemeral{Min: 32768, Max: 60999}, 10000, 22768, 32767, true},
		{Ephemeral{Min: 32769, Max: 60999}, 10000, 22768, 32767, true},
		{Ephemeral{Min: 1024, Max: 40000}, 10000, 40002, 50001, true},
		{Ephemeral{Min: 32768, Max: 60999}, 40000, 0, 0, false},
		{Ephemeral{Min: 1024, Max: 65535}, 4, 0, 0, false},
	} {
		lo, hi, ok := c.e.Elsewhere(c.n)
		if lo != c.lo || hi != c.hi || ok != c.ok || ok && c.e.Overlaps(lo, hi) {
			t.Errorf("%d ports beside %+v: %d-%d, %v", c.n, c.e, lo, hi, ok)
		}
	}
	e := Ephemeral{Min: 32768, Max: 60999, Reserved: [][2]uint16{{8080, 8080}, {9000, 9001}}}
	list := e.Reserving(40000, 49999)
	if list != "8080,9000-9001,40000-49999" {
		t.Error(list)
	}
	if next, ok := parseEphemeral("32768 60999", list); !ok || next.Overlaps(40000, 49999) {
		t.Errorf("%+v, %v", next, ok)
	}
}
