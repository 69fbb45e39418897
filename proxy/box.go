package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A leg is one party's side of a call; it is fixed for the life of the call.
type leg uint8

const (
	callerLeg leg = iota
	calleeLeg
)

// other is the other party's leg.
func (l leg) other() leg { return calleeLeg - l }

// String is "caller" or "callee".
func (l leg) String() string {
	if l == callerLeg {
		return "caller"
	}
	return "callee"
}

// A boxKind says what a box stands in.
type boxKind uint8

const (
	boxContact boxKind = iota // the Contact of a protected call
	boxRoute                  // a Record-Route of an unprotected call
	boxFacade                 // the Contact of a facade that has no device behind it yet
)

// A box is what the proxy must know to route the next request that comes to
// a Contact or Record-Route of ours. The party that has it cannot read it.
type box struct {
	kind    boxKind
	leg     leg       // whose leg the holder is on: whoever is given this box
	mark    mark      // of the caller's Call-ID: a box serves one dialog only
	session uint64    // media session; 0: none
	expires time.Time // to the second
	target  string    // the other party's Contact URI
	routes  []string  // the other party's route set, topmost first
	flow    flowRef   // the connection to the other party; zero: resolve
	binding uint64    // the other party's binding, where the flow is found again
	aor     string    // the other party, as user@domain; "" if it has no AOR
	ownTag  string    // the answering device's own tag, where a facade showed
	// another: shownTag. Both are empty without a facade.
	shownTag  string
	anonymous bool   // the caller has asked to be nobody: who it is, is told to nobody (RFC 3323)
	late      bool   // the answer to an offer of the callee is still due (RFC 3262 §5)
	salt      uint32 // tells apart what would look the same twice
	key       keyID  // set by open; seal and sealer.at use it. Not in the text.
}

// flowRef is what names a connection: a flow.Ref.
type flowRef = struct {
	Transport   string
	Local, Peer netip.AddrPort
	ID          uint64
}

// A mark is a short hash of a Call-ID.
type mark [6]byte

// markOf is the mark of a Call-ID as the caller knows it.
func markOf(callID string) mark {
	sum := sha256.Sum256([]byte(callID))
	return mark(sum[:])
}

// maxBox bounds a box in bytes (ours: a Contact of some 500 characters with
// several routes; it must fit into a datagram several times).
const maxBox = 1024

// maxBoxText is the length of the longest user part that open looks at.
const maxBoxText = len(sealPrefix) + (maxBox+boxBlock+16)*4/3 + 4

var errBox = errors.New("box cannot be written")

// What a box contains, after its first byte.
const (
	hasLeg     = 1 << iota // the holder is the callee
	hasSession             // 8 bytes
	hasBinding             // 8 bytes
	hasFlow
	hasTags
	hasRoutes
	isLate
	isAnonymous // the last bit there is
)

// boxVersion is in the upper half of the first byte, the kind in the lower.
const boxVersion = 1

// boxEpoch is second 0 of the expiry, which lasts until 2156.
var boxEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// encode writes a box as few bytes.
func (b box) encode() ([]byte, error) {
	age := b.expires.Sub(boxEpoch) / time.Second
	if age < 0 || age > math.MaxUint32 || b.kind > boxFacade || b.leg > calleeLeg {
		return nil, errBox
	}
	w := append(make([]byte, 0, 160), boxVersion<<4|byte(b.kind), b.flags())
	w = append(w, b.mark[:]...)
	w = binary.BigEndian.AppendUint32(w, b.salt)
	w = binary.BigEndian.AppendUint32(w, uint32(age))
	if b.session != 0 {
		w = binary.BigEndian.AppendUint64(w, b.session)
	}
	if b.binding != 0 {
		w = binary.BigEndian.AppendUint64(w, b.binding)
	}
	w, err := appendFlow(w, b.flow)
	if err != nil {
		return nil, err
	}
	text := []string{b.target, b.aor}
	if b.ownTag != "" || b.shownTag != "" {
		text = append(text, b.ownTag, b.shownTag)
	}
	for _, s := range append(text, b.routes...) {
		if w, err = appendText(w, s); err != nil {
			return nil, err
		}
	}
	if len(w) > maxBox {
		return nil, errBox
	}
	return w, nil
}

// flags says what b contains.
func (b box) flags() byte {
	var f byte
	for _, has := range []struct {
		it   bool
		flag byte
	}{
		{b.leg == calleeLeg, hasLeg},
		{b.session != 0, hasSession},
		{b.binding != 0, hasBinding},
		{b.flow != flowRef{}, hasFlow},
		{b.ownTag != "" || b.shownTag != "", hasTags},
		{len(b.routes) > 0, hasRoutes},
		{b.late, isLate},
		{b.anonymous, isAnonymous},
	} {
		if has.it {
			f |= has.flag
		}
	}
	return f
}

// transports has the transports by their number in a box.
var transports = []string{"udp", "tcp", "tls", "ws", "wss"}

// appendFlow writes a flow, if there is one.
func appendFlow(w []byte, f flowRef) ([]byte, error) {
	if f == (flowRef{}) {
		return w, nil
	}
	t := slices.Index(transports, f.Transport)
	if t < 0 {
		return nil, errBox
	}
	w = append(w, byte(t))
	for _, a := range []netip.AddrPort{f.Local, f.Peer} {
		raw, err := a.MarshalBinary()
		if err != nil || len(raw) > math.MaxUint8 {
			return nil, errBox
		}
		w = append(append(w, byte(len(raw))), raw...)
	}
	return binary.AppendUvarint(w, f.ID), nil
}

// What nearly every Contact has is written as one byte. A URI has no control
// characters, so that nothing is taken for these.
var (
	shortened = strings.NewReplacer("sip:", "\x01", "sips:", "\x02",
		";transport=udp", "\x03", ";transport=tcp", "\x04", ";transport=tls", "\x05",
		";transport=wss", "\x06", ";transport=ws", "\x07", ";lr", "\x08", ":5060", "\x09")
	lengthened = strings.NewReplacer("\x01", "sip:", "\x02", "sips:",
		"\x03", ";transport=udp", "\x04", ";transport=tcp", "\x05", ";transport=tls",
		"\x06", ";transport=wss", "\x07", ";transport=ws", "\x08", ";lr", "\x09", ":5060")
)

// appendText writes a string.
func appendText(w []byte, s string) ([]byte, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return nil, errBox
	}
	s = shortened.Replace(s)
	return append(binary.AppendUvarint(w, uint64(len(s))), s...), nil
}

// decodeBox reads what encode wrote, and nothing else.
func decodeBox(raw []byte) (box, error) {
	r := boxReader{rest: raw}
	head, flags := r.byte(), r.byte()
	b := box{kind: boxKind(head & 0xf), late: flags&isLate != 0, anonymous: flags&isAnonymous != 0}
	if head>>4 != boxVersion || b.kind > boxFacade {
		return box{}, errForged
	}
	if flags&hasLeg != 0 {
		b.leg = calleeLeg
	}
	copy(b.mark[:], r.next(len(b.mark)))
	b.salt = r.uint32()
	b.expires = boxEpoch.Add(time.Duration(r.uint32()) * time.Second)
	if flags&hasSession != 0 {
		b.session = r.uint64()
	}
	if flags&hasBinding != 0 {
		b.binding = r.uint64()
	}
	if flags&hasFlow != 0 {
		b.flow = r.flow()
	}
	b.target, b.aor = r.text(), r.text()
	if flags&hasTags != 0 {
		b.ownTag, b.shownTag = r.text(), r.text()
	}
	for flags&hasRoutes != 0 && len(r.rest) > 0 && !r.bad {
		b.routes = append(b.routes, r.text())
	}
	if r.bad || len(r.rest) > 0 {
		return box{}, errForged
	}
	return b, nil
}

// A boxReader reads a box; once something is missing it is bad and returns zeros.
type boxReader struct {
	rest []byte
	bad  bool
}

// next takes n bytes.
func (r *boxReader) next(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *boxReader) byte() byte {
	if b := r.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *boxReader) uint32() uint32 {
	if b := r.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *boxReader) uint64() uint64 {
	if b := r.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *boxReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.next(n)
	return v
}

func (r *boxReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	return lengthened.Replace(string(r.next(int(n))))
}

func (r *boxReader) flow() flowRef {
	t := int(r.byte())
	if t >= len(transports) {
		r.bad = true
		return flowRef{}
	}
	f := flowRef{Transport: transports[t]}
	for _, a := range []*netip.AddrPort{&f.Local, &f.Peer} {
		if err := a.UnmarshalBinary(r.next(int(r.byte()))); err != nil {
			r.bad = true
		}
	}
	f.ID = r.uvarint()
	return f
}
