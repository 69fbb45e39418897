package wire

import (
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

// count says which of the headers that stand once, or at most once, do not.
func count(headers []sip.Header) string {
	found := map[string]int{}
	for _, h := range headers {
		switch h.(type) {
		case *sip.FromHeader, *sip.ToHeader, *sip.CallIDHeader, *sip.CSeqHeader, *sip.ViaHeader,
			*sip.MaxForwardsHeader, *sip.ContentTypeHeader, *sip.ReferToHeader, *sip.ReferredByHeader:
			found[strings.ToLower(h.Name())]++
		}
	}
	for _, name := range []string{"from", "to", "call-id", "cseq", "via"} {
		if found[name] == 0 {
			return name
		}
	}
	delete(found, "via") // may stand more than once
	for name, n := range found {
		if n > 1 {
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
