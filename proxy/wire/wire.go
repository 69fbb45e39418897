// Package wire turns bytes into SIP messages and back: sipgo's parser and
// serializer behind a gate of our own.
//
// The parser is good, but it was not made for a trust boundary: some inputs
// make it slow, grow or lose parts of a message (each has a test here). The
// gate looks at the bytes before it in one pass (gate.go), puts the few legal
// forms that it misreads into the usual one (normal.go), and looks at the
// message after it (check.go). What does not pass is a [Reject], with the
// stateless answer that RFC 3261 wants, or none.
package wire

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/emiago/sipgo/sip"
)

// Limits on one message. The specification has none; these are ours, several
// times what a call with video, ICE and a token needs.
const (
	MaxMessage = 65535    // bytes: what a datagram can hold, and a stream may send
	maxHeaders = 128      // header lines
	maxFolded  = 512      // lines before unfolding (RFC 3261 §7.3.1)
	maxLine    = 8192     // bytes of one logical header line
	maxParts   = 64       // ';' and ',' of one logical header line: the parser is quadratic in them
	maxBlock   = 48 << 10 // bytes of all header lines
)

// A Reject says why a message was not taken.
type Reject struct {
	Code   int    // the response code for it; 0: it deserves none
	Why    string // for the log; holds nothing of the message
	Answer []byte // the stateless response to send to where it came from, or nil
}

// Error implements error.
func (r *Reject) Error() string { return fmt.Sprintf("rejected (%d): %s", r.Code, r.Why) }

// Parse parses one message, a datagram or what a Stream has framed. Its error
// is a *Reject. b is not kept.
//
// A response that says something unreadable is read without it: somebody waits
// for that response, and would wait in vain for the sender to write a better
// one. What is left are the headers by which it finds its request; of a Contact
// with several values, those that can be read.
func Parse(b []byte) (sip.Message, error) {
	head, body, rej := gate(b)
	if rej != nil {
		return nil, rej
	}
	m, rej := read(head, body)
	if rej != nil && isResponse(head) {
		m, rej = read(essence(head), nil)
	}
	if rej != nil {
		return nil, rej
	}
	return m, nil
}

// isResponse says that a header block begins as a response does.
func isResponse(head []byte) bool { return bytes.HasPrefix(head, []byte("SIP/")) }

// essence is the part of a response that is needed to find its request.
func essence(head []byte) []byte {
	lines := bytes.Split(head, []byte("\r\n"))
	kept := lines[:1]
	for _, l := range lines[1:] {
		name, _, _ := bytes.Cut(l, []byte(":"))
		if copied[fullName(string(bytes.TrimSpace(name)))] {
			kept = append(kept, l)
		}
	}
	return bytes.Join(kept, []byte("\r\n"))
}

// read parses what the gate has let through.
func read(head, body []byte) (sip.Message, *Reject) {
	lines, rej := normal(head)
	if rej != nil {
		return nil, rej.answered(head)
	}
	m, err := sip.NewParser().ParseSIP(join(lines, len(head), body))
	if err != nil {
		return nil, (&Reject{Code: sip.StatusBadRequest, Why: "not parsed"}).answered(head)
	}
	if rej := check(m, lines); rej != nil {
		return nil, rej.answered(head)
	}
	return m, nil
}

// join makes a message of lines and a body.
func join(lines []string, size int, body []byte) []byte {
	out := make([]byte, 0, size+len(body)+8*len(lines))
	for _, l := range lines {
		out = append(append(out, l...), "\r\n"...)
	}
	return append(append(out, "\r\n"...), body...)
}

// answered adds the stateless response (RFC 3261 §8.2.6, §16.3): the headers
// that a response copies, byte for byte, to whoever asked. Responses and ACKs
// are never answered, nor is anything that does not look like a request.
func (r *Reject) answered(head []byte) *Reject {
	if r.Code == 0 {
		return r
	}
	lines := bytes.Split(head, []byte("\r\n"))
	start := bytes.Fields(lines[0])
	if len(start) < 3 || bytes.Equal(start[0], []byte("ACK")) || bytes.HasPrefix(start[0], []byte("SIP/")) {
		return r
	}
	var out bytes.Buffer
	out.WriteString("SIP/2.0 " + strconv.Itoa(r.Code) + " " + phrases[r.Code] + "\r\n")
	found := map[string]int{}
	for _, l := range lines[1:] {
		name, value, _ := bytes.Cut(l, []byte(":"))
		full := fullName(string(bytes.TrimSpace(name)))
		if len(bytes.TrimSpace(value)) == 0 || !copied[full] || found[full] > 0 && full != "via" {
			continue
		}
		found[full]++
		out.Write(l)
		if full == "to" && !bytes.Contains(bytes.ToLower(l), []byte("tag=")) {
			out.WriteString(";tag=reject")
		}
		out.WriteString("\r\n")
	}
	if len(found) != len(copied) {
		return r // nothing to answer to
	}
	out.WriteString("Content-Length: 0\r\n\r\n")
	r.Answer = out.Bytes()
	return r
}

// copied are the headers of a response that come from its request.
var copied = map[string]bool{"via": true, "from": true, "to": true, "call-id": true, "cseq": true}

// phrases are RFC 3261 §21's for the codes used here.
var phrases = map[int]string{
	400: "Bad Request", 414: "Request-URI Too Long", 416: "Unsupported URI Scheme",
	501: "Not Implemented", 505: "Version Not Supported", 513: "Message Too Large",
}
