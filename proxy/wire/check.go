package wire

import (
	"bytes"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// check looks at a message that was parsed: what RFC 3261 §8.1.1, §16.3 and
// §18 ask of it and the parser does not.
func check(m sip.Message, head []byte) *Reject {
	for name, most := range single {
		if n := len(m.GetHeaders(name)); n > 1 || n < most.least {
			return bad("header missing or doubled: " + name)
		}
	}
	via := m.Via()
	if via == nil || via.Host == "" || via.Transport == "" || strings.ContainsAny(via.Host, " ,\t") || badPort(via.Port) {
		return bad("Via")
	}
	if len(m.From().Address.Host) == 0 && m.From().Address.Raw() == "" {
		return bad("From")
	}
	switch m := m.(type) {
	case *sip.Request:
		return checkRequest(m, head)
	case *sip.Response:
		if m.StatusCode < 100 || m.StatusCode > 699 {
			return &Reject{Why: "status code"}
		}
	}
	return nil
}

// single are the headers that stand at most once, and those that must.
var single = map[string]struct{ least int }{
	"From": {1}, "To": {1}, "Call-ID": {1}, "CSeq": {1},
	"Max-Forwards": {0}, "Content-Type": {0},
}

// checkRequest checks the start line against the rest.
func checkRequest(req *sip.Request, head []byte) *Reject {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	words := bytes.Split(line, []byte(" "))
	switch {
	case len(words) != 3:
		return bad("start line")
	case !bytes.EqualFold(words[2], []byte("SIP/2.0")):
		return &Reject{Code: 505, Why: "version"}
	case string(words[0]) != string(req.Method):
		return &Reject{Code: 501, Why: "method in lower case"} // the parser would change it
	case req.CSeq().MethodName != req.Method:
		return bad("CSeq is of another method")
	case badPort(req.Recipient.Port), badPort(req.From().Address.Port), badPort(req.To().Address.Port):
		return bad("port")
	case req.Recipient.Scheme == "sip" && req.Recipient.Host == "":
		return bad("Request-URI")
	}
	for _, h := range req.GetHeaders("Via") {
		v, ok := h.(*sip.ViaHeader)
		if !ok {
			return bad("Via")
		}
		if v.Host == "" || strings.ContainsAny(v.Host, " ,\t") {
			return bad("Via")
		}
	}
	return nil
}

func bad(why string) *Reject { return &Reject{Code: 400, Why: why} }

func badPort(p int) bool { return p < 0 || p > 65535 }
