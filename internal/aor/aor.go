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
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// AOR is an address of record. It is comparable; the zero value is nobody.
type AOR struct{ user, host string }

// maxLen bounds an address of record in octets (ours: an e-mail address has
// 254 at most, RFC 5321 §4.5.3.1).
const maxLen = 256

// maxRaw bounds what it is made from: a host in Unicode costs the square of its
// length, seconds for one of a datagram's size, and a token may follow the user.
const maxRaw = 1024

// ErrBad is the error of everything that is not an address of record.
var ErrBad = errors.New("not an address of record")

// Parse reads "bob@example.com", "sip:bob@example.com;x=y?z", "sips:…" or
// `"Bob" <sip:bob@example.com>`. A telephone number in a SIP URI (user=phone,
// RFC 3261 §19.1.1) loses its visual separators.
func Parse(s string) (AOR, error) {
	s, err := addrSpec(strings.TrimSpace(s))
	if err != nil {
		return AOR{}, err
	}
	s, schemed := cutScheme(s)
	s, params := cutAfterHost(s)
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return AOR{}, fmt.Errorf("%w: no user", ErrBad)
	}
	user, host := s[:i], s[i+1:]
	if !schemed && strings.Contains(user, ":") {
		return AOR{}, fmt.Errorf("%w: not a SIP address", ErrBad) // another scheme
	}
	if number, ok := strings.CutPrefix(user, "+"); ok && isPhone(params) && digits(number) != "" {
		user = "+" + digits(number)
	}
	return New(user, host)
}

// addrSpec takes the URI out of a name-addr (RFC 3261 §25.1): what stands in
// quotes, or in a parameter, is no address.
func addrSpec(s string) (string, error) {
	rest := s
	if strings.HasPrefix(s, `"`) {
		end := 1
		for end < len(s) && s[end] != '"' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		rest = s[min(end+1, len(s)):]
	}
	if i := strings.IndexByte(rest, '<'); i >= 0 {
		inner, _, ok := strings.Cut(rest[i+1:], ">")
		if !ok {
			return "", ErrBad
		}
		return inner, nil
	}
	if len(rest) < len(s) {
		return "", ErrBad // a display name without an address
	}
	return s, nil
}

// cutScheme removes "sip:" or "sips:".
func cutScheme(s string) (rest string, found bool) {
	for _, scheme := range []string{"sips:", "sip:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return s[len(scheme):], true
		}
	}
	return s, false
}

// cutAfterHost removes URI parameters and headers: what follows the host.
func cutAfterHost(s string) (before, after string) {
	at := strings.IndexByte(s, '@')
	if i := strings.IndexAny(s[at+1:], ";?"); i >= 0 {
		return s[:at+1+i], s[at+1+i:]
	}
	return s, ""
}

// isPhone says that URI parameters have user=phone.
func isPhone(params string) bool {
	params, _, _ = strings.Cut(params, "?")
	for p := range strings.SplitSeq(params, ";") {
		if strings.EqualFold(p, "user=phone") {
			return true
		}
	}
	return false
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
	if len(user) > maxRaw || len(host) > maxRaw {
		return AOR{}, fmt.Errorf("%w: too long", ErrBad)
	}
	user, _, _ = strings.Cut(user, ":")
	user, err := canonicalUser(user)
	if err != nil {
		return AOR{}, err
	}
	if i := TokenAt(user); i >= 0 {
		user = user[:i]
	}
	if user == "" {
		return AOR{}, fmt.Errorf("%w: no user", ErrBad)
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

// TokenAt is where the "+pt1.…" of a decoded user part begins, in any case and
// any version of tokens; -1 without (token-spec: canon).
func TokenAt(user string) int {
	for i := 0; i+5 <= len(user); i++ {
		if user[i] == '+' && strings.EqualFold(user[i+1:i+3], "pt") &&
			user[i+3] >= '1' && user[i+3] <= '9' && user[i+4] == '.' {
			return i
		}
	}
	return -1
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
	if !utf8.ValidString(h) {
		return "", fmt.Errorf("%w: bad host", ErrBad)
	}
	a, err := idna.Lookup.ToASCII(h)
	a = strings.ToLower(strings.TrimSuffix(a, ".")) // only now: U+3002 is a dot too
	if err != nil || !labels(a) {
		return "", fmt.Errorf("%w: bad host", ErrBad)
	}
	return a, nil
}

// labels says that a name has no empty label, nor one longer than DNS has
// (RFC 1035 §2.3.4).
func labels(name string) bool {
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > 63 {
			return false
		}
	}
	return true
}

// literal reads a host that is an IP address, with or without a port.
func literal(h string) (netip.Addr, bool) {
	if strings.HasPrefix(h, "[") {
		inner, after, ok := strings.Cut(h[1:], "]")
		if !ok || after != "" && after[0] != ':' {
			return netip.Addr{}, false
		}
		h = inner
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
