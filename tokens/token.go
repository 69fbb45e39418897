// Package tokens has the privacy tokens: what a recipient gives to a caller
// so that the caller's INVITE rings. A token is made and signed on the
// recipient's own device; the server checks it with the recipient's public
// key and learns yes or no.
//
// Promised, each with a test: every token of a kind has one shape, one length
// and one expiry grid, so that the reason for trust is never expressed (P1);
// the server learns of a trusted person at the call, not before (P2); what
// the server stores can neither name relationships nor mint tokens (P3).
//
// Not promised: the server routes the call, so it sees who calls whom when the
// caller authenticates; and a copied database together with a captured token
// lets one test guesses of the caller.
//
// This package does no I/O.
package tokens

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sotto/internal/aor"
)

// Bind says to whom a token is bound.
type Bind uint8

// The kinds of binding.
const (
	ToCaller Bind = iota // one address of record
	ToDomain             // everybody of one domain
	FirstUse             // who shows it first: for a card or a QR code
	Open                 // anybody, until it expires
)

// String is the name of the binding.
func (b Bind) String() string {
	switch b {
	case ToCaller:
		return "caller"
	case ToDomain:
		return "domain"
	case FirstUse:
		return "first use"
	case Open:
		return "open"
	}
	return "unknown"
}

// Sizes and times of pt1.
const (
	prefix   = "pt1."
	version  = 1
	bodySize = 1 + 2 + saltSize + ed25519.SignatureSize // 75
	saltSize = 8
	TextSize = len(prefix) + (bodySize*8+5)/6 // 104 characters
	grid     = 7                              // days: every expiry is a multiple, from the epoch

	// Life is how long a token holds unless its issuer says otherwise, MaxLife
	// how long it may. The verifier allows for the rounding to the grid.
	Life    = 28 * day
	MaxLife = 182 * day
	slack   = 8 * day

	day = 24 * time.Hour
)

// epoch is day 0 of an expiry.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// ErrMalformed is the error of a text that is no token. Whoever may not know
// more sees no difference between it and a token that does not hold.
var ErrMalformed = errors.New("not a privacy token")

// Token is a parsed token. The zero value is none.
type Token struct{ body [bodySize]byte }

// encoding refuses texts that are not the only one for their bytes.
var encoding = base64.RawURLEncoding.Strict()

// Parse reads the text form, strictly: exact length, alphabet and last bits.
func Parse(text string) (Token, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(text) != TextSize || strings.ContainsAny(rest, "\r\n") {
		return Token{}, ErrMalformed
	}
	var t Token
	n, err := encoding.Decode(t.body[:], []byte(rest))
	if err != nil || n != bodySize || t.body[0]>>4 != version || t.Bind() > Open {
		return Token{}, ErrMalformed
	}
	return t, nil
}

// String is the text form. It is a secret of its holder: see LogValue.
func (t Token) String() string { return prefix + encoding.EncodeToString(t.body[:]) }

// LogValue keeps tokens out of every log.
func (t Token) LogValue() slog.Value { return slog.StringValue("pt1.…") }

// Bind says to whom the token is bound.
func (t Token) Bind() Bind { return Bind(t.body[0] & 0xf) }

// Expires is when the token ends.
func (t Token) Expires() time.Time {
	return epoch.Add(time.Duration(binary.BigEndian.Uint16(t.body[1:3])) * day)
}

// Salt identifies the token: for a revocation, and to bind it at first use.
func (t Token) Salt() [saltSize]byte { return [saltSize]byte(t.body[3 : 3+saltSize]) }

// Grant is what a recipient gives.
type Grant struct {
	Recipient aor.AOR
	Bind      Bind
	Caller    aor.AOR   // for ToCaller
	Domain    string    // for ToDomain
	Expires   time.Time // rounded up to the grid
}

// Issue makes and signs a token with the recipient's private key. It fails on
// a grant without its recipient, caller or domain, and on an expiry that is
// over or more than MaxLife away.
func Issue(key ed25519.PrivateKey, g Grant, now time.Time) (Token, error) {
	whom, err := g.whom(now)
	if err != nil {
		return Token{}, err
	}
	var salt [saltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return Token{}, fmt.Errorf("making salt: %w", err)
	}
	return sign(key, g, whom, salt), nil
}

// whom is the caller or the domain that the grant names, in canonical form,
// "" for one that names nobody. It refuses a grant that no token can express.
func (g Grant) whom(now time.Time) (string, error) {
	switch {
	case g.Recipient.IsZero():
		return "", errors.New("grant has no recipient")
	case !g.Expires.After(now):
		return "", errors.New("expiry is over")
	case g.Expires.Sub(now) > MaxLife:
		return "", fmt.Errorf("expiry is more than %d days away", MaxLife/day)
	case g.Expires.Before(epoch) || g.Expires.After(lastExpiry()):
		return "", errors.New("the clock is wrong: no token can express this expiry")
	}
	switch g.Bind {
	case ToCaller:
		if g.Caller.IsZero() {
			return "", errors.New("grant names no caller")
		}
		return g.Caller.String(), nil
	case ToDomain:
		a, err := aor.New("x", g.Domain) // a domain has the form that it has in an address
		if err != nil {
			return "", fmt.Errorf("grant names no domain: %w", err)
		}
		return a.Host(), nil
	case FirstUse, Open:
		return "", nil
	}
	return "", errors.New("no such binding")
}

// sign makes the token of a grant to whom.
func sign(key ed25519.PrivateKey, g Grant, whom string, salt [saltSize]byte) Token {
	var t Token
	t.body[0] = version<<4 | byte(g.Bind)
	binary.BigEndian.PutUint16(t.body[1:3], expiryDay(g.Expires))
	copy(t.body[3:], salt[:])
	copy(t.body[3+saltSize:], ed25519.Sign(key, t.message(g.Recipient, whom)))
	return t
}

// lastExpiry is the last one on the grid that two octets hold, in 2199.
func lastExpiry() time.Time { return epoch.Add((1<<16 - 1) / grid * grid * day) }

// expiryDay rounds a time up to the grid.
func expiryDay(at time.Time) uint16 {
	days := (at.Sub(epoch) + day - 1) / day
	days = (days + grid - 1) / grid * grid
	return uint16(days) // not after lastExpiry
}

// message is what is signed: M of the specification.
func (t Token) message(recipient aor.AOR, whom string) []byte {
	r := recipient.String()
	m := append([]byte("SIP-Privacy-Token/1\x00"), t.body[:3+saltSize]...)
	m = binary.BigEndian.AppendUint16(m, uint16(len(r))) // an AOR has at most 256 octets
	m = append(m, r...)
	h := t.callerHash(whom)
	return append(m, h[:]...)
}

// callerHash is H: it is not in the token, the verifier makes it from the
// identity that it has established.
func (t Token) callerHash(whom string) [sha256.Size]byte {
	salt := t.Salt()
	if t.Bind() == FirstUse || t.Bind() == Open {
		return sha256.Sum256(append([]byte("SIP-PT1-any\x00"), salt[:]...))
	}
	return sha256.Sum256(append(append([]byte("SIP-PT1-caller\x00"), salt[:]...), whom...))
}
