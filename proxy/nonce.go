package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"sotto/proxy/guard"
)

// A nonceSource makes nonces that it recognises again without having kept
// them: time ‖ run ‖ random ‖ HMAC(whose address) ‖ HMAC(all this, realm). What it
// keeps, bounded, is which counts of a nonce were used (RFC 7616 §3.4: nc). Safe
// for concurrent use.
type nonceSource struct {
	key []byte
	run [nonceRunSize]byte // random, of this source: another one's counts are not known

	mu    sync.Mutex
	used  map[nonceID]*window // nonces used lately
	older map[nonceID]*window // and before; forgotten when used is full or old
	since time.Time           // when used was begun
	floor time.Time           // nonces of this time and before are stale, unless kept
}

// Limits of nonces (ours).
const (
	// nonceLife is how long a nonce is taken. A phone that registers again
	// later hears stale=true and asks nobody for a password.
	nonceLife = 5 * time.Minute
	// maxNonces bounds each of the two tables; only holders of a password fill them.
	maxNonces = 1 << 16
)

const (
	nonceTimeSize   = 8
	nonceRunSize    = 4
	nonceRandomSize = 4
	noncePlaceSize  = 8
	nonceMACSize    = 16
	nonceSize       = nonceTimeSize + nonceRunSize + nonceRandomSize + noncePlaceSize + nonceMACSize
)

const (
	nonceRandomStart = nonceTimeSize + nonceRunSize
	noncePlaceStart  = nonceRandomStart + nonceRandomSize
)

// A nonceID is the part of a nonce that is no MAC.
type nonceID [noncePlaceStart + noncePlaceSize]byte

// A nonceState is what a nonce turns out to be.
type nonceState uint8

const (
	nonceForeign   nonceState = iota // not ours, or for another realm
	nonceElsewhere                   // ours, but given to another address
	nonceStale                       // ours, but old, or its count was used
	nonceFresh                       // ours, and this count is new
)

// newNonceSource makes a source with a key that nobody else has.
func newNonceSource(key []byte) *nonceSource {
	n := &nonceSource{
		key: key, used: map[nonceID]*window{}, older: map[nonceID]*window{}, since: time.Now(),
	}
	_, _ = rand.Read(n.run[:]) // never fails
	return n
}

// make makes a nonce for realm, to be given to somebody at an address: who
// sends it back from there has received it there.
func (n *nonceSource) make(realm string, to netip.Addr, now time.Time) string {
	var id nonceID
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixNano()))
	copy(id[nonceTimeSize:], n.run[:])
	_, _ = rand.Read(id[nonceRandomStart:noncePlaceStart]) // never fails
	copy(id[noncePlaceStart:], n.place(id, to))
	return encoding.EncodeToString(append(id[:], n.mac(id, realm)...))
}

// place ties a nonce to the network of an address.
func (n *nonceSource) place(id nonceID, to netip.Addr) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write([]byte("sotto nonce place 1"))
	h.Write(id[:noncePlaceStart])
	h.Write(guard.Network(to).Addr().AsSlice())
	return h.Sum(nil)[:noncePlaceSize]
}

// mac is what makes a nonce ours.
func (n *nonceSource) mac(id nonceID, realm string) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write([]byte("sotto nonce 1"))
	h.Write(id[:])
	h.Write([]byte(realm))
	return h.Sum(nil)[:nonceMACSize]
}

// read returns the id of a nonce that is ours, whether it was given to this
// address, and whether its time is over.
func (n *nonceSource) read(text, realm string, from netip.Addr, now time.Time) (nonceID, nonceState) {
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) != nonceSize {
		return nonceID{}, nonceForeign
	}
	id := nonceID(raw)
	if !hmac.Equal(raw[len(id):], n.mac(id, realm)) {
		return nonceID{}, nonceForeign
	}
	if !hmac.Equal(id[noncePlaceStart:], n.place(id, from)) {
		return id, nonceElsewhere
	}
	if age := now.Sub(id.made()); age < 0 || age > nonceLife {
		return id, nonceStale
	}
	return id, nonceFresh
}

// made is when a nonce was made.
func (id nonceID) made() time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(id[:])))
}

// use notes that count of a fresh nonce was used, and says whether it was new.
// It is called only for credentials that are right, so that nobody without a
// password can use up somebody's counts or the table.
func (n *nonceSource) use(id nonceID, count uint32, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.used[id]
	if w == nil {
		w = n.older[id]
	}
	if w == nil {
		if !id.made().After(n.floor) || [nonceRunSize]byte(id[nonceTimeSize:]) != n.run {
			return false // what was used of it is forgotten, or another run's to know
		}
		n.turn(now)
		w = &window{}
		n.used[id] = w
	}
	return w.take(count)
}

// turn begins a new table when the present one is full or old. Nonces whose
// counts are forgotten before their time become stale, so that none is taken twice.
func (n *nonceSource) turn(now time.Time) {
	if len(n.used) < maxNonces && now.Sub(n.since) <= nonceLife {
		return
	}
	for id := range n.older {
		if t := id.made(); t.After(n.floor) {
			n.floor = t
		}
	}
	n.used, n.older, n.since = map[nonceID]*window{}, n.used, now
}

// A window remembers which of the last 64 counts were used: requests on UDP
// overtake each other.
type window struct {
	top  uint32
	seen uint64 // bit i: top-i
}

// take notes count and says whether it was new. Counts begin at 1.
func (w *window) take(count uint32) bool {
	switch {
	case count == 0:
		return false
	case count > w.top:
		w.seen = w.seen<<min(count-w.top, 64) | 1
		w.top = count
		return true
	}
	bit := uint64(1) << (w.top - count)
	if w.top-count >= 64 || w.seen&bit != 0 {
		return false
	}
	w.seen |= bit
	return true
}
