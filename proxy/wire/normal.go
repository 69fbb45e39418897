package wire

import (
	"bytes"
	"strings"
)

// normal puts legal but unusual forms of a header block into the form that
// the parser reads rightly: folded lines, compact names, blanks around
// separators. Most messages have none of them and are returned as they are.
func normal(head []byte) ([]byte, *Reject) {
	lines := bytes.Split(head, []byte("\r\n"))
	changed := false
	out := make([][]byte, 0, len(lines))
	for i, line := range lines {
		if i > 1 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			last := len(out) - 1
			out[last] = append(append(bytes.Clone(out[last]), ' '), bytes.TrimLeft(line, " \t")...)
			changed = true
			continue
		}
		out = append(out, line)
	}
	for i, line := range out[1:] {
		n, ok := normalLine(line)
		if !ok {
			return head, &Reject{Code: 400, Why: "header line without a name"}
		}
		if n != nil {
			out[i+1], changed = n, true
		}
	}
	if !changed {
		return head, nil
	}
	return bytes.Join(out, []byte("\r\n")), nil
}

// normalLine returns the usual form of a header line, nil if it has it.
func normalLine(line []byte) ([]byte, bool) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	key := strings.TrimSpace(string(name))
	if !ok || key == "" || strings.ContainsAny(key, " \t\"<>@,;") {
		return nil, false
	}
	full := key
	if f, ok := compact[strings.ToLower(key)]; ok {
		full = titles[f]
	}
	v := strings.Trim(string(value), " \t")
	if blanks[strings.ToLower(full)] {
		v = tighten(v)
	}
	if full == string(name) && v == strings.TrimLeft(string(value), " ") {
		return nil, true
	}
	return []byte(full + ": " + v), true
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

// blanks are the headers in which the parser trips over blanks that RFC 3261
// §25.1 allows around ; = , : / and between the words of CSeq.
var blanks = map[string]bool{"via": true, "from": true, "to": true, "contact": true, "cseq": true}

// tighten removes blanks around separators and doubled ones, outside of quotes
// and angle brackets.
func tighten(v string) string {
	if !strings.Contains(v, "  ") && !strings.ContainsAny(v, "\t") && !loose(v) {
		return v
	}
	var b strings.Builder
	quoted, angle := false, false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case quoted && c == '\\' && i+1 < len(v):
			b.WriteByte(c)
			i++
			c = v[i]
		case c == '"':
			quoted = !quoted
		case !quoted && c == '<':
			angle = true
		case c == '>':
			angle = false
		case !quoted && !angle && (c == ' ' || c == '\t'):
			if idle(v, i) {
				continue
			}
			c = ' '
		}
		b.WriteByte(c)
	}
	return b.String()
}

// idle says that the blank at i stands beside a separator or another blank.
func idle(v string, i int) bool {
	const separators = ";=,/ \t"
	return i == 0 || i+1 == len(v) || strings.IndexByte(separators, v[i-1]) >= 0 && v[i-1] != '>' ||
		strings.IndexByte(separators, v[i+1]) >= 0
}

// loose says that a value has a blank beside a separator.
func loose(v string) bool {
	for i := range len(v) {
		if (v[i] == ' ') && idle(v, i) {
			return true
		}
	}
	return false
}
