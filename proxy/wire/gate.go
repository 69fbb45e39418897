package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// gate looks at the bytes of a message before the parser does, in one pass
// over its header, and splits it into header block and body.
func gate(b []byte) (head, body []byte, rej *Reject) {
	if len(b) > MaxMessage {
		return nil, nil, &Reject{Why: "message too large"}
	}
	b = bytes.TrimLeft(b, "\r\n") // RFC 3261 §7.5
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok || len(head) > maxBlock {
		return nil, nil, &Reject{Why: "no end of header, or header too large"}
	}
	if why := scan(head); why != "" {
		return nil, nil, (&Reject{Code: 400, Why: why}).answered(safe(head))
	}
	n, has, ok := contentLength(head)
	switch {
	case !ok:
		return nil, nil, (&Reject{Code: 400, Why: "bad or contradicting Content-Length"}).answered(head)
	case has && n > len(body):
		return nil, nil, (&Reject{Code: 400, Why: "body shorter than Content-Length"}).answered(head)
	case has:
		body = body[:n] // RFC 3261 §18.3: what follows is dropped
	}
	return head, body, nil
}

// safe is a header block from which an answer may be made: empty if it holds
// bytes that could make lines of their own.
func safe(head []byte) []byte {
	if controlled(head) {
		return nil
	}
	return head
}

// scan checks what the parser does not: control characters, sizes, and forms
// that make it slow or grow. It returns what is wrong.
func scan(head []byte) string {
	if controlled(head) {
		return "NUL, bare CR or bare LF in header"
	}
	lines, length, parts := 0, 0, 0
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') { // folded: RFC 3261 §7.3.1
			length += len(line)
		} else {
			lines, length, parts = lines+1, len(line), 0
		}
		parts += separators(line)
		if lines > maxHeaders || length > maxLine || parts > maxParts {
			return "too many or too long header lines"
		}
		if quotedVia(line) {
			return "quote in Via"
		}
	}
	start, _, _ := bytes.Cut(head, []byte("\r\n"))
	if bytes.IndexByte(start, '"') >= 0 && !bytes.HasPrefix(start, []byte("SIP/")) {
		return "quote in Request-URI"
	}
	return ""
}

// controlled says that b has a NUL, or a CR or LF that does not end a line.
func controlled(b []byte) bool {
	for i, c := range b {
		switch {
		case c == 0:
			return true
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return true
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return true
		}
	}
	return false
}

// separators counts what starts a parameter or a value, outside of quotes.
func separators(line []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ',' || c == '&'):
			n++
		}
	}
	return n
}

// quotedVia says that a line is a Via with a quoted string: legal in theory,
// in no phone, and the parser multiplies it.
func quotedVia(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte(":"))
	return ok && fullName(string(bytes.TrimSpace(name))) == "via" && bytes.IndexByte(value, '"') >= 0
}

// contentLength reads the header; several must agree (RFC 3261 §18.3).
func contentLength(head []byte) (n int, has, ok bool) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || fullName(string(bytes.TrimSpace(name))) != "content-length" {
			continue
		}
		v, err := strconv.ParseUint(strings.TrimSpace(string(value)), 10, 31)
		if err != nil || v > MaxMessage || has && int(v) != n {
			return 0, has, false
		}
		n, has = int(v), true
	}
	return n, has, true
}

// fullName is a header name in lower case with its compact form resolved.
func fullName(name string) string {
	name = strings.ToLower(name)
	if full, ok := compact[name]; ok {
		return full
	}
	return name
}

// compact are all compact header names in the IANA registry (RFC 3261 §7.3.3,
// §20, and the extensions that define one).
var compact = map[string]string{
	"a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
	"e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
	"l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
	"s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}
