package proxy

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 8760 §2.3: phones that know nothing newer
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"sotto/internal/aor"
)

// An authenticator is the server's side of digest authentication (RFC 3261
// §22, RFC 7616, RFC 8760): it makes challenges and checks credentials. It
// holds no passwords. Safe for concurrent use.
type authenticator struct {
	nonces  *nonceSource
	guesses *guesses
	key     []byte
}

// newAuthenticator makes an authenticator. The key is a secret of at least 32
// bytes; with the same key nonces of before a restart are stale, not foreign:
// phones try again without asking anybody.
func newAuthenticator(key []byte) (*authenticator, error) {
	if len(key) < minSealSecret {
		return nil, fmt.Errorf("nonce key has %d bytes, %d needed", len(key), minSealSecret)
	}
	return &authenticator{nonces: newNonceSource(key), guesses: newGuesses(), key: key}, nil
}

// An authResult is what credentials are worth. Its zero value is nothing.
type authResult uint8

const (
	authFailed authResult = iota // challenge anew
	authStale                    // right, but for an old nonce or a used count: challenge with stale
	authWrong                    // by somebody who is where it says; challenge anew
	authOK
)

// ha1 holds H(user:realm:password) in lower-case hexadecimal for each
// algorithm; "" where the user has none.
type ha1 struct{ sha256, md5 string }

// secrets looks up the ha1 of a user (as in the credentials) and realm.
type secrets func(user, realm string) (ha1, bool)

// challenges makes the values of the WWW-Authenticate or Proxy-Authenticate
// headers: SHA-256 first, MD5 for phones that know nothing better (RFC 8760
// §2.3). They are the same for every user, existing or not. to is whose they are.
func (a *authenticator) challenges(realm string, to netip.Addr, stale bool) []string {
	nonce := a.nonces.make(realm, to, time.Now())
	var out []string
	for _, algorithm := range []string{"SHA-256", "MD5"} {
		c := digest.Challenge{
			Realm: realm, Nonce: nonce, Algorithm: algorithm, Stale: stale, QOP: []string{"auth"},
		}
		out = append(out, c.String())
	}
	return out
}

// check checks one Authorization or Proxy-Authorization value against realm
// and the request that it came with, and returns the user that it proves.
//
// Unknown users, wrong passwords and an algorithm for which a user has no
// ha1 take the same path: the same hashes are computed, with a secret of our own.
// The uri of the credentials must be the Request-URI, leniently (see sameURI).
// from is where they come from, for the limits of guessing.
func (a *authenticator) check(
	value, realm string, req *sip.Request, from netip.Addr, of secrets,
) (user string, result authResult) {
	c, err := digest.ParseCredentials(value)
	if err != nil || c.Realm != realm || c.QOP != "auth" || c.Userhash {
		return "", authFailed
	}
	now := time.Now()
	id, state := a.nonces.read(c.Nonce, realm, from, now)
	if state == nonceForeign || c.Nc <= 0 || !sameURI(c.URI, req.Recipient) {
		return "", authFailed
	}
	if state == nonceElsewhere {
		// Whoever writes somebody's address as his own must not use up what that
		// address may guess; so a password counts only where its nonce was received.
		return "", authStale
	}
	account := accountOf(c)
	if !a.guesses.may(from, account, now) {
		return "", authWrong
	}
	h, secret := a.secret(c, of)
	if h == nil || !matches(h, c, string(req.Method), secret) {
		a.guesses.wrong(from, account, now)
		return "", authWrong
	}
	if state == nonceStale || !a.nonces.use(id, uint32(c.Nc), now) {
		return "", authStale
	}
	a.guesses.right(from, account, now)
	return c.Username, authOK
}

// accountOf is whose credentials these are, in whichever way the name is
// written: guesses must not count apart that are for one account.
func accountOf(c *digest.Credentials) string {
	if a, err := aor.New(c.Username, c.Realm); err == nil {
		return a.String()
	}
	return c.Username // of nobody
}

// secret is the hash that the credentials name and the user's ha1 for it, or
// one that no password gives.
func (a *authenticator) secret(c *digest.Credentials, of secrets) (hash.Hash, string) {
	known, _ := of(c.Username, c.Realm)
	dummy := a.dummy(c)
	var (
		h      hash.Hash
		secret string
	)
	switch strings.ToUpper(c.Algorithm) {
	case "SHA-256":
		h, secret = sha256.New(), known.sha256
	case "MD5", "": // RFC 3261 §22.4: MD5 where nothing is said
		h, secret = md5.New(), known.md5 //nolint:gosec // as above
	default:
		return nil, ""
	}
	if len(secret) != 2*h.Size() {
		secret = dummy[:2*h.Size()]
	}
	return h, secret
}

// dummy is an ha1 that belongs to no password.
func (a *authenticator) dummy(c *digest.Credentials) string {
	m := hmac.New(sha256.New, a.key)
	m.Write([]byte("sotto dummy ha1\x00" + c.Username + "\x00" + c.Realm))
	return hex.EncodeToString(m.Sum(nil))
}

// matches says that the response of the credentials is right (RFC 7616 §3.4.1).
func matches(h hash.Hash, c *digest.Credentials, method, secret string) bool {
	a2 := hashed(h, method, c.URI)
	ok := 0
	for _, nc := range []string{fmt.Sprintf("%08x", c.Nc), fmt.Sprintf("%08X", c.Nc)} {
		// The count is hashed as the client wrote it; both cases are in use.
		want := hashed(h, secret, c.Nonce, nc, c.Cnonce, c.QOP, a2)
		ok |= subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.Response)))
	}
	return ok == 1
}

// hashed is H(parts joined by ":") in hexadecimal.
func hashed(h hash.Hash, parts ...string) string {
	h.Reset()
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}

// sameURI says that the uri of credentials is meant for a request to target.
// RFC 3261 §22.4 wants the Request-URI, but phones write it without
// parameters, with another port or scheme, or name only the server; a proxy on the
// way may have changed it, too. So the users must be equal and so must the hosts, in
// any case; or the uri has no user at all. What is given up by that is little:
// the count makes every response good for one request only.
func sameURI(uri string, target sip.Uri) bool {
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return false
	}
	if u.User == "" && u.Host != "" && !u.Wildcard {
		return true
	}
	if u.Raw() != "" || target.Raw() != "" {
		return u.Raw() == target.Raw() && strings.EqualFold(u.Scheme, target.Scheme)
	}
	return u.User == target.User && strings.EqualFold(u.Host, target.Host)
}
