package wire

import (
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// check looks at a message that was parsed from these lines: that the parser
// has lost nothing, and what RFC 3261 §8.1.1, §16.3 and §18 ask of a message.
func check(m sip.Message, lines []string) *Reject {
	headers := headersOf(m)
	if !complete(m, headers, lines) {
		return bad("header that the parser reads as several")
	}
	if why := count(headers); why != "" {
		return bad("header missing or doubled: " + why)
	}
	for i, line := range lines[1:] {
		if strings.Contains(line, `"`) {
			mend(headers[i], line)
		}
		if v, ok := headers[i].(*sip.ViaHeader); ok {
			bracket(v)
		}
	}
	if m.From().Address.Host == "" && m.From().Address.Raw() == "" {
		return bad("From")
	}
	switch m := m.(type) {
	case *sip.Request:
		return checkRequest(m, lines[0])
	case *sip.Response:
		if m.StatusCode < 100 || m.StatusCode > 699 {
			return &Reject{Why: "status code"}
		}
	}
	return nil
}

// complete says that each line became one header. The parser adds a
// Content-Length to a body that came without.
func complete(m sip.Message, headers []sip.Header, lines []string) bool {
	added := 0
	if len(headers) > 0 && len(m.Body()) > 0 {
		if _, ok := headers[len(headers)-1].(*sip.ContentLengthHeader); ok && len(headers) == len(lines) {
			added = 1
		}
	}
	return len(headers) == len(lines)-1+added
}

// kinds are the headers that stand at most once, but for Via; the first
// mandatory ones must.
var kinds = [...]string{
	"via", "from", "to", "call-id", "cseq", "max-forwards", "content-type", "refer-to", "referred-by",
}

const mandatory = 5

// kind is the place of a header in kinds, negative if it has none.
func kind(h sip.Header) int {
	switch h.(type) {
	case *sip.ViaHeader:
		return 0
	case *sip.FromHeader:
		return 1
	case *sip.ToHeader:
		return 2
	case *sip.CallIDHeader:
		return 3
	case *sip.CSeqHeader:
		return 4
	case *sip.MaxForwardsHeader:
		return 5
	case *sip.ContentTypeHeader:
		return 6
	case *sip.ReferToHeader:
		return 7
	case *sip.ReferredByHeader:
		return 8
	}
	return -1
}

// count says which header is missing or doubled, "" if none is.
func count(headers []sip.Header) string {
	var found [len(kinds)]int
	for _, h := range headers {
		if k := kind(h); k >= 0 {
			found[k]++
		}
	}
	for k, name := range kinds {
		if found[k] == 0 && k < mandatory || found[k] > 1 && k > 0 {
			return name
		}
	}
	return ""
}

// checkRequest checks the start line against the rest.
func checkRequest(req *sip.Request, line string) *Reject {
	method, _, _ := strings.Cut(line, " ")
	switch {
	case method != string(req.Method):
		return &Reject{Code: 501, Why: "method in lower case"} // the parser would change it
	case req.CSeq().MethodName != req.Method:
		return bad("CSeq is of another method")
	}
	return nil
}

func bad(why string) *Reject { return &Reject{Code: 400, Why: why} }

// bracket gives a Via the brackets back that the parser takes away and the
// serializer adds to real IPv6 addresses only: not to a mapped one
// (RFC 5118 §4.9), nor to what is none.
func bracket(v *sip.ViaHeader) {
	if !strings.Contains(v.Host, ":") {
		return
	}
	if a, err := netip.ParseAddr(v.Host); err != nil || a.Is4In6() || a.Zone() != "" {
		v.Host = "[" + v.Host + "]"
	}
}
