package proxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// withBody is alice's request with a body.
func withBody(method, kind, body string, more ...string) string {
	head := invite(append(more, "Content-Type: "+kind)...)
	return strings.ReplaceAll(head, "INVITE", method) + body
}

func TestBodies(t *testing.T) {
	const fast = `<?xml version="1.0"?><!-- M4RK3R --><media_control><vc_primitive><to_encoder>` +
		`<picture_fast_update/></to_encoder></vc_primitive></media_control>`
	const clean = `<?xml version="1.0" encoding="utf-8"?>` + "\r\n" +
		`<media_control><vc_primitive><to_encoder><picture_fast_update/>` +
		`</to_encoder></vc_primitive></media_control>` + "\r\n"
	const text = "text/plain;charset=UTF-8"
	for _, c := range []struct{ name, method, kind, body, wantKind, want string }{
		{"text", "MESSAGE", "text/plain", "hi\xff", text, "hi?"},
		{"text with charset", "MESSAGE", "Text/Plain; charset=utf-8; x=M4RK3R", "hi", text, "hi"},
		{"text in INFO", "INFO", "text/plain", "M4RK3R", "", ""},
		{
			"status", "NOTIFY", "message/sipfrag;version=2.0",
			"SIP/2.0 180 M4RK3R\r\nServer: M4RK3R", typeFrag, "SIP/2.0 180 Ringing\r\n",
		},
		{"odd status", "NOTIFY", "message/sipfrag", "SIP/2.0 999 X", "", ""},
		{"no status", "NOTIFY", "message/sipfrag", "INVITE sip:M4RK3R SIP/2.0", "", ""},
		{"empty status", "NOTIFY", "message/sipfrag", "\r\n", "", ""},
		{"dialog info", "NOTIFY", "application/dialog-info+xml", "<M4RK3R/>", "", ""},
		{
			"relay", "INFO", typeRelay,
			"Signal= 5\r\nDuration= 160\r\nM4RK3R=1", typeRelay, "Signal=5\r\nDuration=160\r\n",
		},
		{"relay without duration", "INFO", typeRelay, "signal=#", typeRelay, "Signal=#\r\n"},
		{"relay of nothing", "INFO", "application/dtmf-relay", "Signal=M4RK3R", "", ""},
		{"relay in BYE", "BYE", "application/dtmf-relay", "Signal=5", "", ""},
		{"dtmf", "INFO", "application/dtmf", " 7\r\n", "application/dtmf", "7"},
		{"dtmf letter", "INFO", "application/dtmf", "d", "application/dtmf", "D"},
		{"dtmf event", "INFO", "application/dtmf", "11", "application/dtmf", "11"},
		{"dtmf too high", "INFO", "application/dtmf", "99", "", ""},
		{"dtmf text", "INFO", "application/dtmf", "M4RK3R", "", ""},
		{"fast update", "INFO", typeControl, fast, typeControl, clean},
		{"other control", "INFO", "application/media_control+xml", "<M4RK3R/>", "", ""},
		{"session description", "INVITE", "application/sdp", "v=0\r\nc=IN IP4 192.168.77.23", "", ""},
		{"location", "INVITE", "application/pidf+xml", "<M4RK3R/>", "", ""},
		{"parts", "INVITE", "multipart/mixed;boundary=M4RK3R", "--M4RK3R\r\n\r\nx\r\n--M4RK3R--", "", ""},
		{"nonsense type", "INFO", ";;;", "M4RK3R", "", ""},
	} {
		req := parseRequest(t, withBody(c.method, c.kind, c.body))
		out, err := aliceSends(t).request(req, bobsContact)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := strings.Join(valuesOf(out, "Content-Type"), "|")
		if got != c.wantKind || string(out.Body()) != c.want {
			t.Errorf("%s: %q %q, want %q %q", c.name, got, out.Body(), c.wantKind, c.want)
		}
		if l := leak(out.String()); l != "" {
			t.Errorf("%s: %s", c.name, l)
		}
	}
}

// A MESSAGE without its body says nothing: it is refused, not emptied.
func TestMessageOfAnotherTypeFails(t *testing.T) {
	for name, text := range map[string]string{
		"file transfer": withBody("MESSAGE", "application/vnd.gsma.rcs-ft-http+xml", "<M4RK3R/>"),
		"receipt":       withBody("MESSAGE", "message/imdn+xml", "<M4RK3R/>"),
		"no type":       strings.ReplaceAll(invite(), "INVITE", "MESSAGE") + "M4RK3R",
		"compressed":    withBody("MESSAGE", "text/plain", "M4RK3R", "Content-Encoding: gzip"),
		"compressed, e": withBody("MESSAGE", "text/plain", "M4RK3R", "e: gzip"),
		"two types":     withBody("MESSAGE", "text/plain", "M4RK3R", "c: text/html"),
	} {
		out, err := aliceSends(t).request(parseRequest(t, text), bobsContact)
		if !errors.Is(err, errMediaType) {
			t.Errorf("%s: %v\n%v", name, err, out)
		}
	}
}

// A response's body that may not cross is left out; the response itself crosses.
func TestResponseBody(t *testing.T) {
	h := aliceSends(t)
	h.from = calleeLeg
	up := parseRequest(t, strings.ReplaceAll(invite(), "INVITE", "MESSAGE"))
	in := sip.NewResponse(200, "OK")
	in.AppendHeader(sip.NewHeader("Content-Type", "text/html"))
	in.SetBody([]byte("<img src=http://192.168.77.23/M4RK3R>"))
	out, err := h.response(in, up)
	if err != nil || len(out.Body()) != 0 || len(valuesOf(out, "Content-Type")) != 0 {
		t.Errorf("%v\n%v", err, out)
	}
}
