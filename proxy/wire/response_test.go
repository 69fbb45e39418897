package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// response is a 302 with those lines more; one that is given stands instead of
// the usual one of its name.
func response(lines ...string) []byte {
	b := string(request(lines...))
	_, rest, _ := strings.Cut(b, "\r\n")
	return []byte("SIP/2.0 302 Moved\r\n" + rest)
}

// A response is read without what cannot be read, as long as it finds its request.
func TestResponseIsReadInPart(t *testing.T) {
	for _, c := range []struct {
		lines []string
		kept  []string // of the lines beside those that every response has
	}{
		{[]string{"Contact: <sip:a@b:0>"}, nil},
		{[]string{"Contact: <sip:a@b:0>, <sip:c@d>;q=1, <sip:e@f:g>"}, []string{"Contact: <sip:c@d>;q=1"}},
		{[]string{"Contact: <sip:c@d>", "Max-Forwards: many", "Supported: timer"}, nil},
		{[]string{"Record-Route: <sip:a:0;lr>", "Contact: <sip:c@d>"}, nil},
		{[]string{"Content-Type: a/b", "c: c/d"}, nil},
		{[]string{"no header"}, nil},
	} {
		m, err := Parse(response(c.lines...))
		res, ok := m.(*sip.Response)
		if err != nil || !ok || res.StatusCode != 302 || len(res.Body()) != 0 {
			t.Errorf("%q: %v", c.lines, err)
			continue
		}
		var kept []string
		for _, h := range res.Headers() {
			if !copied[fullName(h.Name())] && h.Name() != "Max-Forwards" && h.Name() != "Content-Length" {
				kept = append(kept, h.Name()+": "+h.Value())
			}
		}
		if !slices.Equal(kept, c.kept) {
			t.Errorf("%q: %q is left", c.lines, kept)
		}
		stable(t, m)
	}
}

// One that does not find its request is worth nothing.
func TestResponseWithoutItsRequestIsRefused(t *testing.T) {
	for _, line := range []string{
		"Via: SIP/2.0/UDP a:0;branch=z9hG4bK1", "CSeq: x INVITE", "From: <sip:a@b:0>;tag=1", "To: <sip:a", "Call-ID:",
	} {
		var rej *Reject
		if _, err := Parse(response(line)); !errors.As(err, &rej) || rej.Answer != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}
