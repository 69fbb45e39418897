package tokens

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// grant is bob's to carol, for the default life.
func grant(t testing.TB, change func(*Grant)) Grant {
	t.Helper()
	g := Grant{Recipient: parsed(t, bob), Caller: parsed(t, carol), Expires: noon.Add(Life)}
	if change != nil {
		change(&g)
	}
	return g
}

func TestIssue(t *testing.T) {
	for bind := ToCaller; bind <= Open; bind++ {
		t.Run(bind.String(), func(t *testing.T) {
			g := grant(t, func(g *Grant) { g.Bind, g.Domain = bind, "example.org" })
			tok, err := Issue(testKey(1), g, noon)
			if err != nil {
				t.Fatal(err)
			}
			if tok.Bind() != bind {
				t.Errorf("bound to %v", tok.Bind())
			}
			if again, err := Parse(tok.String()); err != nil || again != tok {
				t.Errorf("text form reads back as %v, %v", again, err)
			}
			other, err := Issue(testKey(1), g, noon)
			if err != nil || other.Salt() == tok.Salt() {
				t.Errorf("two tokens have one salt (%v)", err)
			}
		})
	}
}

// TestIssueRefuses lists what no token can express.
func TestIssueRefuses(t *testing.T) {
	none := parsed(t, "")
	for _, c := range []struct {
		name, want string
		change     func(*Grant)
		now        time.Time
	}{
		{"no recipient", "no recipient", func(g *Grant) { g.Recipient = none }, noon},
		{"no caller", "no caller", func(g *Grant) { g.Caller = none }, noon},
		{"no domain", "no domain", func(g *Grant) { g.Bind = ToDomain }, noon},
		{"bad domain", "no domain", func(g *Grant) { g.Bind, g.Domain = ToDomain, "a b" }, noon},
		{"no binding", "no such binding", func(g *Grant) { g.Bind = Open + 1 }, noon},
		{"over", "over", func(g *Grant) { g.Expires = noon }, noon},
		{"too long", "182 days", func(g *Grant) { g.Expires = noon.Add(MaxLife + 1) }, noon},
		{"before 2020", "clock", func(g *Grant) { g.Expires = epoch.Add(-time.Hour) }, epoch.Add(-day)},
		{"after 2199", "clock", func(g *Grant) { g.Expires = lastExpiry().Add(1) }, lastExpiry()},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := Issue(testKey(1), grant(t, c.change), c.now)
			if err == nil || !strings.Contains(err.Error(), c.want) || tok != (Token{}) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestDomainForms gives a token to a domain as a person writes it.
func TestDomainForms(t *testing.T) {
	for _, domain := range []string{"bücher.example", "BÜCHER.Example.", "xn--bcher-kva.example"} {
		tok := given(t, testKey(1), grant(t, func(g *Grant) { g.Bind, g.Domain = ToDomain, domain }), 1)
		c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, "x@bücher.example"), Keys: bobs(), Now: noon}
		if err := Verify(tok, c); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

// TestExpiry rounds up to the grid, within what a verifier accepts.
func TestExpiry(t *testing.T) {
	for _, c := range []struct{ at, want time.Time }{
		{epoch.Add(1), epoch.Add(7 * day)},
		{epoch.Add(7 * day), epoch.Add(7 * day)},
		{epoch.Add(7*day + 1), epoch.Add(14 * day)},
		{lastExpiry(), lastExpiry()},
	} {
		tok := given(t, testKey(1), grant(t, func(g *Grant) { g.Expires = c.at }), 1)
		if !tok.Expires().Equal(c.want) {
			t.Errorf("%v ends %v, want %v", c.at, tok.Expires(), c.want)
		}
	}
	for hour := range 24 * 8 { // whenever it is issued, the longest life holds at once
		now := noon.Add(time.Duration(hour) * time.Hour)
		tok := given(t, testKey(1), grant(t, func(g *Grant) { g.Expires = now.Add(MaxLife) }), 1)
		c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: now}
		if err := Verify(tok, c); err != nil {
			t.Fatalf("issued at %v: %v", now, err)
		}
	}
}

// TestLog: a log line cannot forget to hide a token.
func TestLog(t *testing.T) {
	var b bytes.Buffer
	tok := given(t, testKey(1), grant(t, nil), 1)
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("call", "token", tok)
	if strings.Contains(b.String(), tok.String()[4:20]) || !strings.Contains(b.String(), "pt1.") {
		t.Errorf("logged as %s", b.String())
	}
}

func TestBindString(t *testing.T) {
	if got := fmt.Sprint(ToCaller, ToDomain, FirstUse, Open, Open+1); got != "caller domain first use open unknown" {
		t.Error(got)
	}
}

// FuzzParse: every text has one token or none, every token one text.
func FuzzParse(f *testing.F) {
	for bind := ToCaller; bind <= Open; bind++ {
		f.Add(given(f, testKey(1), grant(f, func(g *Grant) { g.Bind, g.Domain = bind, "example.org" }), 1).String())
	}
	f.Add("pt1.")
	f.Add("pt1." + strings.Repeat("=", 100))
	f.Add("pt1." + strings.Repeat("\n", 100))
	f.Add("pt1.E" + strings.Repeat("_", 99))
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := Parse(text)
		if err != nil {
			if tok != (Token{}) {
				t.Error("a token beside an error")
			}
			return
		}
		if tok.String() != text || len(text) != TextSize || tok.Bind() > Open || tok.Expires().Before(epoch) {
			t.Errorf("%q reads back as %q", text, tok)
		}
		c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: tok.Expires().Add(-1)}
		if err := Verify(tok, c); err == nil && !known(tok) {
			t.Errorf("forged: %q", text)
		}
	})
}

// known says that a token that holds is one of the seeds: signatures of
// testKey(1) exist for salt 1 alone.
func known(tok Token) bool { return tok.Salt() == [saltSize]byte{1, 1, 1, 1, 1, 1, 1, 1} }

// TestRandomTexts: what is not signed never holds, whatever its bytes.
func TestRandomTexts(t *testing.T) {
	c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: noon}
	for range 200 {
		var tok Token
		_, _ = rand.Read(tok.body[:]) // never fails
		tok.body[0] = version<<4 | tok.body[0]&3
		copy(tok.body[1:3], []byte{0x09, 0x45})
		if err := Verify(tok, c); err != ErrNotHeld {
			t.Fatalf("%v: %v", tok, err)
		}
	}
}
