package rtpengine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Each party gets the address of the smallest network that it is in, else the
// first of its family.
func TestAddressFor(t *testing.T) {
	at := func(s string) Address { return Address{netip.MustParseAddr(s), netip.MustParseAddr(s)} }
	nat := Address{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("192.0.2.1")}
	c := Config{
		Addresses: []Address{nat, at("192.0.2.2"), at("2001:db8::1")},
		Networks: []Network{
			{netip.MustParsePrefix("10.0.0.0/8"), at("10.0.0.5")},
			{netip.MustParsePrefix("10.9.0.0/16"), at("10.9.0.1")},
			{netip.MustParsePrefix("fd00::/8"), at("fd00::1")},
		},
	}
	for _, p := range []struct {
		party  string
		family Family
		want   Address
	}{
		{"198.51.100.1", V4, nat},
		{"2001:db8:7::1", V6, at("2001:db8::1")},
		{"10.1.2.3", V4, at("10.0.0.5")},
		{"10.9.2.3", V4, at("10.9.0.1")},
		{"fd00::77", V6, at("fd00::1")},
		{"", V4, nat}, // nobody knows where
		{"", Any, nat},
	} {
		party, _ := netip.ParseAddr(p.party)
		if got, ok := c.addressFor(party, p.family); !ok || got != p.want {
			t.Errorf("%q: %v, %v; want %v", p.party, got, ok, p.want)
		}
	}
	if a, ok := (Config{Addresses: []Address{nat}}).addressFor(netip.MustParseAddr("fd00::7"), V6); ok {
		t.Errorf("a party of IPv6 gets %v", a)
	}
	want := []string{"10.0.0.5", "192.0.2.2", "2001:db8::1", "10.9.0.1", "fd00::1"}
	var got []string
	for _, a := range c.locals() {
		got = append(got, a.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("bound to %v, want %v", got, want)
	}
}

// A call between an inner network and the rest shows each party its own
// address and never the other, whoever calls.
func TestCallBetweenNetworks(t *testing.T) {
	inner, outer := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("192.0.2.1")
	e := deafEngine(t, func(c *Config) {
		c.Addresses = []Address{{inner, outer}}
		c.Networks = []Network{{netip.MustParsePrefix("10.0.0.0/8"), Address{inner, inner}}}
	})
	phone, far := netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("198.51.100.9")
	for id, parties := range map[ID][2]netip.Addr{1: {phone, far}, 2: {far, phone}} {
		told := map[netip.Addr]string{phone: inner.String(), far: outer.String()}
		a, b := parties[0], parties[1]
		offer, err := e.Offer(id, Body{From: Caller, SDP: audio(a, 4000), Source: a, Toward: V4, Other: b})
		if err != nil || !strings.Contains(string(offer), "c=IN IP4 "+told[b]) {
			t.Errorf("%s is offered\n%s%v", b, offer, err)
		}
		answer, err := e.Answer(id, Body{From: Callee, SDP: audio(b, 5000), Source: b, Toward: V4, Other: a})
		if err != nil || !strings.Contains(string(answer), "c=IN IP4 "+told[a]) {
			t.Errorf("%s is answered\n%s%v", a, answer, err)
		}
		if strings.Contains(string(offer), told[a]) || strings.Contains(string(answer), told[b]) {
			t.Errorf("a party is told the other's side:\n%s%s", offer, answer)
		}
	}
}

// A phone that comes to another network in mid-call is told the address that is
// reached from there; one that stays keeps its ports.
func TestPhoneThatChangesNetworks(t *testing.T) {
	inner, outer := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("192.0.2.1")
	e := deafEngine(t, func(c *Config) {
		c.Addresses = []Address{{outer, outer}}
		c.Networks = []Network{{netip.MustParsePrefix("10.0.0.0/8"), Address{inner, inner}}}
	})
	far, told := netip.MustParseAddr("198.51.100.9"), ""
	for _, c := range []struct{ at, want string }{
		{"10.0.0.77", "10.0.0.5"}, {"10.0.0.78", "10.0.0.5"}, {"203.0.113.8", "192.0.2.1"}, {"10.0.0.77", "10.0.0.5"},
	} {
		at := netip.MustParseAddr(c.at)
		offer, err := e.Offer(1, Body{From: Caller, SDP: audio(at, 4000), Source: at, Toward: V4, Other: far})
		if err != nil || told != "" && masked(offer) != told {
			t.Fatalf("%v, and who stays is told\n%s", err, masked(offer))
		}
		told = masked(offer)
		answer, err := e.Answer(1, Body{From: Callee, SDP: audio(far, 5000), Source: far, Toward: V4, Other: at})
		if err != nil || !strings.Contains(string(answer), "c=IN IP4 "+c.want) {
			t.Errorf("%s is answered\n%s%v", at, answer, err)
		}
	}
	if used, _ := e.Ports(); used > 6 { // the last move could still be undone
		t.Errorf("%d ports", used)
	}
}
