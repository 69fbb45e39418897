// Package aor has the address of record (RFC 3261 §6): a user's public
// address in one canonical form, which is what tokens are bound to and what
// everything else is keyed by.
package aor

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// AOR is an address of record. It is comparable; the zero value is nobody.
type AOR struct{ user, host string }

// maxLen bounds an address of record in octets (ours: an e-mail address has
// 254 at most, RFC 5321 §4.5.3.1).
const maxLen = 256

// ErrBad is the error of everything that is not an address of record.
var ErrBad = errors.New("not an address of record")

// Parse reads "bob@example.com", "sip:bob@example.com;x=y?z", "sips:…" or
// `"Bob" <sip:bob@example.com>`.
func Parse(s string) (AOR, error) {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		inner, _, ok := strings.Cut(s[i+1:], ">")
		if !ok {
			return AOR{}, ErrBad
		}
		s = inner
	}
	for _, scheme := range []string{"sips:", "sip:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	i := strings.LastIndexByte(cutAfterHost(s), '@')
	if i < 0 {
		return AOR{}, fmt.Errorf("%w: no user", ErrBad)
	}
	return New(s[:i], cutAfterHost(s)[i+1:])
}

// cutAfterHost removes URI parameters and headers: what follows the host.
func cutAfterHost(s string) string {
	at := strings.IndexByte(s, '@')
	if i := strings.IndexAny(s[at+1:], ";?"); i >= 0 {
		return s[:at+1+i]
	}
	return s
}

// ParseTel reads a tel URI (RFC 3966) as a number of domain: separators go,
// the number is global.
func ParseTel(s, domain string) (AOR, error) {
	if len(s) < 4 || !strings.EqualFold(s[:4], "tel:") {
		return AOR{}, ErrBad
	}
	number, _, _ := strings.Cut(s[4:], ";")
	number = digits(number)
	if number == "" {
		return AOR{}, ErrBad
	}
	return New("+"+number, domain)
}

// digits are the digits of a telephone number, "" if it has anything else but
// visual separators (RFC 3966 §5.1.1).
func digits(s string) string {
	var b strings.Builder
	for i, c := range strings.TrimPrefix(s, "+") {
		switch {
		case c >= '0' && c <= '9':
			b.WriteRune(c)
		case i > 0 && strings.ContainsRune("-.() ", c), c == '(':
		default:
			return ""
		}
	}
	return b.String()
}

// New makes an address of the parts of a SIP URI as they are on the wire: a
// user that may be percent-encoded and may have a password, and a host that
// may have a port. A token in the user part is not part of the address.
func New(user, host string) (AOR, error) {
	user, _, _ = strings.Cut(user, ":")
	user, err := canonicalUser(cutToken(user))
	if err != nil {
		return AOR{}, err
	}
	host, err = canonicalHost(host)
	if err != nil {
		return AOR{}, err
	}
	if len(user)+1+len(host) > maxLen {
		return AOR{}, fmt.Errorf("%w: too long", ErrBad)
	}
	return AOR{user, host}, nil
}

// cutToken removes a "+pt1.…" suffix (token-spec: canon).
func cutToken(user string) string {
	for i := strings.Index(user, "+pt"); i >= 0; {
		rest := user[i+3:]
		if len(rest) >= 2 && rest[0] >= '1' && rest[0] <= '9' && rest[1] == '.' {
			return user[:i]
		}
		next := strings.Index(rest, "+pt")
		if next < 0 {
			break
		}
		i += 3 + next
	}
	return user
}

// unreserved are the characters of a user part that need no escape (RFC 3261
// §25.1: unreserved and user-unreserved, but for ';' '?' and '/', which other
// parsers trip over).
const unreserved = "-_.!~*'()&=+$,"

// canonicalUser decodes what is escaped and escapes what must be. Case is kept.
func canonicalUser(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			hi, lo := unhex(s, i+1), unhex(s, i+2)
			if hi < 0 || lo < 0 {
				return "", fmt.Errorf("%w: bad escape", ErrBad)
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		if c == 0 || c == '\r' || c == '\n' {
			return "", fmt.Errorf("%w: control character", ErrBad)
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%w: no user", ErrBad)
	}
	return b.String(), nil
}

// plain says that c stands in a user part as it is.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte(unreserved, c) >= 0
}

// unhex is the value of a hexadecimal digit, -1 if there is none.
func unhex(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	v := strings.IndexByte("0123456789abcdefABCDEF", s[i])
	if v > 15 {
		v -= 6
	}
	return v
}

// canonicalHost is a host in lower case, as A-label, without port and final
// dot; an IPv6 address keeps its brackets.
func canonicalHost(h string) (string, error) {
	if ip, ok := literal(h); ok {
		if ip.Is6() {
			return "[" + ip.String() + "]", nil
		}
		return ip.String(), nil
	}
	h, _, _ = strings.Cut(h, ":")
	h = strings.TrimSuffix(h, ".")
	a, err := idna.Lookup.ToASCII(h)
	if err != nil || a == "" {
		return "", fmt.Errorf("%w: bad host", ErrBad)
	}
	return strings.ToLower(a), nil
}

// literal reads a host that is an IP address, with or without a port.
func literal(h string) (netip.Addr, bool) {
	if strings.HasPrefix(h, "[") {
		h, _, _ = strings.Cut(h[1:], "]")
	} else if strings.Count(h, ":") == 1 {
		h, _, _ = strings.Cut(h, ":")
	}
	ip, err := netip.ParseAddr(h)
	return ip.Unmap().WithZone(""), err == nil
}

// User is the user part, minimally escaped.
func (a AOR) User() string { return a.user }

// Host is the domain.
func (a AOR) Host() string { return a.host }

// IsZero says that a is nobody.
func (a AOR) IsZero() bool { return a == AOR{} }

// IsIP says that the host is an IP address.
func (a AOR) IsIP() bool {
	_, ok := literal(a.host)
	return ok
}

// String is the canonical form, "bob@example.com"; "" for nobody.
func (a AOR) String() string {
	if a.IsZero() {
		return ""
	}
	return a.user + "@" + a.host
}

// URI is the SIP URI, "sip:bob@example.com".
func (a AOR) URI() string { return "sip:" + a.String() }

// LogValue keeps the user out of every log (style guide, principle 8).
func (a AOR) LogValue() slog.Value {
	if a.IsZero() {
		return slog.StringValue("nobody")
	}
	return slog.StringValue("…@" + a.host)
}
