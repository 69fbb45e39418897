package aor

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// A form is how an address is written, and its one canonical form.
type form struct{ in, want string }

func sameForm(t *testing.T, all []form) {
	t.Helper()
	for _, f := range all {
		a, err := Parse(f.in)
		if err != nil || a.String() != f.want {
			t.Errorf("%q is %q (%v), want %q", f.in, a.String(), err, f.want)
		}
	}
}

// One address has one form, however it is written: of a name-addr only the URI
// counts, and of a URI only user and host.
func TestParse(t *testing.T) {
	long := strings.Repeat("u", maxLen-len("@example.com"))
	sameForm(t, []form{
		{"bob@example.com", "bob@example.com"},
		{"  bob@example.com\t", "bob@example.com"},
		{"sip:bob@example.com", "bob@example.com"},
		{"SIPs:bob@example.com", "bob@example.com"},
		{long + "@example.com", long + "@example.com"},
		{"<sip:bob@example.com>", "bob@example.com"},
		{`"Bob" <sip:bob@example.com;lr>;tag=1`, "bob@example.com"},
		{`Bob <sip:bob@example.com>`, "bob@example.com"},
		{`"a <sip:eve@example.net> \" b" <sip:bob@example.com>`, "bob@example.com"},
		{`<sip:bob@example.com>;x="<sip:eve@example.net>"`, "bob@example.com"},
		{"sip:bob@example.com;transport=tls;x=y@z", "bob@example.com"},
		{"sip:bob@example.com?Subject=a@b", "bob@example.com"},
		{"sip:bob:pass@example.com", "bob@example.com"},
		{"sip:bob;x=y@example.com", "bob%3Bx=y@example.com"},
	})
}

// Of the user the case is kept, and escapes are minimal.
func TestParseUser(t *testing.T) {
	sameForm(t, []form{
		{"sip:Bob@example.com", "Bob@example.com"},
		{"sip:%42%6f%62@example.com", "Bob@example.com"},
		{"sip:b%c3%b6b@example.com", "b%C3%B6b@example.com"},
		{"sip:böb@example.com", "b%C3%B6b@example.com"},
		{"sip:a%40b@example.com", "a%40b@example.com"},
		{"sip:a@b@example.com", "a%40b@example.com"},
		{"sip:a%3ab@example.com", "a%3Ab@example.com"},
		{"sip:a%3fb%2fc%3bd@example.com", "a%3Fb%2Fc%3Bd@example.com"},
		{"sip:-_.!~*'()&=+$,@example.com", "-_.!~*'()&=+$,@example.com"},
		{"sip:a b@example.com", "a%20b@example.com"},
		{"sip:a%25b@example.com", "a%25b@example.com"},
	})
}

// A token is not part of the address, escaped or not.
func TestParseToken(t *testing.T) {
	sameForm(t, []form{
		{"sip:bob+pt1.abc@example.com", "bob@example.com"},
		{"sip:bob+PT2.abc@example.com", "bob@example.com"},
		{"sip:bob%2bpt1%2eabc@example.com", "bob@example.com"},
		{"sip:bob+ptx+pt1.a+pt1.b@example.com", "bob+ptx@example.com"},
		{"sip:bob+tag@example.com", "bob+tag@example.com"},
		{"sip:bob+pt0.x@example.com", "bob+pt0.x@example.com"},
		{"sip:bob+pt1@example.com", "bob+pt1@example.com"},
	})
}

func TestParseHost(t *testing.T) {
	sameForm(t, []form{
		{"bob@EXAMPLE.Com", "bob@example.com"},
		{"bob@example.com.", "bob@example.com"},
		{"bob@example.com:5060", "bob@example.com"},
		{"bob@example.com.:5060", "bob@example.com"},
		{"bob@bücher.example", "bob@xn--bcher-kva.example"},
		{"bob@BÜCHER。example。", "bob@xn--bcher-kva.example"},
		{"bob@xn--BCHER-kva.example", "bob@xn--bcher-kva.example"},
		{"bob@localhost", "bob@localhost"},
		{"bob@192.0.2.1:5060", "bob@192.0.2.1"},
		{"bob@[2001:DB8:0::1]", "bob@[2001:db8::1]"},
		{"bob@[2001:db8::1]:5060", "bob@[2001:db8::1]"},
		{"bob@2001:db8::1", "bob@[2001:db8::1]"},
		{"bob@[::ffff:192.0.2.1]", "bob@192.0.2.1"},
		{"bob@[fe80::1%eth0]", "bob@[fe80::1]"},
	})
}

func TestParseTelephoneNumber(t *testing.T) {
	sameForm(t, []form{
		{"sip:+49(30)123-4.5@example.com;user=phone", "+49301234" + "5@example.com"},
		{"sip:+49-30@example.com;transport=udp;User=Phone", "+4930@example.com"},
		{"sip:1001@example.com;user=phone", "1001@example.com"}, // an extension, not a global number
		{"sip:+49-30x@example.com;user=phone", "+49-30x@example.com"},
		{"sip:+49-30@example.com?user=phone", "+49-30@example.com"},
	})
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "bob", "@", "bob@", "@example.com", "sip:example.com", "sip:@example.com", ":x@example.com",
		"<sip:bob@example.com", "bob@[::1", "bob@[::1]x", "bob@[zz]", "bob@a b", "bob@a..b", "bob@.a", "bob@-a.b",
		"bob@a_b.example", "bob@%65xample.com", "bob@\xff.example", "bob@xn--zzzz-99999",
		"bob@" + strings.Repeat("a", 64) + ".example", strings.Repeat("u", maxLen) + "@example.com",
		"bob@" + strings.Repeat("中.", maxRaw/4) + "example", strings.Repeat("u", 4*maxRaw) + "+pt1.x@example.com",
		"b%zzb@example.com", "bob%@example.com", "bob%4@example.com", "b%00b@example.com", "b%0D%0Ab@example.com",
		"b\nb@example.com", "sip:+pt1.x@example.com", "mailto:bob@example.com", "tel:+4930@example.com",
		`"bob@example.com`, `"Bob" sip`,
	} {
		if a, err := Parse(in); !errors.Is(err, ErrBad) || !a.IsZero() {
			t.Errorf("%q is %q (%v)", in, a.String(), err)
		}
	}
}

func TestParseTel(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"tel:+49-30-1234", "+49301234@example.com"},
		{"TEL:+49(30)12.34;phone-context=x", "+49301234@example.com"},
		{"tel:(030)1234", "+0301234@example.com"},
		{"tel:", ""},
		{"tel:+", ""},
		{"tel:++49", ""},
		{"tel:-49", ""},
		{"tel:49x", ""},
		{"tel:49*1", ""},
		{"sip:+49@example.com", ""},
		{"49", ""},
	} {
		a, err := ParseTel(c.in, "example.com")
		if a.String() != c.want || (c.want == "") != errors.Is(err, ErrBad) {
			t.Errorf("%q is %q (%v), want %q", c.in, a.String(), err, c.want)
		}
	}
}

func TestParts(t *testing.T) {
	a, err := New("b%c3%b6b:password", "192.0.2.1:5060")
	if err != nil {
		t.Fatal(err)
	}
	if a.User() != "b%C3%B6b" || a.Host() != "192.0.2.1" || a.URI() != "sip:b%C3%B6b@192.0.2.1" {
		t.Errorf("%q: user %q, host %q", a.URI(), a.User(), a.Host())
	}
	if !a.IsIP() || a.IsZero() {
		t.Error("an address is a name, or nobody")
	}
	if b, _ := New("bob", "example.com"); b.IsIP() {
		t.Error("a name is an address")
	}
	if six, _ := New("bob", "[::1]"); !six.IsIP() {
		t.Error("an address is a name")
	}
	if nobody := (AOR{}); nobody.String() != "" || !nobody.IsZero() || nobody.IsIP() {
		t.Error("nobody is somebody")
	}
}

// TestLongHost: a stranger cannot keep the processor busy with one address.
// Before there was a bound, this took an hour.
func TestLongHost(t *testing.T) {
	var b strings.Builder
	for i := range 1_000_000 {
		b.WriteRune(rune(0x4e00 + i%20000))
	}
	if _, err := Parse("bob@" + b.String()); !errors.Is(err, ErrBad) {
		t.Error(err)
	}
}

// TestLog: no log line names a person.
func TestLog(t *testing.T) {
	var b bytes.Buffer
	a, err := Parse("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("call", "callee", a, "caller", AOR{})
	if got := b.String(); strings.Contains(got, "bob") || !strings.Contains(got, "callee=…@example.com caller=nobody") {
		t.Errorf("logged as %s", got)
	}
}

// FuzzParse: an address that was accepted is its own canonical form, is plain
// text that fits into any message, and is the same in every notation.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"bob@example.com", `"B" <sip:b%6fb@EXAMPLE.com.:5060;lr>;tag=x`, "sip:bob+pt1.x@[::1]:5060", "a@b@c", "a:b@c",
		"sip:+49(30)@x;user=phone", "b@ü。", "b%2Bpt1.@x", "\xff@\xff", "x@１２７.0.0.1", "+@x;user=phone", "<@x>",
		"a@xn--a-ecp.ru", "a@ß.example", "a@[::ffff:1.2.3.4]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseTel(s, "example.com"); err == nil && strings.Trim(a.User(), "+0123456789") != "" {
			t.Errorf("%q is the number %q", s, a.User())
		}
		a, err := Parse(s)
		if err != nil {
			return
		}
		checkForm(t, s, a)
	})
}

// checkForm checks the form of an address that was read from s.
func checkForm(t *testing.T, s string, a AOR) {
	t.Helper()
	text := a.String()
	if len(text) > maxLen || strings.ContainsFunc(text, harmful) {
		t.Errorf("%q is %q", s, text)
	}
	for _, again := range []string{
		text, a.URI(), "<" + a.URI() + ";lr>;tag=1", "sips:" + text + ":5061;transport=tls?x=y",
	} {
		if b, err := Parse(again); b != a {
			t.Errorf("%q is %q, but %q is %q (%v)", s, text, again, b.String(), err)
		}
	}
	if b, err := New(a.User(), a.Host()); b != a {
		t.Errorf("%q is %q, its parts are %q (%v)", s, text, b.String(), err)
	}
}

// harmful says that a character may mean something else in a message.
func harmful(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>";?/`, r) }
