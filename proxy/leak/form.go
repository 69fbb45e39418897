// Package leak searches bytes for what they should not tell: an address or a
// name in every form in which it could be written (leaks.md §5), and says in
// which header, line of a description or item of RTCP it stands. The tests of
// protected calls, `sotto leaktest` and the receipt that the proxy keeps of a
// protected call search with the same code.
package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Form is one way in which a marker can be written in a packet.
type Form struct {
	Name string // such as "hex" or "base64, alignment 1"
	Text []byte
	Fold bool // letters match in either case

	// before and after are the letters of Base64 that may stand beside Text:
	// they hold the marker's first and last bits with others. "": any.
	before, after string

	// chance says that what is no secret can be this form: noise, if it has no more than four
	// octets of the marker that are not zero, or another address, of which it is a part.
	chance bool
	// digits are what may not stand beside Text where chance is to be kept out; "": it cannot be.
	digits string
}

const (
	decimalDigits = "0123456789"
	hexDigits     = decimalDigits + "abcdef"
)

// Forms lists the ways in which a marker (a text, or an IP address) can leave in a message or a
// packet: as text, percent-encoded, in hexadecimal, in Base64 at each of its three alignments;
// an address also in network order, reversed, as one number, and as STUN writes it (RFC 8489
// §14.2). Forms of fewer than four octets are left out, as are the last 64 bits of an address of
// which fewer than four octets are not zero: they are found in any noise.
func Forms(marker string) []Form {
	forms := []Form{{Name: "text", Text: []byte(marker), Fold: true}}
	forms = append(forms, encoded("", []byte(marker))...)
	if p := url.QueryEscape(marker); p != marker {
		forms = append(forms, Form{Name: "percent", Text: []byte(p), Fold: true})
	}
	forms = append(forms, Form{Name: "percent, all", Text: allPercent(marker), Fold: true})
	if a, err := netip.ParseAddr(marker); err == nil {
		forms = append(forms, addressForms(a.Unmap())...)
		alone(forms, a.Unmap())
	}
	return slices.DeleteFunc(forms, func(f Form) bool { return len(f.Text) < 4 })
}

// alone marks the forms in which an address is read: with a digit beside it, it
// is another one, as 192.0.2.20 is within 192.0.2.201.
func alone(forms []Form, a netip.Addr) {
	digits := decimalDigits
	if a.Is6() {
		digits = hexDigits
	}
	for i, f := range forms {
		switch f.Name {
		case "text", "text, reversed", "expanded text", "mapped text", "dashes":
			forms[i].chance, forms[i].digits = true, digits
		}
	}
}

func encoded(prefix string, raw []byte) []Form {
	forms := []Form{
		{Name: prefix + "hex", Text: []byte(hex.EncodeToString(raw)), Fold: true, digits: hexDigits},
		{Name: prefix + "reversed hex", Text: []byte(hex.EncodeToString(reversed(raw))), Fold: true, digits: hexDigits},
	}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			f := base64Core(enc, raw, shift)
			f.Name = fmt.Sprintf("%sbase64, alignment %d", prefix, shift)
			forms = append(forms, f)
		}
	}
	for i := range forms {
		forms[i].chance = len(raw) <= 4
	}
	return forms
}

// base64Core is the part of the Base64 text of raw, shift octets into a longer one, that does
// not depend on the octets around it, and what may stand beside it.
func base64Core(enc *base64.Encoding, raw []byte, shift int) Form {
	padded := append(make([]byte, shift), raw...)
	text := enc.EncodeToString(append(slices.Clone(padded), 0, 0))
	from := (shift*8 + 5) / 6
	to := len(padded) * 8 / 6
	if from >= to {
		return Form{}
	}
	f := Form{Text: []byte(text[from:to])}
	all := alphabet(enc)
	if known := from*6 - shift*8; known > 0 {
		f.before = like(all, text[from-1], func(v int) int { return v & (1<<known - 1) })
	}
	if known := len(padded)*8 - to*6; known > 0 {
		f.after = like(all, text[to], func(v int) int { return v >> (6 - known) })
	}
	return f
}

// alphabet has the 64 letters of an encoding in their order.
func alphabet(enc *base64.Encoding) string {
	var b strings.Builder
	for v := range 64 {
		b.WriteString(enc.EncodeToString([]byte{byte(v << 2)})[:1])
	}
	return b.String()
}

// like lists the letters whose values agree with that of one letter in the bits that pick takes.
func like(all string, letter byte, pick func(value int) int) string {
	want := pick(strings.IndexByte(all, letter))
	var b strings.Builder
	for v := range len(all) {
		if pick(v) == want {
			b.WriteByte(all[v])
		}
	}
	return b.String()
}

func addressForms(a netip.Addr) []Form {
	raw := a.AsSlice()
	forms := []Form{
		{Name: "octets", Text: raw, chance: a.Is4()},
		{Name: "reversed octets", Text: reversed(raw), chance: a.Is4()},
		{Name: "text, reversed", Text: []byte(reversedText(a)), Fold: true},
		{Name: "expanded text", Text: []byte(a.StringExpanded()), Fold: true},
		{Name: "mapped text", Text: []byte("::ffff:" + a.String()), Fold: true},
	}
	forms = append(forms, encoded("octets, ", raw)...)
	if a.Is4() {
		n := binary.BigEndian.Uint32(raw)
		xored := binary.BigEndian.AppendUint32(nil, n^stunCookie)
		forms = append(forms,
			Form{Name: "decimal", Text: []byte(strconv.FormatUint(uint64(n), 10)), chance: true, digits: decimalDigits},
			Form{Name: "STUN, xor-mapped", Text: xored, chance: true},
			Form{Name: "dashes", Text: []byte(strings.ReplaceAll(a.String(), ".", "-"))})
	} else {
		// The identifier of ::f is seven zeros and an octet, as a counter is, or a report of RTCP.
		id := raw[8:]
		if set := len(id) - bytes.Count(id, []byte{0}); set >= 4 {
			forms = append(forms, Form{Name: "last 64 bits", Text: id, chance: set == 4})
		}
	}
	return forms
}

const stunCookie = 0x2112a442 // RFC 8489 §5

func reversedText(a netip.Addr) string {
	parts := strings.Split(a.String(), ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

func allPercent(s string) []byte {
	var b []byte
	for i := range len(s) {
		b = fmt.Appendf(b, "%%%02x", s[i])
	}
	return b
}

func reversed(b []byte) []byte {
	r := slices.Clone(b)
	slices.Reverse(r)
	return r
}
