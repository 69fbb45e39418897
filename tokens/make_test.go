package tokens

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/internal/aor"
)

// makeVectors makes what testdata/vectors.json has.
func makeVectors(t *testing.T) vectors {
	t.Helper()
	v := vectors{About: []string{
		"Test vectors of SIP privacy tokens, form pt1 (token-spec.md). All bytes are hexadecimal.",
		"keys: Ed25519. The private key is the seed; the verifier has only the public key.",
		"phrase: seed = HKDF-SHA256(entropy of the 12 BIP-39 words, no salt, info \"SIP-PT1 signing key\", 32 octets).",
		"addresses: canon(); \"\" is refused.",
		"tokens: m is what is signed, h its last 32 octets.",
		"claims: who shows which text to a recipient with these active keys at that time, and the verdict: " +
			"holds, expired, not held, malformed. caller \"\" is nobody. Of more than four keys the first four count.",
		"first_use: what a server keeps of the first user of a token of bind 2.",
		"user_parts: what a user part is without the tokens it carries.",
	}}
	for name, key := range testKeys() {
		v.Keys = append(v.Keys, keyVector{name, hex.EncodeToString(key.Seed()), hex.EncodeToString(publicOf(key))})
	}
	slices.SortFunc(v.Keys, func(a, b keyVector) int { return strings.Compare(a.Name, b.Name) })
	const words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
	key, err := KeyFromPhrase(words)
	if err != nil {
		t.Fatal(err)
	}
	v.Phrase = phraseVector{words, hex.EncodeToString(key.Seed()), hex.EncodeToString(publicOf(key))}
	v.Addresses = addresses()
	v.Tokens = tokenVectors(t)
	v.Claims = claimVectors(v.Tokens)
	for _, caller := range []string{carol, dave} {
		salt := [8]byte{3, 3, 3, 3, 3, 3, 3, 3}
		h := FirstUseHash(salt, parsed(t, caller))
		v.FirstUse = append(v.FirstUse, firstVector{hex.EncodeToString(salt[:]), caller, hex.EncodeToString(h[:])})
	}
	text := v.Tokens[0].Text
	for _, in := range []string{
		"bob", "bob+" + text, "bob%2B" + text, "bob?Privacy-Token=" + text, "bob%3Fprivacy-token%3D" + text,
		"+4930123456+" + text, "bob+pt1.not-a-token", "bob+tag", "bob?subject=hello",
	} {
		clean, found := CutUser(in)
		v.UserParts = append(v.UserParts, userVector{in, clean, found})
	}
	return v
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// addresses are examples of the canonical form, with their result.
func addresses() []addressVector {
	all := []addressVector{
		{In: "bob@example.com"},
		{In: "sip:bob@example.com"},
		{In: "SIPS:bob@Example.COM.:5061;transport=tls?subject=x"},
		{In: `"B. <x@y>" <sip:bob@example.com;lr>;tag=1`},
		{In: "sip:Bob@example.com"},
		{In: "sip:%62ob@example.com"},
		{In: "sip:b%c3%b6b@example.com"},
		{In: "sip:bob:secret@example.com"},
		{In: "sip:bob+pt1.xyz@example.com"},
		{In: "sip:bob+tag@example.com"},
		{In: "sip:bob@bücher.example"},
		{In: "sip:bob@[2001:DB8::1]:5060"},
		{In: "sip:+49(30)123-456@example.com;user=phone"},
		{In: "sip:+49(30)123-456@example.com"},
		{In: "sip:example.com"},
		{In: "mailto:bob@example.com"},
		{In: "sip:b%zzb@example.com"},
	}
	for i := range all {
		a, err := aor.Parse(all[i].In)
		if err == nil {
			all[i].Canonical = a.String()
		}
	}
	return all
}

// tokenVectors has a token of each binding, by each of bob's keys.
func tokenVectors(t *testing.T) []tokenVector {
	t.Helper()
	var all []tokenVector
	for i, want := range []struct {
		name, key, to string
		bind          Bind
		life          time.Duration
	}{
		{"one caller", "bob", carol, ToCaller, Life},
		{"one domain", "bob", "example.org", ToDomain, Life},
		{"first use", "bob", "", FirstUse, Life},
		{"open", "bob", "", Open, Life},
		{"one caller, second key", "bob2", carol, ToCaller, Life},
		{"one caller, fifth key", "bob5", carol, ToCaller, Life},
		{"one caller, longest life", "bob", carol, ToCaller, MaxLife},
		{"one caller, by another's key", "mallory", carol, ToCaller, Life},
		{"one caller, telephone number", "bob", "+4930123456@example.org", ToCaller, Life},
	} {
		g := Grant{Recipient: parsed(t, bob), Bind: want.bind, Expires: noon.Add(want.life)}
		if want.bind == ToCaller {
			g.Caller = parsed(t, want.to)
		} else {
			g.Domain = want.to
		}
		tok := given(t, testKeys()[want.key], g, byte(i+1))
		salt, h := tok.Salt(), tok.callerHash(want.to)
		all = append(all, tokenVector{
			Name: want.name, Key: want.key, Recipient: bob, Bind: uint8(want.bind), To: want.to,
			Expires: tok.Expires().Format(time.DateOnly), Salt: hex.EncodeToString(salt[:]),
			Hash: hex.EncodeToString(h[:]), Message: hex.EncodeToString(tok.message(g.Recipient, want.to)),
			Text: tok.String(),
		})
	}
	return all
}

// claimVectors shows the tokens to those they are for, and to others.
func claimVectors(all []tokenVector) []claimVector {
	text := map[string]string{}
	for _, tok := range all {
		text[tok.Name] = tok.Text
	}
	one, own := text["one caller"], []string{"bob"}
	at := func(d time.Duration) string { return noon.Add(d).Format(time.RFC3339) }
	now, end := at(0), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	last := end.Sub(noon) - time.Second
	return []claimVector{
		{"its caller", one, bob, carol, own, now, holds},
		{"another caller of the domain", one, bob, dave, own, now, notHeld},
		{"nobody", one, bob, "", own, now, notHeld},
		{"case of the user counts", one, bob, "Carol@example.org", own, now, notHeld},
		{"another recipient", one, erin, carol, own, now, notHeld},
		{"no key left", one, bob, carol, nil, now, notHeld},
		{"another key", one, bob, carol, []string{"bob2"}, now, notHeld},
		{"second of two keys", one, bob, carol, []string{"bob2", "bob"}, now, holds},
		{"fourth of four keys", one, bob, carol, []string{"bob2", "bob3", "bob4", "bob"}, now, holds},
		{
			"a fifth key does not count", text["one caller, fifth key"], bob, carol,
			[]string{"bob", "bob2", "bob3", "bob4", "bob5"},
			now, notHeld,
		},
		{"signed by another", text["one caller, by another's key"], bob, carol, own, now, notHeld},
		{"the last second", one, bob, carol, own, at(last), holds},
		{"the first second after", one, bob, carol, own, at(last + time.Second), expired},
		{"the longest life", text["one caller, longest life"], bob, carol, own, now, holds},
		{"too far away", text["one caller, longest life"], bob, carol, own, at(-20 * day), expired},
		{"a domain: one caller", text["one domain"], bob, carol, own, now, holds},
		{"a domain: another", text["one domain"], bob, dave, own, now, holds},
		{"a domain: not a subdomain", text["one domain"], bob, "carol@sub.example.org", own, now, notHeld},
		{"a domain: another domain", text["one domain"], bob, erin, own, now, notHeld},
		{"a domain: nobody", text["one domain"], bob, "", own, now, notHeld},
		{"first use, as far as the signature goes", text["first use"], bob, carol, own, now, holds},
		{"first use, another recipient", text["first use"], erin, carol, own, now, notHeld},
		{"open", text["open"], bob, erin, own, now, holds},
		{"open, nobody", text["open"], bob, "", own, now, holds},
		{"open, expired", text["open"], bob, erin, own, at(60 * day), expired},
		{"number", text["one caller, telephone number"], bob, "+4930123456@example.org", own, now, holds},
		{"empty", "", bob, carol, own, now, malformed},
		{"cut short", one[:len(one)-1], bob, carol, own, now, malformed},
		{"too long", one + "A", bob, carol, own, now, malformed},
		{"padded", one[:len(one)-1] + "=", bob, carol, own, now, malformed},
		{"prefix in upper case", "PT1." + one[4:], bob, carol, own, now, malformed},
		{"another form", "pt2." + one[4:], bob, carol, own, now, malformed},
		{"another alphabet", one[:50] + "+" + one[51:], bob, carol, own, now, malformed},
		{"line break", one[:50] + "\n" + one[51:], bob, carol, own, now, malformed},
		{"version 2", "pt1.I" + one[5:], bob, carol, own, now, malformed},
		{"bind 4", "pt1.FA" + one[6:], bob, carol, own, now, malformed},
		{"bind changed", "pt1.Ew" + one[6:], bob, carol, own, now, notHeld},
		{"expiry changed", one[:7] + "G" + one[8:], bob, carol, own, now, notHeld},
	}
}
