package proxy

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
)

// maxDisplayName bounds what a receiver's phone shows, in characters (ours).
const maxDisplayName = 64

// displayName makes the name that a sender gives itself fit to be shown to
// the other party: printable, bounded, without what ends a quoted string or
// turns the direction of text. One that holds an address is none.
func displayName(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == maxDisplayName {
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar || strings.ContainsRune(`"\<>`, r) {
			continue
		}
		b.WriteRune(r)
		n++
	}
	name := strings.TrimSpace(b.String())
	if strings.Contains(name, "@") || containsAddress(name) {
		return ""
	}
	return name
}

// addresses finds what looks like an IPv4 or IPv6 address in text, also as
// providers write it into host names. It would rather find too much.
var addresses = regexp.MustCompile(
	`\d[-._]\d{1,3}[-._]\d{1,3}[-._]\d|[0-9a-fA-F]?:[0-9a-fA-F]{0,4}:`)

// containsAddress says that an IP address may stand somewhere in s.
func containsAddress(s string) bool { return addresses.MatchString(s) }

// canonicalHost is a host as it is compared: lower case, no brackets, no final dot.
func canonical(host string) string {
	host = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), ".")
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// isAddress says that a canonical host is an address in any of the forms that
// resolvers take: 192.0.2.1, 3221225985, 0xc0000201, 192.513, 2001:db8::1.
func isAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(strings.TrimPrefix(last, "0x"), "0123456789") == "" ||
		strings.HasPrefix(last, "0x")
}

// isName says that a canonical host is a name that may be shown: letters,
// digits, hyphens, and no address written into it.
func isName(host string) bool {
	if host == "" || len(host) > 253 || containsAddress(host) {
		return false
	}
	for _, r := range host {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
		default:
			return false
		}
	}
	return true
}

// userName makes the user part of a URI fit to be shown: without a token
// that was appended to it, and only with characters that need no quoting.
func userName(user string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case strings.ContainsRune("-_.!~*'()&=+$%#", r):
			return r
		}
		return '_'
	}, tokenless(user))
}
