package proxy

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/tink-crypto/tink-go/v2/daead/subtle"
)

// What we hand out instead of addresses (design §3). Everything here is a
// pure function of its arguments and the key; nothing is looked up.
//
// Three things are sealed with AES-256-SIV (RFC 5297), each bound to its
// purpose so that one is never taken for another:
//
//   - the box: the user part of a Contact or Record-Route, with what is needed
//     to route the next request of the dialog;
//   - Call-ID and tags: deterministic, so that both directions map without a table;
//   - a reference to a dialog that crosses somebody who is no party to it (Refer-To).

// errForged is the error of whatever does not open: altered, made with a key
// that we do not have, or never ours. It becomes a 481.
var errForged = errors.New("seal does not open")

// errExpired is the error of a box that opens but is too old. It becomes a 481.
var errExpired = errors.New("seal is expired")

// A keyID names a key of the sealer; 0 is the current one. It is no secret.
type keyID uint16

// A sealer seals and opens. Safe for concurrent use, also while its keys are replaced.
type sealer struct {
	ring atomic.Pointer[[]sealKey] // the first one seals, all open
}

// keys are the keys at this moment.
func (s *sealer) keys() []sealKey { return *s.ring.Load() }

// A sealKey is one key and what was derived from it.
type sealKey struct {
	id  keyID
	siv *subtle.AESSIV
	mac []byte
}

// minSealSecret is the shortest secret that a sealer takes (ours: 256 bits).
const minSealSecret = 32

// newSealer makes a sealer that seals with current and also opens what was
// sealed with previous, which may be nil.
func newSealer(current, previous []byte) (*sealer, error) {
	s := &sealer{}
	if err := s.replace(current, previous); err != nil {
		return nil, err
	}
	return s, nil
}

// replace takes other keys from now on; on an error those of before stay.
func (s *sealer) replace(current, previous []byte) error {
	keys := make([]sealKey, 0, 2)
	for _, secret := range [][]byte{current, previous} {
		if secret == nil && len(keys) == 1 {
			break
		}
		k, err := newSealKey(secret)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	s.ring.Store(&keys)
	return nil
}

// newSealKey derives the keys of one secret.
func newSealKey(secret []byte) (sealKey, error) {
	if len(secret) < minSealSecret {
		return sealKey{}, fmt.Errorf("seal key has %d bytes, %d needed", len(secret), minSealSecret)
	}
	const macSize, idSize = sha256.Size, 2
	raw, err := hkdf.Key(sha256.New, secret, nil, "sotto seal 1",
		subtle.AESSIVKeySize+macSize+idSize)
	if err != nil {
		return sealKey{}, fmt.Errorf("deriving seal key: %w", err)
	}
	siv, err := subtle.NewAESSIV(raw[:subtle.AESSIVKeySize])
	if err != nil {
		return sealKey{}, fmt.Errorf("deriving seal key: %w", err)
	}
	mac := raw[subtle.AESSIVKeySize:]
	return sealKey{
		id:  keyID(binary.BigEndian.Uint16(mac[macSize:])) | 1, // never 0
		siv: siv, mac: mac[:macSize],
	}, nil
}

// at returns the sealer that seals with the key named id, which is what the
// dialog of a box with that key needs: its identifiers must stay what they
// were when the key is rotated in the middle of the call. An unknown id, and
// 0, mean the current key.
func (s *sealer) at(id keyID) *sealer {
	keys := s.keys()
	for i, k := range keys {
		if k.id == id && i > 0 {
			turned := append([]sealKey{k}, keys[:i]...)
			at := &sealer{}
			at.ring.Store(&turned)
			return at
		}
	}
	return s
}

// A purpose is the associated data of a seal.
type purpose string

const (
	forBox    purpose = "sotto/box/1"
	forCallID purpose = "sotto/call-id/1"
	forTag    purpose = "sotto/tag/1"
	forDialog purpose = "sotto/dialog/1"
)

// sealPrefix starts everything sealed. All of its characters and those of
// base64url may stand in a token, a Call-ID and a user part (RFC 3261 §25.1),
// and none is one that phones escape.
const sealPrefix = "s1-"

// Plain text is padded to a multiple of these, in bytes, so that its length,
// which tells one phone's make from another's, does not show (ours: a Call-ID
// and a tag of every phone of clients.md fit into one block; so does what a Contact
// holds but for a URI with the parameters of a push service, or with long names and
// two IPv6 addresses). Of a call that is not protected nothing has to be hidden.
const (
	boxBlock    = 128
	routeBlock  = 32
	callIDBlock = 64
	tagBlock    = 40
)

// callID seals a Call-ID of the caller's leg for the callee's leg. The same
// Call-ID always gives the same result under one key.
func (s *sealer) callID(id string) string { return s.text([]byte(id), forCallID, callIDBlock) }

// openCallID returns the Call-ID that callID was given.
func (s *sealer) openCallID(sealed string) (string, bool) {
	id, _, ok := s.openText(sealed, forCallID)
	return string(id), ok
}

// tag seals a tag of one party for the other party's leg, like callID.
func (s *sealer) tag(t string) string { return s.text([]byte(t), forTag, tagBlock) }

// openTag returns the tag that tag was given.
func (s *sealer) openTag(sealed string) (string, bool) {
	t, _, ok := s.openText(sealed, forTag)
	return string(t), ok
}

// localTag is the To tag of whatever the proxy itself answers to req: the
// same for every response to one request (RFC 3261 §8.2.7), unguessable for
// whom the response does not reach (the Via has the address that it goes to)
// and without the key, and of one form in every state of a recipient (facade.md).
func (s *sealer) localTag(req *sip.Request) string {
	var callID, from, via string
	if h := req.CallID(); h != nil {
		callID = h.Value()
	}
	if h := req.From(); h != nil {
		from, _ = tagOf(h.Params)
	}
	if h := req.Via(); h != nil {
		via = h.Value()
	}
	return localTagPrefix + s.digest("local tag", callID, from, via)
}

// localTagPrefix tells our own tags from those of devices.
const localTagPrefix = "t1-"

// isLocalTag says that localTag made t, as far as its form tells.
func isLocalTag(t string) bool {
	return strings.HasPrefix(t, localTagPrefix) && len(t) == len(localTagPrefix)+digestLen
}

// digestLen is the length of a digest in characters: 96 bits.
const digestLen = 16

// digest is a keyed hash of parts for one purpose, as digestLen token characters.
func (s *sealer) digest(purpose string, parts ...string) string {
	h := hmac.New(sha256.New, s.keys()[0].mac)
	for _, p := range append([]string{purpose}, parts...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return encoding.EncodeToString(h.Sum(nil))[:digestLen]
}

// sealedUser says that a user part has the form of a box. Only open tells
// whether it is one.
func sealedUser(user string) bool {
	return strings.HasPrefix(user, sealPrefix) && len(user) >= minBoxText
}

// minBoxText is the length of the smallest box: one block, the SIV, the prefix.
const minBoxText = len(sealPrefix) + (routeBlock+16)*4/3

// seal makes the user part for a box. A box with a key is sealed with that
// key, if we still have it. It fails if the box holds what cannot be written
// or is longer than maxBox.
func (s *sealer) seal(b box) (string, error) {
	raw, err := b.encode()
	if err != nil {
		return "", fmt.Errorf("sealing box: %w", err)
	}
	block := boxBlock
	if b.kind == boxRoute {
		block = routeBlock
	}
	return s.at(b.key).text(raw, forBox, block), nil
}

// open opens a user part. It fails with errForged or errExpired, and what is
// wrong with a forged one does not show.
func (s *sealer) open(text string, now time.Time) (box, error) {
	if len(text) > maxBoxText {
		return box{}, errForged
	}
	raw, key, ok := s.openText(text, forBox)
	if !ok {
		return box{}, errForged
	}
	b, err := decodeBox(raw)
	if err != nil {
		return box{}, errForged
	}
	if !now.Before(b.expires) {
		return box{}, errExpired
	}
	b.key = key
	return b, nil
}

// encoding has one text for each byte string: unused bits must be zero.
var encoding = base64.RawURLEncoding.Strict()

// text seals plain, padded to a multiple of block bytes.
func (s *sealer) text(plain []byte, p purpose, block int) string {
	padded := make([]byte, (len(plain)/block+1)*block)
	padded[copy(padded, plain)] = padMark
	sealed, err := s.keys()[0].siv.EncryptDeterministically(padded, []byte(p))
	if err != nil {
		// Only a plain text of nearly 2^63 bytes fails.
		panic(err)
	}
	return sealPrefix + encoding.EncodeToString(sealed)
}

// padMark ends the plain text; zeros follow (ISO/IEC 7816-4).
const padMark = 0x80

// openText opens what text made and names the key.
func (s *sealer) openText(text string, p purpose) ([]byte, keyID, bool) {
	body, ok := strings.CutPrefix(text, sealPrefix)
	if !ok {
		return nil, 0, false
	}
	sealed, err := encoding.DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") {
		return nil, 0, false // DecodeString skips line ends
	}
	for _, k := range s.keys() {
		padded, err := k.siv.DecryptDeterministically(sealed, []byte(p))
		if err != nil {
			continue
		}
		plain, ok := unpad(padded)
		return plain, k.id, ok
	}
	return nil, 0, false
}

// unpad takes the padding off.
func unpad(padded []byte) ([]byte, bool) {
	for i := len(padded) - 1; i >= 0; i-- {
		switch padded[i] {
		case 0:
		case padMark:
			return padded[:i], true
		default:
			return nil, false
		}
	}
	return nil, false
}

// tagOf is the tag of a From or To, whose name has any case (RFC 3261 §7.3.1).
func tagOf(params sip.HeaderParams) (string, bool) {
	for _, p := range params {
		if strings.EqualFold(strings.TrimSpace(p.K), "tag") {
			return strings.TrimSpace(p.V), true
		}
	}
	return "", false
}
