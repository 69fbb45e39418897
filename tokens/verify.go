package tokens

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"time"

	"sotto/internal/aor"
)

// Errors of Verify, for the recipient's own eyes.
var (
	ErrExpired = errors.New("token is expired, or its expiry is too far away")
	ErrNotHeld = errors.New("token is not for this caller and recipient, or of a key that is gone")
)

// Claim is what somebody who shows a token has established.
type Claim struct {
	Recipient aor.AOR
	Caller    aor.AOR             // zero: not authenticated
	Keys      []ed25519.PublicKey // the recipient's active keys
	Now       time.Time
}

// MaxKeys is how many active keys a recipient may have: each costs a
// verification.
const MaxKeys = 4

// Verify says whether t lets the caller of c ring its recipient. The caller
// of Verify still asks whether t is revoked, and for FirstUse whether it is
// bound to another caller already. A token that does not hold takes the time
// of MaxKeys keys, however many the recipient has: who shows bogus tokens
// learns neither that nor whether there is such a recipient.
func Verify(t Token, c Claim) error {
	if !c.Now.Before(t.Expires()) || t.Expires().Sub(c.Now) > MaxLife+slack {
		return ErrExpired
	}
	whom := ""
	switch t.Bind() {
	case ToCaller:
		whom = c.Caller.String()
	case ToDomain:
		whom = c.Caller.Host()
	case FirstUse, Open:
	}
	if whom == "" && (t.Bind() == ToCaller || t.Bind() == ToDomain) {
		return ErrNotHeld
	}
	m := t.message(c.Recipient, whom)
	for i, k := range c.Keys {
		if i < MaxKeys && len(k) == ed25519.PublicKeySize && ed25519.Verify(k, m, t.body[3+saltSize:]) {
			return nil
		}
	}
	for range MaxKeys - len(c.Keys) {
		_ = ed25519.Verify(decoy(), m, t.body[3+saltSize:]) // whatever it says
	}
	return ErrNotHeld
}

// decoy stands for a key that the recipient does not have: the curve's base
// point, for which a check takes as long as for any other.
func decoy() ed25519.PublicKey {
	k := bytes.Repeat([]byte{0x66}, ed25519.PublicKeySize) // RFC 8032 §5.1: y = 4/5
	k[0] = 0x58
	return k
}

// FirstUseHash is what the server keeps of who used a FirstUse token first.
func FirstUseHash(salt [saltSize]byte, caller aor.AOR) [sha256.Size]byte {
	return sha256.Sum256(append(salt[:], caller.String()...))
}
