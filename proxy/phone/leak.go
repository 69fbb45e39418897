package phone

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
}

// Forms lists the ways in which a marker (a text, or an IP address) can leave in a message or a
// packet: as text, percent-encoded, in hexadecimal, in Base64 at each of its three alignments;
// an address also in network order, reversed, as one number, and as STUN writes it (RFC 8489
// §14.2). Forms shorter than four octets are left out: they are found in any noise.
func Forms(marker string) []Form {
	forms := []Form{{"text", []byte(marker), true}}
	forms = append(forms, encoded("", []byte(marker))...)
	if p := url.QueryEscape(marker); p != marker {
		forms = append(forms, Form{"percent", []byte(p), true})
	}
	forms = append(forms, Form{"percent, all", allPercent(marker), true})
	if a, err := netip.ParseAddr(marker); err == nil {
		forms = append(forms, addressForms(a.Unmap())...)
	}
	return slices.DeleteFunc(forms, func(f Form) bool { return len(f.Text) < 4 })
}

func encoded(prefix string, raw []byte) []Form {
	forms := []Form{
		{prefix + "hex", []byte(hex.EncodeToString(raw)), true},
		{prefix + "reversed hex", []byte(hex.EncodeToString(reversed(raw))), true},
	}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			name := fmt.Sprintf("%sbase64, alignment %d", prefix, shift)
			forms = append(forms, Form{name, base64Core(enc, raw, shift), false})
		}
	}
	return forms
}

// base64Core is the part of the Base64 text of raw, shift octets into a longer one, that does
// not depend on the octets around it.
func base64Core(enc *base64.Encoding, raw []byte, shift int) []byte {
	padded := append(make([]byte, shift), raw...)
	text := enc.EncodeToString(padded)
	from := (shift*8 + 5) / 6
	to := len(padded) * 8 / 6
	if from >= to {
		return nil
	}
	return []byte(text[from:to])
}

func addressForms(a netip.Addr) []Form {
	raw := a.AsSlice()
	forms := []Form{
		{"octets", raw, false},
		{"reversed octets", reversed(raw), false},
		{"text, reversed", []byte(reversedText(a)), true},
		{"expanded text", []byte(a.StringExpanded()), true},
		{"mapped text", []byte("::ffff:" + a.String()), true},
	}
	forms = append(forms, encoded("octets, ", raw)...)
	if a.Is4() {
		n := binary.BigEndian.Uint32(raw)
		xored := binary.BigEndian.AppendUint32(nil, n^stunCookie)
		forms = append(forms,
			Form{"decimal", []byte(strconv.FormatUint(uint64(n), 10)), false},
			Form{"STUN, xor-mapped", xored, false},
			Form{"dashes", []byte(strings.ReplaceAll(a.String(), ".", "-")), false})
	} else {
		forms = append(forms, Form{"last 64 bits", raw[8:], false})
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

// A Leak is a marker found where it must not be.
type Leak struct {
	Marker string
	Form   string
	At     int // offset in the data
}

// Find searches data for every form of every marker.
func Find(data []byte, markers ...string) []Leak {
	var found []Leak
	lower := bytes.ToLower(data)
	for _, m := range markers {
		for _, f := range Forms(m) {
			if at := f.in(data, lower); at >= 0 {
				found = append(found, Leak{m, f.Name, at})
			}
		}
	}
	return found
}

func (f Form) in(data, lower []byte) int {
	if f.Fold {
		return bytes.Index(lower, bytes.ToLower(f.Text))
	}
	return bytes.Index(data, f.Text)
}

// String says what was found and where.
func (l Leak) String() string {
	return fmt.Sprintf("%q as %s at offset %d", l.Marker, l.Form, l.At)
}
