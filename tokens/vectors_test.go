package tokens

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"sotto/internal/aor"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectors are what another implementation needs to check itself against this
// one, with nothing but the specification. Bytes are in hexadecimal.
type vectors struct {
	About     []string        `json:"about"`
	Keys      []keyVector     `json:"keys"`
	Phrase    phraseVector    `json:"phrase"`
	Addresses []addressVector `json:"addresses"`
	Tokens    []tokenVector   `json:"tokens"`
	Claims    []claimVector   `json:"claims"`
	FirstUse  []firstVector   `json:"first_use"`
	UserParts []userVector    `json:"user_parts"`
}

type keyVector struct {
	Name   string `json:"name"`
	Seed   string `json:"seed"`
	Public string `json:"public"`
}

type phraseVector struct {
	Words  string `json:"words"`
	Seed   string `json:"seed"`
	Public string `json:"public"`
}

type addressVector struct {
	In        string `json:"in"`
	Canonical string `json:"canonical"` // "": refused
}

type tokenVector struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Recipient string `json:"recipient"`
	Bind      uint8  `json:"bind"`
	To        string `json:"to,omitempty"` // caller or domain
	Expires   string `json:"expires"`
	Salt      string `json:"salt"`
	Hash      string `json:"h"`
	Message   string `json:"m"`
	Text      string `json:"text"`
}

type claimVector struct {
	Name      string   `json:"name"`
	Text      string   `json:"text"`
	Recipient string   `json:"recipient"`
	Caller    string   `json:"caller"`
	Keys      []string `json:"keys"`
	Now       string   `json:"now"`
	Verdict   string   `json:"verdict"`
}

type firstVector struct {
	Salt   string `json:"salt"`
	Caller string `json:"caller"`
	Hash   string `json:"hash"`
}

type userVector struct {
	In     string   `json:"in"`
	Clean  string   `json:"clean"`
	Tokens []string `json:"tokens"`
}

// The verdicts of a claim.
const (
	holds     = "holds"
	expired   = "expired"
	notHeld   = "not held"
	malformed = "malformed"
)

// The parties of all tests.
const (
	bob   = "bob@example.com"
	carol = "carol@example.org"
	dave  = "dave@example.org"
	erin  = "erin@example.net"
)

// noon is the present of all tests.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// testKey is a key with a seed that anybody can write down.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// testKeys are bob's own and three that he has besides, and mallory's.
func testKeys() map[string]ed25519.PrivateKey {
	return map[string]ed25519.PrivateKey{
		"bob": testKey(1), "bob2": testKey(2), "bob3": testKey(3), "bob4": testKey(4), "bob5": testKey(5),
		"mallory": testKey(6),
	}
}

func parsed(t testing.TB, text string) aor.AOR {
	t.Helper()
	if text == "" {
		return aor.AOR{}
	}
	a, err := aor.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return a
}

// given is the token of a grant, with a salt that the test chooses.
func given(t testing.TB, key ed25519.PrivateKey, g Grant, salt byte) Token {
	t.Helper()
	at := g.Expires.Add(-time.Hour)
	whom, err := g.whom(at)
	if err != nil {
		t.Fatal(err)
	}
	return sign(key, g, whom, [saltSize]byte(bytes.Repeat([]byte{salt}, saltSize)))
}

// TestVectors compares the file with what this package makes, and each claim
// of the file with what this package, and the specification, say of it.
func TestVectors(t *testing.T) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(makeVectors(t)); err != nil {
		t.Fatal(err)
	}
	want := out.Bytes()
	if *update {
		if err := os.WriteFile(vectorFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what this package makes; vectors that were published never change", vectorFile)
	}
	var v vectors
	if err := json.Unmarshal(have, &v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Claims {
		t.Run(c.Name, func(t *testing.T) {
			if got := verdictOf(t, c); got != c.Verdict {
				t.Errorf("this package says %q, the vector %q", got, c.Verdict)
			}
			if got := specVerdict(t, v, c); got != c.Verdict {
				t.Errorf("the specification says %q, the vector %q", got, c.Verdict)
			}
		})
	}
}

// verdictOf is what this package says of a claim.
func verdictOf(t *testing.T, c claimVector) string {
	t.Helper()
	tok, err := Parse(c.Text)
	if err != nil {
		return malformed
	}
	now, err := time.Parse(time.RFC3339, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	claim := Claim{Recipient: parsed(t, c.Recipient), Caller: parsed(t, c.Caller), Now: now}
	for _, k := range c.Keys {
		claim.Keys = append(claim.Keys, testKeys()[k].Public().(ed25519.PublicKey))
	}
	switch Verify(tok, claim) {
	case nil:
		return holds
	case ErrExpired:
		return expired
	case ErrNotHeld:
		return notHeld
	}
	return "?"
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
