package tokens

import (
	"crypto/ed25519"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"
	"time"
)

// bobs is bob's one active key.
func bobs() []ed25519.PublicKey { return []ed25519.PublicKey{publicOf(testKey(1))} }

// TestKeysOfOddSize: a key that is none is passed over, it neither panics nor
// hides the next.
func TestKeysOfOddSize(t *testing.T) {
	tok := given(t, testKey(1), grant(t, nil), 1)
	c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Now: noon}
	c.Keys = []ed25519.PublicKey{nil, {1, 2, 3}, bobs()[0]}
	if err := Verify(tok, c); err != nil {
		t.Error(err)
	}
	c.Keys = c.Keys[:2]
	if err := Verify(tok, c); err != ErrNotHeld {
		t.Error(err)
	}
}

// TestZeroToken: no token is not a token.
func TestZeroToken(t *testing.T) {
	c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: noon}
	if err := Verify(Token{}, c); err != ErrExpired {
		t.Error(err)
	}
	c.Now = time.Time{}
	if err := Verify(Token{}, c); err == nil {
		t.Error("holds")
	}
}

// TestOneError: whoever shows a token to the wrong recipient, as the wrong
// caller, or to a recipient who has deleted the key or has none, learns the
// same. Nothing but the expiry, which is in the text, is told apart (the time
// it takes is hidden behind a clock: token-spec, validation).
func TestOneError(t *testing.T) {
	tok := given(t, testKey(1), grant(t, nil), 1)
	good := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Keys: bobs(), Now: noon}
	for name, change := range map[string]func(*Claim){
		"recipient":    func(c *Claim) { c.Recipient = parsed(t, erin) },
		"no recipient": func(c *Claim) { c.Recipient = parsed(t, "") },
		"caller":       func(c *Claim) { c.Caller = parsed(t, dave) },
		"nobody":       func(c *Claim) { c.Caller = parsed(t, "") },
		"key deleted":  func(c *Claim) { c.Keys = nil },
		"other key":    func(c *Claim) { c.Keys = []ed25519.PublicKey{publicOf(testKey(2))} },
	} {
		c := good
		change(&c)
		if err := Verify(tok, c); err != ErrNotHeld {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify(tok, good); err != nil {
		t.Fatal(err)
	}
}

// TestFirstUse: the hash that binds a token names caller and token together.
func TestFirstUse(t *testing.T) {
	salt, other := [8]byte{1}, [8]byte{2}
	c, d := parsed(t, carol), parsed(t, dave)
	if FirstUseHash(salt, c) != FirstUseHash(salt, parsed(t, "sip:carol@EXAMPLE.org:5060")) {
		t.Error("the same caller has two hashes")
	}
	if FirstUseHash(salt, c) == FirstUseHash(salt, d) {
		t.Error("two callers have one hash")
	}
	if FirstUseHash(salt, c) == FirstUseHash(other, c) {
		t.Error("a copied table links two tokens of one caller (P3)")
	}
}

func BenchmarkVerify(b *testing.B) {
	tok := given(b, testKey(1), grant(b, nil), 1)
	for _, keys := range []int{1, MaxKeys} {
		c := Claim{Recipient: parsed(b, bob), Caller: parsed(b, carol), Now: noon}
		for n := range keys {
			c.Keys = append(c.Keys, publicOf(testKey(byte(keys-n)))) // the last one holds
		}
		b.Run(string(rune('0'+keys)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Verify(tok, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := given(b, testKey(1), grant(b, nil), 1).String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

// The key that stands for those that a recipient does not have is one with
// which a check does all its work: Go's ed25519 gives up early on what is no
// point of the curve. Its secret scalar is 1, as everybody knows: so it can be
// signed with, and what is signed with it must not hold.
func TestDecoyWorksAndOpensNothing(t *testing.T) {
	message := []byte("anything")
	if !ed25519.Verify(decoy(), message, signedByDecoy(t, message)) {
		t.Error("the decoy is no key")
	}
	tok := given(t, testKey(1), grant(t, nil), 1)
	c := Claim{Recipient: parsed(t, bob), Caller: parsed(t, carol), Now: noon}
	m := tok.message(c.Recipient, c.Caller.String())
	copy(tok.body[3+saltSize:], signedByDecoy(t, m))
	if err := Verify(tok, c); err == nil {
		t.Error("a token signed with the decoy holds")
	}
}

// signedByDecoy signs with the scalar 1 (RFC 8032 §5.1.6).
func signedByDecoy(t *testing.T, message []byte) []byte {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	once, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("key has no public half")
	}
	h := sha512.Sum512(seed)
	h[0], h[31] = h[0]&248, h[31]&63|64
	k := sha512.Sum512(slices.Concat(once, decoy(), message))
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := new(big.Int).Add(littleEndian(h[:32]), littleEndian(k[:]))
	sum := s.Mod(s, order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return slices.Concat(once, sum)
}

func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}
