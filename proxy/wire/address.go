package wire

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// list splits the values of a header at its commas, but for those in quotes
// and angle brackets (RFC 3261 §7.3.1).
func list(v string) []string {
	if !strings.Contains(v, ",") {
		return []string{v}
	}
	var all []string
	start, quoted, angle := 0, false, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !angle:
			quoted = !quoted
		case c == '<' && !quoted:
			angle = true
		case c == '>' && !quoted:
			angle = false
		case c == ',' && !quoted && !angle:
			all, start = append(all, v[start:i]), i+1
		}
	}
	return append(all, v[start:])
}

// tidyAddress puts a name-addr or addr-spec with its parameters into the usual
// form (RFC 3261 §20.10). A display name that was not quoted is the parser's
// to quote; it must not be able to end the quotes.
func tidyAddress(v string) (string, bool) {
	v = tighten(v, ";=")
	name, uri, params, ok := splitAddress(v)
	if !ok || !goodParams(params) {
		return "", false
	}
	tidy, ok := tidyURI(uri)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(v[len(name):], "<") || strings.Contains(tidy, "?") {
		return name + "<" + tidy + ">" + params, true
	}
	if tidy == uri {
		return v, true
	}
	return tidy + params, true
}

// tidyListed is tidyAddress for one address of a list. A display name with an
// escaped quote is dropped: the parser looks for commas behind it.
func tidyListed(v string) (string, bool) {
	v, ok := tidyAddress(v)
	if i := strings.IndexByte(v, '<'); i > 0 && strings.Contains(v[:i], `\`) {
		v = v[i:]
	}
	return v, ok
}

// splitAddress finds the parts of an address: what stands before the angle
// bracket, the URI, and from the first semicolon the parameters.
func splitAddress(v string) (name, uri, params string, ok bool) {
	i := strings.IndexAny(v, `<;"`)
	if i == 0 && v[0] == '"' {
		end := closing(v)
		if end < 0 {
			return "", "", "", false
		}
		i = end + len(v[end:]) - len(strings.TrimLeft(v[end:], " "))
		if i == len(v) || v[i] != '<' {
			return "", "", "", false
		}
	}
	switch {
	case i < 0: // no parameters
		return "", v, "", bare(v)
	case v[i] == ';':
		return "", v[:i], v[i:], bare(v[:i])
	case v[i] == '"' || v[0] != '"' && strings.Contains(v[:i], `\`):
		return "", "", "", false
	}
	uri, params, ok = strings.Cut(v[i+1:], ">")
	return v[:i], uri, params, ok && (params == "" || params[0] == ';')
}

// closing is where the quoted string ends with which v begins: behind its
// quote, or negative.
func closing(v string) int {
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// bare says that a URI may stand without angle brackets (RFC 3261 §20). A
// question mark in the user part may, although it must not: Linphone makes
// that of a dialled "bob?Privacy-Token=…". Headers of a URI have no "@".
func bare(uri string) bool {
	host := uri[strings.LastIndexByte(uri, '@')+1:]
	return !strings.Contains(uri, ",") && !strings.Contains(host, "?")
}

// tidyURI refuses a URI with characters that none may have, and puts a SIP URI
// into the form that the parser reads: no empty parameter, and a '=' behind
// the last one if headers follow.
func tidyURI(u string) (string, bool) {
	if u == "" || strings.ContainsAny(u, " \t\"<>") {
		return "", false
	}
	scheme, rest, ok := strings.Cut(u, ":")
	if !ok || !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return u, scheme != "" && (ok || u == "*")
	}
	info, place, found := strings.Cut(rest, "@")
	if !found {
		info, place = "", rest
	}
	switch strings.Count(info, ":") {
	case 0:
	case 1: // a password (RFC 3261 §19.1.1); an empty one is none
		info = strings.TrimSuffix(info, ":")
	default:
		return "", false
	}
	if found {
		info += "@"
	}
	end := strings.IndexAny(place, ";?")
	if end < 0 {
		end = len(place)
	}
	tail, ok := tidyTail(place[end:])
	return scheme + ":" + info + place[:end] + tail, ok && isHostPort(strings.TrimPrefix(place[:end], "//"))
}

// tidyTail is what follows the host of a URI: parameters and headers.
func tidyTail(s string) (string, bool) {
	params, headers, has := strings.Cut(s, "?")
	params = tidyParams(params, ";")
	if strings.Contains(params, ";=") {
		return "", false // a parameter without a name, which the parser takes for something else
	}
	headers = tidyParams(headers, "&")
	if !has || headers == "" {
		return params, true
	}
	if last := params[strings.LastIndexByte(params, ';')+1:]; last != "" && !strings.Contains(last, "=") {
		params += "="
	}
	return params + "?" + headers[1:], true
}

// tidyParams removes the empty ones; each of the others has its separator
// before it.
func tidyParams(s, separator string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(s, separator) {
		if p != "" {
			b.WriteString(separator + p)
		}
	}
	return b.String()
}

// isHostPort says that s is a host with or without a port (RFC 3261 §25.1).
func isHostPort(s string) bool {
	host, rest := s, ""
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 2 {
			return false
		}
		host, rest = s[1:i], s[i+1:]
		if strings.Trim(host, "0123456789abcdefABCDEF:.") != "" {
			return false
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		}
		if !isToken(host) || strings.ContainsAny(host, "!%*+`'~") {
			return false
		}
	}
	return rest == "" || isPort(strings.TrimPrefix(rest, ":")) && rest[0] == ':'
}

// isPort says that s is a port number. 0 is none.
func isPort(s string) bool {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n > 0 && n <= 65535
}

// goodParams says that the parameters of an address are a list of token or
// token=value, where a value may be quoted.
func goodParams(s string) bool {
	for _, p := range pieces(s) {
		name, value, _ := strings.Cut(p, "=")
		switch {
		case !isToken(name):
			return false
		case strings.HasPrefix(value, `"`):
			if closing(value) != len(value) {
				return false
			}
		case strings.ContainsAny(value, " \t\"<>,") || strings.HasPrefix(value, "="):
			return false
		}
	}
	return true
}

// pieces splits parameters at semicolons that are not in quotes, without
// empty ones.
func pieces(s string) []string {
	var all []string
	start, quoted := 0, false
	end := func(i int) {
		if i > start {
			all = append(all, s[start:i])
		}
		start = i + 1
	}
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			end(i)
		}
	}
	end(len(s))
	return all
}

// mend reads the parameters of an address with quotes again: the parser takes
// what is in them for parameters, and doubles the quotes of a value with blanks.
func mend(h sip.Header, line string) {
	_, value, _ := strings.Cut(line, ": ")
	_, _, params, _ := splitAddress(value)
	if !strings.Contains(params, `"`) {
		return
	}
	all := sip.NewParams()
	for _, p := range pieces(params) {
		name, v, _ := strings.Cut(p, "=")
		if strings.HasPrefix(v, `"`) && strings.ContainsAny(v, " \t") {
			v = v[1 : len(v)-1] // the serializer adds them
		}
		all.Add(name, v)
	}
	switch h := h.(type) {
	case *sip.FromHeader:
		h.Params = all
	case *sip.ToHeader:
		h.Params = all
	case *sip.ContactHeader:
		h.Params = all
	case *sip.ReferredByHeader:
		h.Params = all
	}
}
