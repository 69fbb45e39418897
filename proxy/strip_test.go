package proxy

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestStrip(t *testing.T) {
	ours := func(realm string) bool { return realm == "example.com" }
	const (
		toUs   = `Digest username="alice", realm="example.com", nonce="x", uri="sip:x", response="y"`
		toThem = `Digest username="alice", realm="trunk.example", nonce="x", uri="sip:x", response="y"`
	)
	text := invite(
		"Proxy-Authorization: "+toUs, "Proxy-Authorization: "+toThem, "proxy-authorization: "+toUs,
		"AUTHORIZATION: "+toUs, "Authorization: Bearer M4RK3R",
		"Privacy-Token: pt1.a", "x-privacy-token: pt1.b", "privacy-token: pt1.c",
		"privacy-token-offer: pt1.d",
		"p-asserted-identity: <sip:boss@example.com>", "P-Asserted-Identity: <tel:+1>",
		"P-Preferred-Identity: <sip:x@y>", "Remote-Party-ID: <sip:x@y>", "Privacy: id",
		"User-Agent: kept", "k: timer", "Subject: kept",
	)
	req := parseRequest(t, text)
	strip(req, ours, false)
	for _, gone := range []string{
		"Privacy-Token", "X-Privacy-Token", "Privacy-Token-Offer", "Authorization", "P-Asserted-Identity",
		"P-Preferred-Identity", "Remote-Party-ID", "Privacy",
	} {
		if v := valuesOf(req, gone); len(v) > 0 {
			t.Errorf("%s is still there: %q", gone, v)
		}
	}
	if v := valuesOf(req, "Proxy-Authorization"); len(v) != 1 || v[0] != toThem {
		t.Errorf("credentials left: %q", v)
	}
	for _, kept := range []string{
		"Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "User-Agent", "Supported", "Subject",
	} {
		if len(valuesOf(req, kept)) != 1 {
			t.Errorf("%s: %q", kept, valuesOf(req, kept))
		}
	}
	if req.Via() == nil || req.From() == nil || req.CSeq() == nil || req.MaxForwards().Val() != 70 {
		t.Errorf("typed headers are lost:\n%s", req)
	}

	trusted := parseRequest(t, text)
	strip(trusted, ours, true)
	if len(valuesOf(trusted, "P-Asserted-Identity")) != 2 || len(valuesOf(trusted, "Privacy")) != 1 {
		t.Errorf("a trusted peer's assertions are lost:\n%s", trusted)
	}
	if len(valuesOf(trusted, "Privacy-Token")) != 0 {
		t.Error("a token goes to a trusted peer")
	}
}

func TestStripResponse(t *testing.T) {
	text := lines(
		"SIP/2.0 200 OK", "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", "From: <sip:a@b>;tag=1",
		"To: <sip:b@b>;tag=2", "Call-ID: x", "CSeq: 1 INVITE", "P-Asserted-Identity: <sip:b@b>",
		"Privacy-Token: x", "Privacy-Token-Offer: x", "Server: kept")
	for trusted, want := range map[bool]int{true: 1, false: 0} {
		res := parseResponse(t, text)
		stripResponse(res, trusted)
		if got := len(valuesOf(res, "P-Asserted-Identity")); got != want {
			t.Errorf("trusted %v: %d", trusted, got)
		}
		tokens := len(valuesOf(res, "Privacy-Token")) + len(valuesOf(res, "Privacy-Token-Offer"))
		if len(valuesOf(res, "Server")) != 1 || tokens != 0 || res.Via() == nil {
			t.Errorf("trusted %v:\n%s", trusted, res)
		}
	}
}

// An unprotected call may name a protected one, and an unprotected one.
func TestMapDialogs(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	caller, callee := views(s, "c-1", "alices", "carols")
	for in, want := range map[string]string{
		caller.named():             callee.replaces(),
		callee.named():             caller.replaces(),
		"x;to-tag=1;from-tag=2":    "x;to-tag=1;from-tag=2",
		"nonsense":                 "nonsense",
		"s1-x;to-tag=1;from-tag=2": "!",
	} {
		req := parseRequest(t, invite("replaces: "+in))
		err := s.mapDialogs(req, owner)
		got := strings.Join(valuesOf(req, "Replaces"), "|")
		if want == "!" {
			if err == nil {
				t.Errorf("%s: %q", in, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
		if n := len(req.Headers()); n != len(parseRequest(t, invite("replaces: x")).Headers()) {
			t.Errorf("%d headers", n)
		}
	}
	var _ message = (*sip.Response)(nil)
}
