package tokens

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// specVerdict verifies a claim from token-spec.md and the vectors alone: it
// calls nothing of this package. Addresses in claims are canonical already.
func specVerdict(t *testing.T, v vectors, c claimVector) string {
	t.Helper()
	body, ok := specDecode(c.Text)
	if !ok {
		return malformed
	}
	now, err := time.Parse(time.RFC3339, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2020, 1, 1+int(body[1])<<8+int(body[2]), 0, 0, 0, 0, time.UTC)
	if !now.Before(expires) || expires.Sub(now) > 190*24*time.Hour {
		return expired
	}
	m, ok := specMessage(body, c.Recipient, c.Caller)
	if !ok || len(c.Keys) == 0 {
		return notHeld
	}
	for _, name := range c.Keys[:min(4, len(c.Keys))] {
		for _, k := range v.Keys {
			if k.Name == name && ed25519.Verify(unhex(t, k.Public), m, body[11:75]) {
				return holds
			}
		}
	}
	return notHeld
}

// specDecode is "strict decoding: exact length, alphabet, canonical last bits".
func specDecode(text string) ([]byte, bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	rest, ok := strings.CutPrefix(text, "pt1.")
	if !ok || len(rest) != 100 || strings.Trim(rest, alphabet) != "" {
		return nil, false
	}
	body, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(body) != 75 || body[0]>>4 != 1 || body[0]&15 > 3 {
		return nil, false
	}
	return body, true
}

// specMessage is M; none for a bound token without a caller.
func specMessage(body []byte, recipient, caller string) ([]byte, bool) {
	salt := string(body[3:11])
	h := "SIP-PT1-any\x00" + salt
	switch body[0] & 15 {
	case 0:
		h = "SIP-PT1-caller\x00" + salt + caller
	case 1:
		_, domain, _ := strings.Cut(caller, "@")
		h = "SIP-PT1-caller\x00" + salt + domain
	}
	if body[0]&15 < 2 && caller == "" {
		return nil, false
	}
	sum := sha256.Sum256([]byte(h))
	m := "SIP-Privacy-Token/1\x00" + string(body[:11]) +
		string([]byte{byte(len(recipient) >> 8), byte(len(recipient))}) + recipient + string(sum[:])
	return []byte(m), true
}

// TestFile checks what in the vectors is not a claim: the bytes of every
// token, by the specification.
func TestFile(t *testing.T) {
	v := makeVectors(t)
	for _, k := range v.Keys {
		key := ed25519.NewKeyFromSeed(unhex(t, k.Seed))
		if string(key.Public().(ed25519.PublicKey)) != string(unhex(t, k.Public)) {
			t.Errorf("%s: public key is not of the seed", k.Name)
		}
	}
	for _, tok := range v.Tokens {
		checkToken(t, tok)
	}
	for _, f := range v.FirstUse {
		sum := sha256.Sum256(append(unhex(t, f.Salt), f.Caller...))
		if string(sum[:]) != string(unhex(t, f.Hash)) {
			t.Errorf("first use by %s: hash differs from the specification", f.Caller)
		}
	}
}

// checkToken checks one token, byte by byte.
func checkToken(t *testing.T, tok tokenVector) {
	t.Helper()
	body, ok := specDecode(tok.Text)
	if !ok {
		t.Fatalf("%s: malformed", tok.Name)
	}
	who := tok.To
	if tok.Bind == 1 {
		who = "anybody@" + tok.To
	}
	m, _ := specMessage(body, tok.Recipient, who)
	if string(m) != string(unhex(t, tok.Message)) || !strings.HasSuffix(tok.Message, tok.Hash) {
		t.Errorf("%s: M or H differs from the specification", tok.Name)
	}
	if string(body[3:11]) != string(unhex(t, tok.Salt)) || body[0] != 0x10|tok.Bind {
		t.Errorf("%s: salt or vf differs from the specification", tok.Name)
	}
	date := time.Date(2020, 1, 1+int(body[1])<<8+int(body[2]), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	if date != tok.Expires {
		t.Errorf("%s: exp says %s, the vector %s", tok.Name, date, tok.Expires)
	}
}
