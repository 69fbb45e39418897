package wire

import (
	"strings"
)

// normal puts legal but unusual forms of a header block into the one form that
// the parser reads rightly: full names, one value a line, no blanks around
// separators. It refuses what the parser would take and misread. The first
// line of what it returns is the start line, each other one header.
func normal(head []byte) ([]string, *Reject) {
	lines := strings.Split(string(head), "\r\n")
	start, rej := startLine(lines[0])
	if rej != nil {
		return nil, rej
	}
	out := make([]string, 1, len(lines)+8)
	out[0] = start
	length, response := false, isResponse(head)
	for _, line := range lines[1:] {
		key, value, ok := strings.Cut(line, ":")
		key = strings.TrimRight(key, " \t")
		if !ok || !isToken(key) {
			return nil, bad("header line without a name")
		}
		value = strings.Trim(value, " \t")
		full := fullName(key)
		if full == "content-length" { // the gate has seen that they agree
			if length {
				continue
			}
			length = true
		}
		if len(key) == 1 && len(full) > 1 {
			key = titles[full]
		}
		if out, ok = values(out, key, full, value, response); !ok {
			return nil, bad(full)
		}
	}
	return out, nil
}

// startLine checks the words of the start line and tidies the Request-URI. A
// response passes as it is: its reason may be anything.
func startLine(line string) (string, *Reject) {
	if strings.HasPrefix(line, "SIP/") {
		if !strings.HasPrefix(line, "SIP/2.0 ") {
			return "", &Reject{Why: "version"}
		}
		return line, nil
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || !isToken(words[0]) {
		return "", bad("start line")
	}
	if !strings.EqualFold(words[2], "SIP/2.0") {
		return "", &Reject{Code: 505, Why: "version"}
	}
	uri, ok := tidyURI(words[1])
	if !ok {
		return "", bad("Request-URI")
	}
	if scheme, _, ok := strings.Cut(uri, ":"); ok && !letters(scheme) && isToken(scheme) {
		return "", &Reject{Code: 416, Why: "scheme of the Request-URI"} // the parser takes letters only
	}
	return words[0] + " " + uri + " " + words[2], nil
}

// values appends the lines that a header makes: most one, as it is. Of the
// Contacts of a response those are left out that cannot be read: of a
// redirection, whoever can be reached is.
func values(out []string, key, full, value string, response bool) ([]string, bool) {
	all, tidy := []string{value}, tidyNothing
	switch full {
	case "via":
		all, tidy = strings.Split(value, ","), tidyVia
	case "contact", "route", "record-route":
		all, tidy = list(value), tidyListed
	case "from", "to", "refer-to", "referred-by":
		tidy = tidyAddress
	case "cseq":
		all[0] = tighten(value, "")
	}
	for _, v := range all {
		v, ok := tidy(v)
		if !ok && (!response || full != "contact") {
			return nil, false
		}
		if ok {
			out = append(out, key+": "+v)
		}
	}
	return out, true
}

// tidyNothing leaves a value as it is.
func tidyNothing(v string) (string, bool) { return v, true }

// tidyVia puts one Via into the usual form (RFC 3261 §20.42):
// SIP/2.0/UDP host:port;name=value. Quotes are legal in theory, in no phone.
func tidyVia(v string) (string, bool) {
	v = tighten(v, ";=/:")
	protocol, rest, ok := strings.Cut(v, " ")
	if !ok || strings.Count(protocol, "/") != 2 || strings.ContainsAny(rest, " \t\"<>") {
		return "", false
	}
	for word := range strings.SplitSeq(protocol, "/") {
		if !isToken(word) {
			return "", false
		}
	}
	pieces := strings.Split(rest, ";")
	kept := pieces[:1]
	if !isHostPort(pieces[0]) {
		return "", false
	}
	for _, p := range pieces[1:] {
		name, _, _ := strings.Cut(p, "=")
		switch {
		case p == "":
			continue // of a doubled or trailing semicolon
		case !isToken(name):
			return "", false
		}
		kept = append(kept, p)
	}
	return protocol + " " + strings.Join(kept, ";"), true
}

// tighten removes blanks beside separators and at the ends, and makes one
// blank of several (RFC 3261 §25.1), outside of quotes and angle brackets.
func tighten(v, separators string) string {
	v = strings.Trim(v, " \t")
	if !loose(v, separators) {
		return v
	}
	var b strings.Builder
	quoted, angle, blank, last := false, false, false, byte(0)
	for i := 0; i < len(v); i++ {
		c := v[i]
		if !quoted && !angle && (c == ' ' || c == '\t') {
			blank = true
			continue
		}
		if blank && !among(last, separators) && !among(c, separators) {
			b.WriteByte(' ')
		}
		blank, last = false, c
		b.WriteByte(c)
		switch {
		case quoted && c == '\\' && i+1 < len(v):
			i++
			b.WriteByte(v[i])
		case c == '"' && !angle:
			quoted = !quoted
		case c == '<' && !quoted:
			angle = true
		case c == '>' && !quoted:
			angle = false
		}
	}
	return b.String()
}

// loose says that a value may have a blank to remove.
func loose(v, separators string) bool {
	for i := range len(v) {
		switch {
		case v[i] == '\t':
			return true
		case v[i] == ' ' && (v[i-1] == ' ' || among(v[i-1], separators) || among(v[i+1], separators)):
			return true
		}
	}
	return false
}

func among(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }

// isToken says that s is a token of RFC 3261 §25.1.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !among(c, "-.!%*_+`'~") {
			return false
		}
	}
	return s != ""
}

// letters says that s has nothing else.
func letters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != ""
}

// titles are the full names of those that have a compact form.
var titles = func() map[string]string {
	m := map[string]string{}
	for _, full := range compact {
		words := strings.Split(full, "-")
		for i, w := range words {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
		m[full] = strings.Join(words, "-")
	}
	m["call-id"] = "Call-ID"
	return m
}()
