package wire

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/torture"
)

// seeds gives a fuzz target the torture messages and the traps.
func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/rfc4475/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		f.Add(torture.Read(f, file))
	}
	for _, c := range traps {
		f.Add(request(c.in...))
	}
}

// FuzzGate checks the gate alone: what it lets through is within the limits
// and has no line that is not a line.
func FuzzGate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		head, body, rej := gate(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the gate has changed its input")
		}
		if rej != nil {
			checkAnswer(t, rej, b)
			return
		}
		if len(head) > maxBlock || len(head)+len(body) > len(b) || controlled(head) || scan(head) != "" {
			t.Fatalf("head of %d bytes passed: %q", len(head), head)
		}
		if n, has, ok := contentLength(head); !ok || has && n != len(body) {
			t.Fatalf("body of %d bytes behind %q", len(body), head)
		}
		wholeLines(t, head)
	})
}

// wholeLines checks that no line of a head becomes several.
func wholeLines(t *testing.T, head []byte) {
	t.Helper()
	lines, _ := normal(head)
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n\x00") {
			t.Fatalf("%q is no line", l)
		}
	}
}

// FuzzParse checks that nothing panics or grows, and that what we emit parses
// again and is emitted the same.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			var rej *Reject
			if !errors.As(err, &rej) {
				t.Fatalf("%T: %v", err, err)
			}
			checkAnswer(t, rej, b)
			return
		}
		out := stable(t, m)
		// Quotes, brackets, blanks and full names for compact ones.
		if most := len(b) + 40*len(headersOf(m)) + len("Content-Length: 65535\r\n"); len(out) > most {
			t.Fatalf("%d bytes became %d:\n%s", len(b), len(out), out)
		}
		if req, ok := m.(*sip.Request); ok {
			if fork := Bytes(Fork(req)); !bytes.Equal(fork, out) {
				t.Fatalf("forked\n%s\nfrom\n%s", fork, out)
			}
			if _, err := Parse(Bytes(NewResponse(req, 200, "OK"))); err != nil {
				t.Fatalf("%v: the response to\n%s", err, out)
			}
		}
	})
}

// FuzzStream checks that a stream gives the same in whatever pieces it comes.
func FuzzStream(f *testing.F) {
	for _, lines := range [][]string{{"Content-Length: 0"}, {"l:\r\n 0"}, {"X: y"}, {"Content-Length: 10", "l: 10"}} {
		f.Add(append(append(request(lines...), "\r\n\r\n\r\n"...), request(lines...)...), uint16(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		whole, errWhole := pour(string(b), len(b)+1)
		parts, errParts := pour(string(b), int(size)%len(string(b)+"x")+1)
		if errWhole == nil && errParts == nil && !slices.Equal(whole, parts) {
			t.Fatalf("at once %q, in pieces %q", whole, parts)
		}
		if len(b) <= maxBlock && (errWhole == nil) != (errParts == nil) {
			t.Fatalf("at once %v, in pieces %v", errWhole, errParts)
		}
	})
}

// checkAnswer checks that an answer is a response with whole lines, and not
// more than what came and a start line.
func checkAnswer(t *testing.T, rej *Reject, b []byte) {
	t.Helper()
	if rej.Answer == nil {
		return
	}
	if !bytes.HasPrefix(rej.Answer, []byte("SIP/2.0 ")) || !bytes.HasSuffix(rej.Answer, []byte("\r\n\r\n")) ||
		controlled(rej.Answer) || len(rej.Answer) > len(b)+100 {
		t.Fatalf("answer to\n%q:\n%q", b, rej.Answer)
	}
}
