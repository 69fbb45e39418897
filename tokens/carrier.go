package tokens

import (
	"strconv"
	"strings"

	"sotto/internal/aor"
)

// The places in which an INVITE carries a token. They are read here as
// strings; who has the message takes them off it.
const (
	Header      = "Privacy-Token"   // header, and URI header
	AliasHeader = "X-Privacy-Token" // for devices that set only X- headers
	Param       = "pt"              // URI parameter, or parameter of To
)

// OfferHeader is the header in which a recipient gives a token to whomever the
// recipient calls or writes to.
const OfferHeader = "Privacy-Token-Offer"

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
// literal "?Privacy-Token=…" that Linphone makes of a bare dialled string,
// percent-encoded or not. What looks like a token is removed even if it is none.
func CutUser(user string) (clean string, found []string) {
	plain, at := decode(user)
	end := len(plain)
	if i := strings.IndexByte(plain, '?'); i >= 0 {
		if _, in, ok := cutHeaders(strings.TrimLeft(plain[i:], "?")); ok {
			found, end = in, i
		}
	}
	if i := aor.TokenAt(plain[:end]); i >= 0 {
		text := plain[i+1 : end]
		if j := strings.IndexAny(text, ";?:"); j >= 0 {
			text = text[:j]
		}
		found, end = append(found, text), i
	}
	return user[:at[end]], found
}

// decode decodes percent escapes, byte by byte, and says where each byte of
// the result, and its end, was in s. A bad escape stands for itself.
func decode(s string) (plain string, at []int) {
	b := make([]byte, 0, len(s))
	at = make([]int, 0, len(s)+1)
	for i := 0; i < len(s); i++ {
		c, from := s[i], i
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, i = byte(v), i+2
			}
		}
		b, at = append(b, c), append(at, from)
	}
	return string(b), append(at, len(s))
}

// CutURIHeaders takes the tokens out of the headers of a URI, the text after
// its '?', and returns what remains. A value ends at ';' too: baresip appends
// URI parameters behind the headers.
func CutURIHeaders(headers string) (rest string, found []string) {
	rest, found, _ = cutHeaders(headers)
	return rest, found
}

// cutHeaders is CutURIHeaders, and says whether a header for tokens was there,
// with tokens or without.
func cutHeaders(headers string) (rest string, found []string, ok bool) {
	var kept []string
	for h := range strings.SplitSeq(headers, "&") {
		name, value, _ := strings.Cut(h, "=")
		name, _ = decode(name)
		if !strings.EqualFold(name, Header) && !strings.EqualFold(name, AliasHeader) {
			kept = append(kept, h)
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		value, _ = decode(value)
		found, ok = append(found, FromHeader(value)...), true
	}
	return strings.Join(kept, "&"), found, ok
}
