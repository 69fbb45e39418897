package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/location"
	"sotto/proxy/flow"
)

func TestTransportOf(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:a@example.com":                "",
		"sip:a@example.com;transport=TCP":  "tcp",
		"sip:a@example.com;transport=tls":  "tls",
		"sips:a@example.com":               "tls",
		"sips:a@example.com;transport=tcp": "tls",
		"sips:a@192.0.2.7;transport=udp":   "tls",
	} {
		var u sip.Uri
		if err := sip.ParseUri(uri, &u); err != nil {
			t.Fatal(err)
		}
		if got := transportOf(u); got != want {
			t.Errorf("%s goes over %q, want %q", uri, got, want)
		}
	}
}

// Where a request may go that somebody has named an address for.
func TestMayGo(t *testing.T) {
	phone, caller := netip.MustParseAddrPort("198.51.100.11:40000"), netip.MustParseAddrPort("198.51.100.13:5060")
	bob, err := aor.New("bob", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	loc := location.New(location.Limits{})
	now := time.Now()
	b := location.Binding{
		AOR: bob, Contact: "sip:bob@10.0.0.1", Expires: now.Add(time.Hour), Flow: location.Flow{Peer: phone},
	}
	if _, err := loc.Update(bob, "1", 1, []location.Change{{Binding: b}}, now); err != nil {
		t.Fatal(err)
	}
	there := configs.Prefix{Prefix: netip.MustParsePrefix("203.0.113.0/28")}
	trunks := peer{configs.Peer{Name: "trunk", Addresses: []configs.Prefix{there}}}
	trunk, elsewhere := netip.MustParseAddrPort("203.0.113.5:5060"), netip.MustParseAddrPort("192.0.2.77:5060")
	heard := target{flow: flow.Ref{Transport: "tcp", Peer: caller}}
	for _, c := range []struct {
		name       string
		t          target
		at         netip.AddrPort
		off, allow bool // with foreign: off, allow
	}{
		{"back to whom it was heard from", heard, netip.AddrPortFrom(caller.Addr(), 5070), true, true},
		{"to a trunk", heard, trunk, true, true},
		{"elsewhere, by a party's word", heard, elsewhere, false, true},
		{"to a phone, by a party's word", heard, phone, false, false},
		{"elsewhere, by a peer's word", target{}, elsewhere, true, true},
		{"to a phone, by a peer's word", target{}, phone, false, false},
		{"where the operator has a peer", target{peer: "trunk"}, phone, true, true},
	} {
		for foreign, want := range map[string]bool{"off": c.off, "allow": c.allow} {
			p := &Proxy{loc: loc, peers: []peer{trunks}, cfg: configs.Config{Foreign: foreign}}
			if got := p.mayGo(c.t, c.at); got != want {
				t.Errorf("%s, foreign %s: %t", c.name, foreign, got)
			}
		}
	}
}
