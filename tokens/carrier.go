package tokens

import (
	"net/url"
	"strings"
)

// The places in which an INVITE carries a token. They are read here as
// strings; who has the message takes them off it.
const (
	Header      = "Privacy-Token"   // header, and URI header
	AliasHeader = "X-Privacy-Token" // for devices that set only X- headers
	Param       = "pt"              // URI parameter, or parameter of To
)

// maxInHeader bounds the tokens of one header.
const maxInHeader = 3

// FromHeader reads the value of a Privacy-Token header: tokens, separated by
// commas, three at most.
func FromHeader(value string) []string {
	var all []string
	for one := range strings.SplitSeq(value, ",") {
		if one = strings.TrimSpace(one); one != "" && len(all) < maxInHeader {
			all = append(all, one)
		}
	}
	return all
}

// CutUser takes the tokens out of a user part: a "+pt1.…" suffix, or the
// literal "?Privacy-Token=…" that Linphone makes of a bare dialled string.
// What looks like a token is removed even if it is none.
func CutUser(user string) (clean string, found []string) {
	clean, query, ok := cutFold(user, "?", "%3f")
	if ok {
		_, found = CutURIHeaders(unescape(query))
	}
	if i := suffix(clean); i >= 0 {
		found = append(found, strings.TrimLeft(unescape(clean[i:]), "+"))
		clean = clean[:i]
	}
	return clean, found
}

// suffix finds where the "+pt1." of a user part begins, -1 without.
func suffix(user string) int {
	lower := strings.ToLower(user)
	for _, plus := range []string{"+pt", "%2bpt"} {
		if i := strings.Index(lower, plus); i >= 0 {
			rest := lower[i+len(plus):]
			if len(rest) > 1 && rest[0] >= '1' && rest[0] <= '9' && rest[1] == '.' {
				return i
			}
		}
	}
	return -1
}

// cutFold cuts s at the first of several separators, in any case.
func cutFold(s string, separators ...string) (before, after string, found bool) {
	lower := strings.ToLower(s)
	for _, sep := range separators {
		if i := strings.Index(lower, sep); i >= 0 {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}

// CutURIHeaders takes the tokens out of the headers of a URI, the text after
// its '?', and returns what remains. A value ends at ';' too: baresip appends
// URI parameters behind the headers.
func CutURIHeaders(headers string) (rest string, found []string) {
	var kept []string
	for h := range strings.SplitSeq(headers, "&") {
		name, value, _ := strings.Cut(h, "=")
		if !strings.EqualFold(name, Header) && !strings.EqualFold(name, AliasHeader) {
			kept = append(kept, h)
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		found = append(found, FromHeader(unescape(value))...)
	}
	return strings.Join(kept, "&"), found
}

// unescape decodes percent escapes; a bad one leaves the text as it is.
func unescape(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}
