package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// gate looks at the bytes of a message before the parser does, in one pass
// over its header, and splits it into header block, without folds, and body.
func gate(b []byte) (head, body []byte, rej *Reject) {
	if len(b) > MaxMessage {
		return nil, nil, &Reject{Why: "message too large"}
	}
	b = bytes.TrimLeft(b, "\r\n") // RFC 3261 §7.5
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok || len(head) > maxBlock {
		return nil, nil, &Reject{Why: "no end of header, or header too large"}
	}
	if controlled(head) { // no answer either: its lines would not be ours
		return nil, nil, &Reject{Code: 400, Why: "NUL, bare CR or bare LF in header"}
	}
	if bytes.Count(head, []byte("\r\n")) > maxFolded { // not even the price of an answer
		return nil, nil, &Reject{Code: 400, Why: "too many lines"}
	}
	head = unfold(head)
	if why := scan(head); why != "" {
		return nil, nil, (&Reject{Code: 400, Why: why}).answered(head)
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

// controlled says that b has a NUL, or a CR or LF that does not end a line.
func controlled(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return true
	}
	ends := bytes.Count(b, []byte("\r\n"))
	return bytes.Count(b, []byte("\r")) != ends || bytes.Count(b, []byte("\n")) != ends
}

// unfold makes one line of each header (RFC 3261 §7.3.1). The start line has
// no continuation: what looks like one is left, and is no header.
func unfold(head []byte) []byte {
	if !bytes.Contains(head, []byte("\r\n ")) && !bytes.Contains(head, []byte("\r\n\t")) {
		return head
	}
	out := make([]byte, 0, len(head))
	for i, line := range bytes.Split(head, []byte("\r\n")) {
		switch {
		case i > 1 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
			out = append(bytes.TrimRight(out, " \t"), ' ')
			line = bytes.TrimLeft(line, " \t")
		case i > 0:
			out = append(out, "\r\n"...)
		}
		out = append(out, line...)
	}
	return out
}

// scan checks what the parser does not: sizes, and forms that make it slow or
// grow. It returns what is wrong.
func scan(head []byte) string {
	lines := 0
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if lines++; lines > maxHeaders+1 || len(line) > maxLine || separators(line) > maxParts {
			return "too many or too long header lines"
		}
	}
	return ""
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

// contentLength reads the header; several must agree (RFC 3261 §18.3).
func contentLength(head []byte) (n int, has, ok bool) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if name = bytes.TrimSpace(name); !found || len(name) != 1 && len(name) != len("content-length") {
			continue
		}
		if fullName(string(name)) != "content-length" {
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
	if full, ok := usual[name]; ok { // does not allocate
		return full
	}
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

// usual are the names that most messages have, as most phones write them.
var usual = map[string]string{
	"Via": "via", "From": "from", "To": "to", "Call-ID": "call-id", "CSeq": "cseq", "Contact": "contact",
	"Max-Forwards": "max-forwards", "Content-Length": "content-length", "Content-Type": "content-type",
	"Route": "route", "Record-Route": "record-route", "Supported": "supported", "Allow": "allow",
	"User-Agent": "user-agent", "Expires": "expires", "Authorization": "authorization",
	"Proxy-Authorization": "proxy-authorization", "Accept": "accept", "Require": "require",
	"Session-Expires": "session-expires", "Privacy": "privacy", "Server": "server",
}
