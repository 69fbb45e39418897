package tokens

import (
	"crypto/ed25519"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sotto/internal/aor"
)

// TestP1 is "the reason is never expressed": whatever is granted, to whom and
// for how long, a token has one length, one alphabet, and expires on the grid,
// so many days from an epoch that all share.
func TestP1(t *testing.T) {
	names := map[string]bool{}
	for i, to := range []string{carol, "x@a.example", "+4930123456@" + strings.Repeat("long.", 30) + "example"} {
		for bind := ToCaller; bind <= Open; bind++ {
			for hours := range 40 {
				g := grant(t, func(g *Grant) {
					g.Bind, g.Caller, g.Domain = bind, parsed(t, to), parsed(t, to).Host()
					g.Expires = noon.Add(time.Duration(hours*37) * time.Hour).Add(time.Hour)
				})
				tok, err := Issue(testKey(byte(i+1)), g, noon)
				if err != nil {
					t.Fatal(err)
				}
				onGrid(t, tok, g)
				names[tok.String()[:4]] = true
			}
		}
	}
	if len(names) != 1 {
		t.Errorf("tokens begin in %d ways", len(names))
	}
}

// onGrid checks the length of a token, and that its expiry is the next on the grid.
func onGrid(t *testing.T, tok Token, g Grant) {
	t.Helper()
	days := tok.Expires().Sub(epoch) / day
	if len(tok.String()) != 104 || days%7 != 0 || tok.Expires().Before(g.Expires) ||
		tok.Expires().Sub(g.Expires) >= 7*day {
		t.Fatalf("%d characters, until day %d", len(tok.String()), days)
	}
}

// TestP1Week: tokens of one week, each for its own reason and its own number
// of days, cannot be told apart by their expiry.
func TestP1Week(t *testing.T) {
	first := epoch.Add(7 * 400 * day)
	seen := map[string]bool{}
	for h := range 7 * 24 {
		tok := given(t, testKey(1), grant(t, func(g *Grant) { g.Expires = first.Add(time.Duration(h+1) * time.Hour) }), 1)
		seen[tok.String()[4:8]] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d kinds of heads in one week", len(seen))
	}
}

// TestP2 is "the server learns of nobody before the call": a token is made
// with the private key and the clock alone. This package opens nothing and
// asks nobody, and what precedes the signature does not depend on the caller.
func TestP2(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	for _, name := range sources {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			if !strings.HasSuffix(name, "_test.go") && (path == "os" || path == "net" || strings.HasPrefix(path, "net/")) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	c, d := parsed(t, carol), parsed(t, dave)
	one := given(t, testKey(1), grant(t, func(g *Grant) { g.Caller = c }), 1)
	two := given(t, testKey(1), grant(t, func(g *Grant) { g.Caller = d }), 1)
	if [11]byte(one.body[:11]) != [11]byte(two.body[:11]) {
		t.Error("a token shows whom it is for")
	}
	if one == two {
		t.Error("two callers have one token")
	}
}

// TestP3 is "what the server stores can neither mint tokens nor name who is
// trusted": it has public keys and salts. Without a guess of the caller not
// even a captured token says whom it is for; changed in any bit it is worth
// nothing, and no other identity, recipient or key makes it hold.
func TestP3(t *testing.T) {
	tok := given(t, testKey(1), grant(t, nil), 1)
	c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: noon}
	for bit := range bodySize * 8 {
		forged := tok
		forged.body[bit/8] ^= 1 << (bit % 8)
		if err := Verify(forged, c); err == nil {
			t.Fatalf("holds with bit %d changed", bit)
		}
	}
	for _, who := range []aor.AOR{{}, parsed(t, dave), parsed(t, bob), parsed(t, "carol@example.com")} {
		c := c
		c.Caller = who
		if err := Verify(tok, c); err != ErrNotHeld {
			t.Errorf("%v: %v", who, err)
		}
	}
	stored := append([]byte(nil), bobs()[0]...)
	for n := range 32 { // a public key taken as a private one mints nothing
		stored[n] ^= 0xff
		forged := given(t, ed25519.NewKeyFromSeed(stored), grant(t, nil), 1)
		if err := Verify(forged, c); err == nil {
			t.Fatal("minted with what the server has")
		}
	}
}
