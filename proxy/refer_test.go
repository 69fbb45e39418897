package proxy

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
)

// A view is how one party knows a dialog.
type view struct{ callID, own, other string }

// owner is the party whose dialog is named.
var owner = reader{handed: true}

// views are how caller and callee know a protected dialog.
func views(s *sealer, callID, callerTag, calleeTag string) (caller, callee view) {
	return view{callID, callerTag, s.tag(calleeTag)},
		view{s.callID(callID), calleeTag, s.tag(callerTag)}
}

// replaces is a Replaces for the party whose view it is: to-tag is its own (RFC 3891 §3).
func (v view) replaces() string {
	return v.callID + ";to-tag=" + v.own + ";from-tag=" + v.other
}

// named is how the other party writes the same Replaces down: by what it knows.
func (v view) named() string {
	return v.callID + ";to-tag=" + v.other + ";from-tag=" + v.own
}

// headerOf sends a header across and returns what arrives.
func headerOf(t *testing.T, h hide, method, name, value string) (string, error) {
	t.Helper()
	req := parseRequest(t, strings.ReplaceAll(invite(name+": "+value), "INVITE", method))
	out, err := h.request(req, bobsContact)
	if err != nil {
		return "", err
	}
	if l := leak(out.String()); l != "" {
		t.Errorf("%s: %s in\n%s", name, l, out)
	}
	return strings.Join(valuesOf(out, name), "|"), nil
}

// A party that names its own dialog is understood by the other party,
// whichever of them called.
func TestReplacesOfAParty(t *testing.T) {
	h := aliceSends(t)
	h.reader = owner
	caller, callee := views(h.seal, "c@192.168.77.23", "a-M4RK3R", "b-1")
	for _, c := range []struct{ from, to view }{{caller, callee}, {callee, caller}} {
		d, _ := parseDialog(c.from.named())
		turned, met, err := h.seal.turn(d)
		if err != nil || !met || turned.String() != c.to.replaces() {
			t.Errorf("%v, %v, %v; want %s", turned, met, err, c.to.replaces())
		}
	}
	tags := strings.NewReplacer("to-tag", "local-tag", "from-tag", "remote-tag")
	got, err := headerOf(t, h, "INVITE", "Target-Dialog", tags.Replace(caller.named()))
	if want := tags.Replace(callee.replaces()); err != nil || got != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
}

// An attended transfer: alice, who talks to bob and to carol, asks bob to
// replace her in the call with carol. bob reads nothing of that call, carol
// finds her own.
func TestAttendedTransfer(t *testing.T) {
	h := aliceSends(t)
	caller, callee := views(h.seal, "c@192.168.77.23", "a-M4RK3R", "carols")
	for name, c := range map[string]struct{ alice, carol view }{
		"alice called carol": {caller, callee},
		"carol called alice": {callee, caller},
	} {
		arrives, err := headerOf(t, h, "REFER", "Refer-To",
			"<sip:carol@example.com?Replaces="+url.QueryEscape(c.alice.named())+">")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, secret := range []string{
			c.alice.callID, c.alice.own, c.alice.other, c.carol.callID, c.carol.own, c.carol.other,
		} {
			if strings.Contains(arrives, secret) {
				t.Errorf("%s: bob reads %q in %s", name, secret, arrives)
			}
		}
		want := [2]string{c.carol.replaces(), c.carol.replaces()}
		if got := carriedBy(t, h.seal, arrives); got != want {
			t.Errorf("%s: carol gets %q, want %q", name, got, want)
		}
	}
}

// carriedBy is the Replaces that carol gets when bob's phone follows a
// Refer-To, in a protected call and in an unprotected one.
func carriedBy(t *testing.T, s *sealer, referTo string) (got [2]string) {
	t.Helper()
	var u sip.Uri
	if _, err := sip.ParseAddressValue(referTo, &u, nil); err != nil {
		t.Fatal(err)
	}
	if u.User != "carol" || u.Host != "example.com" || u.Headers.Length() != 1 {
		t.Fatalf("not to carol: %s", referTo)
	}
	replaces, err := url.PathUnescape(u.Headers[0].V)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(invite("Replaces: "+replaces), "192.168.77.23", "10.0.0.2")
	req := parseRequest(t, text)
	out, err := hide{seal: s, from: callerLeg, domain: "example.com", reader: owner}.request(req, bobsContact)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.mapDialogs(req, owner); err != nil {
		t.Fatal(err)
	}
	return [2]string{
		strings.Join(valuesOf(out, "Replaces"), "|"), strings.Join(valuesOf(req, "Replaces"), "|"),
	}
}

// The call that is replaced may be an unprotected one: both ends of it know it
// by the same names, and bob still reads none of them.
func TestTransferOfAnUnprotectedCall(t *testing.T) {
	h := aliceSends(t)
	arrives, err := headerOf(t, h, "REFER", "Refer-To",
		"<sip:carol@example.com?Replaces=c%40192.168.77.23%3Bto-tag%3Dx%3Bfrom-tag%3Dy%3Bearly-only>")
	if err != nil {
		t.Fatal(err)
	}
	_, v, _ := strings.Cut(strings.TrimSuffix(arrives, ">"), "Replaces=")
	if strings.ContainsAny(v, ";=") {
		t.Errorf("not escaped, so that phones cut it: %s", arrives)
	}
	v, _ = url.PathUnescape(v)
	d, ok := parseDialog(v)
	named, ok2 := h.seal.unwrap(d)
	if !ok || !ok2 || named.String() != "c@192.168.77.23;to-tag=x;from-tag=y;early-only" {
		t.Errorf("%q, %v, %v", named, ok, ok2)
	}
}

func TestReferTo(t *testing.T) {
	h := aliceSends(t)
	later := time.Now().Add(time.Hour)
	boxed, err := h.seal.seal(box{expires: later, aor: "carol@example.com", target: "sip:10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	nobody, _ := h.seal.seal(box{expires: later, target: "sip:10.0.0.1"})
	expired, _ := h.seal.seal(box{expires: testNow.AddDate(-1, 0, 0), aor: "carol@example.com"})
	for _, c := range [][2]string{
		{"<sip:carol@example.com>", "<sip:carol@example.com>"},
		{"sip:carol@example.com", "<sip:carol@example.com>"},
		{`"M4RK3R" <sip:carol@EXAMPLE.com:5070;transport=tcp>;x=M4RK3R`, "<sip:carol@example.com>"},
		{"<sip:carol@198.51.100.1>", "<sip:carol@example.com>"},
		{"<sip:carol@example.com?Route=%3Csip:192.168.77.23%3E>", "<sip:carol@example.com>"},
		{"<sip:carol+pt1.M4RK3R@example.com;method=BYE>", "<sip:carol@example.com>"},
		{"<tel:+4930123456>", "<sip:+4930123456@example.com>"},
		{"<sip:" + boxed + "@198.51.100.1;transport=udp>", "<sip:carol@example.com>"},
		{"<sip:" + nobody + "@198.51.100.1>", ""},
		{"<sip:" + expired + "@198.51.100.1>", ""},
		{"<sip:" + sealPrefix + strings.Repeat("x", 80) + "@example.com>", ""},
		{"<sip:carol@example.org>", ""},
		{"<sip:carol@192.168.77.23>", ""},
		{"<sips:carol@[2001:db8::1]>", ""},
		{"<https://evil.example/M4RK3R>", ""},
		{"<urn:service:sos>", ""},
		{"<sip:carol@example.com?Replaces=nonsense>", ""},
		{"<sip:carol@example.com?Replaces=%zz>", ""},
		{"<sip:carol@example.com?Replaces=x%0D%0AM4RK3R:%20y%3Bto-tag%3Da%3Bfrom-tag%3Db>", ""},
		{"<sip:carol@example.com?Replaces=x%3Bto-tag%3Da%00%3Bfrom-tag%3Db>", ""},
		{"<sip:carol@example.com?Replaces=s1-x%3Bto-tag%3Da%3Bfrom-tag%3Db>", ""},
		{"<sip:carol@example.com?Replaces=x%3Bto-tag%3Dt1-0123456789abcdef%3Bfrom-tag%3Db>", ""},
	} {
		in, want := c[0], c[1]
		got, err := headerOf(t, h, "REFER", "Refer-To", in)
		if got != want || (want == "") != errors.Is(err, errHeader) {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestDialogHeaders(t *testing.T) {
	h := aliceSends(t)
	for _, in := range []string{
		"nonsense", ";to-tag=a;from-tag=b", "x;to-tag=a", "s1-x;to-tag=a;from-tag=b",
		"x;to-tag=s1-x;from-tag=b", "x;to-tag=t1-0123456789abcdef;from-tag=b",
	} {
		if got, err := headerOf(t, h, "INVITE", "Replaces", in); !errors.Is(err, errHeader) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	const one = "x;to-tag=a;from-tag=b"
	if got, err := headerOf(t, h, "INVITE", "Replaces", one+"\r\nReplaces: "+one); err == nil {
		t.Errorf("two: %q", got)
	}
	// A dialog of which nothing opens is none that the other party knows: all
	// of it is sealed, so that nothing shows and nothing matches.
	got, err := headerOf(t, h, "INVITE", "Join",
		"c@192.168.77.23;to-tag=M4RK3R;from-tag=b;early-only;x=M4RK3R")
	want := h.seal.callID("c@192.168.77.23") + ";to-tag=" + h.seal.tag("M4RK3R") +
		";from-tag=" + h.seal.tag("b") + ";early-only"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

// Identifiers of one dialog are sealed with the same key, also after a rotation.
func TestTurnKeepsTheKey(t *testing.T) {
	before, after := sealerOf(t, secretA, nil), sealerOf(t, secretB, secretA)
	caller, callee := views(before, "c-1", "alices", "carols")
	d, _ := parseDialog(caller.named())
	turned, _, err := after.turn(d)
	if err != nil || turned.String() != callee.replaces() {
		t.Errorf("%v, %v; want %s", turned, err, callee.replaces())
	}
}

// Who is sent a dialog of somebody else's is not told what its identifiers were
// before they were sealed, whatever they came in.
func TestDialogOfSomebodyElse(t *testing.T) {
	h := aliceSends(t)
	caller, callee := views(h.seal, "c-1", "alices", "bobs")
	d, _ := parseDialog(caller.replaces())
	alices := h.seal.wrap(d)
	d.reader = "alice@example.com"
	given := h.seal.wrap(d)
	carol, err1 := aor.New("carol", "example.com")
	bob, err2 := aor.New("bob", "example.com")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	bobs := func(dialogRef) (aor.AOR, bool) { return bob, true }
	nobodys := func(dialogRef) (aor.AOR, bool) { return aor.AOR{}, false }
	for name, r := range map[string]reader{
		"nobody": {}, "carol": {aor: carol, party: bobs}, "carol, of a call before a restart": {aor: carol, party: nobodys},
		"a trunk": {party: bobs}, "a trunk, of a call before a restart": {party: nobodys},
	} {
		h.reader = r
		for _, v := range []string{callee.named(), callee.replaces(), alices.String(), given.String()} {
			if got, err := headerOf(t, h, "INVITE", "Replaces", v); !errors.Is(err, errForged) {
				t.Errorf("%s: %s became %q, %v", name, v, got, err)
			}
			req := parseRequest(t, invite("Replaces: "+v))
			if err := h.seal.mapDialogs(req, r); !errors.Is(err, errForged) {
				t.Errorf("%s, not protected: %s became %v, %v", name, v, valuesOf(req, "Replaces"), err)
			}
		}
	}
	h.reader = reader{aor: bob, party: bobs}
	if got, err := headerOf(t, h, "INVITE", "Replaces", alices.String()); err != nil || got != caller.replaces() {
		t.Errorf("bob is told %q, %v", got, err)
	}
}
