package proxy_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// An invention is what a phone says beyond what phones say. HOST in it is the
// phone's own address, MARK its mark.
type invention struct {
	name, value string // a header of every message that a script writes
	kind, body  string // of a request within the call
	attribute   string // a line of the session description
	item        uint8  // of RTCP's source description
	text        string
	rtcp        []byte // sent as it is
	method      string
}

// methods are those that an invention travels with, beside INVITE.
var methods = []string{
	"INFO", "MESSAGE", "OPTIONS", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE", "PUBLISH", "PRACK", "LOOKUP",
}

// FuzzLeaks invents headers and their parameters, bodies, attributes and RTCP
// for both parties of a protected call on a whole server. Nothing that one
// knows of itself may reach the other, and every line and packet that does must
// have a form that is listed below.
func FuzzLeaks(f *testing.F) {
	sr := "\x80\xc8\x00\x06" + strings.Repeat("\x00\x00\x00\x01", 6)
	app := "\x80\xcc\x00\x03\x00\x00\x00\x01MARKHOST"
	bye := "\x81\xcb\x00\x02\x00\x00\x00\x01\x03bye"
	f.Add("Subject", "MARK", "application/dtmf-relay", "Signal=5\r\nX=HOST\r\n", "a=candidate:1 1 UDP 1 HOST 9 typ host",
		uint8(2), "MARK", []byte(sr+app), uint8(0))
	f.Add("Supported", "timer, MARK", "text/plain", "hello", "a=fmtp:0 mode=HOST;mode=20", uint8(8), "\x04MARKHOST",
		[]byte(sr+bye), uint8(1))
	f.Add("Refer-To", "<sip:carol@sotto.example?Replaces=a%3Bto-tag%3DMARK%3Bfrom-tag%3DHOST>", "", "",
		"a=rtcp:4001 IN IP4 HOST", uint8(1), "MARK", []byte(bye), uint8(4))
	f.Add("Event", "dialog;id=MARK", "application/dialog-info+xml", "<a>HOST</a>",
		"m=message 9 TCP/MSRP *\r\na=path:msrp://HOST", uint8(7), "MARK", []byte(app), uint8(5))
	f.Add("Event", "dialog", "application/dialog-info+xml",
		`<dialog-info version="1" state="full" entity="sip:MARK@HOST"><dialog id="HOST" call-id="MARK" local-tag="HOST" `+
			`remote-tag="MARK" direction="initiator" x="HOST"><state event="rejected" code="486">early</state>`+
			`<remote><target uri="sip:MARK@HOST"/></remote></dialog>`+
			`<dialog id="MARK"><state>HOST</state></dialog></dialog-info>`,
		"a=x:HOST", uint8(7), "MARK", []byte(app), uint8(5))
	f.Add("Reason", `SIP;cause=200;text="MARK"`, "message/sipfrag", "SIP/2.0 200 MARK", "b=AS:64", uint8(3), "",
		[]byte("\x81\xcd\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02MARK"), uint8(5))
	f.Add("Contact", "<sip:MARK@HOST>;+sip.instance=\"MARK\"", "multipart/mixed;boundary=x", "--x\r\n\r\nHOST\r\n--x--",
		"i=MARK", uint8(6), "HOST", []byte{}, uint8(3))
	f.Fuzz(func(
		t *testing.T, name, value, kind, body, attribute string, item uint8, text string, rtcp []byte, method uint8,
	) {
		if strings.ContainsAny(name+value+kind, "\r\n\x00") || name == "" || len(text) > 250 || len(attribute) > 2000 {
			return // the gate's business, or more than an item holds
		}
		inv := invention{
			name, value, kind, body, attribute, item, text, rtcp, methods[int(method)%len(methods)],
		}
		synctest.Test(t, func(t *testing.T) { invents(t, inv) })
	})
}

// owned is a text of a phone's, with the phone's address and mark in it.
func owned(text, host, mark string) string {
	if !strings.Contains(text, "HOST") && !strings.Contains(text, "MARK") {
		text += "MARK"
	}
	return strings.NewReplacer("HOST", host, "MARK", mark).Replace(text)
}

// invents plays a call in which both parties invent the same, each of itself.
func invents(t *testing.T, inv invention) {
	s := proxytest.New(t, proxytest.Colleagues, proxytest.Protect("always"))
	var both [2]*proxytest.Phone
	for i, who := range []string{"alice", "bob"} {
		both[i] = s.Phone(who, func(c *phone.Config) {
			host, mark := c.Local.Addr().String(), strings.TrimSuffix(c.TagPrefix, "tag-")
			if line := owned(inv.attribute, host, mark); line != mark {
				c.SDP.Media = append(c.SDP.Media, line)
			}
			c.SDES = append(c.SDES, phone.SDESItem{Type: max(inv.item, 2), Text: owned(inv.text, host, mark)})
			c.RTCPMux, c.RTCPEvery = true, 100*time.Millisecond
		})
		both[i].Registers()
		both[i].Forget()
	}
	w := &inventors{stage: s, inv: inv}
	w.call(both[0], both[1])
	if s.Wait(time.Second); s.Proxy.Totals().Calls > 0 { // a call that nobody could hang up ends without its phones
		both[0].Close()
		both[1].Close()
		s.Wait(5 * time.Minute)
	}
	if s.Proxy.Totals().Calls > 0 {
		s.Wait(25 * time.Hour) // or with its boxes
	}
	both[0].KnowsNothingOf(both[1])
	both[1].KnowsNothingOf(both[0])
	for _, p := range both {
		for _, k := range p.Received() {
			if what := unlisted(k); what != "" {
				t.Errorf("%s received what is on no list: %s", p.User, what)
			}
		}
	}
}

// inventors are two phones that invent.
type inventors struct {
	stage *proxytest.Stage
	inv   invention
}

// header is the invented header of a phone.
func (w *inventors) header(p *proxytest.Phone) phone.Option {
	return phone.Header(w.inv.name, w.owned(p, w.inv.value))
}

func (w *inventors) owned(p *proxytest.Phone, text string) string {
	return owned(text, p.Local().Addr().String(), p.Mark())
}

// body is the invented body of a phone; what a person writes to another is no leak.
func (w *inventors) body(p *proxytest.Phone) phone.Option {
	if w.inv.method == "MESSAGE" && strings.Contains(strings.ToLower(w.inv.kind+w.inv.value), "text/plain") {
		return phone.Body(w.inv.kind, "hello")
	}
	return phone.Body(w.inv.kind, w.owned(p, w.inv.body))
}

// call is a call in which no step needs to succeed: what is invented may break it.
func (w *inventors) call(a, b *proxytest.Phone) {
	ctx, cancel := context.WithTimeout(w.stage.T().Context(), time.Minute)
	defer cancel()
	out, err := a.Invite(proxytest.URI(b.User), w.header(a))
	if err != nil {
		return
	}
	in, err := b.Incoming(ctx)
	if err != nil {
		return
	}
	_ = in.Ring(ctx, w.header(b))
	if in.Answer(ctx, w.header(b)) != nil || out.Answered(ctx) != nil {
		_ = out.Bye(ctx)
		return
	}
	for _, party := range []struct {
		*phone.Call
		of *proxytest.Phone
	}{{out, a}, {in, b}} {
		_, _ = party.Request(ctx, w.inv.method, w.header(party.of), w.body(party.of))
		if b := w.inv.rtcp; scrubbed(b) {
			_ = party.Send([]byte(w.owned(party.of, string(b))), party.Remote())
		}
		_ = party.Reinvite(ctx, w.header(party.of))
		w.stage.Wait(300 * time.Millisecond)
	}
	_ = in.Bye(ctx, w.header(b))
}

// scrubbed says that a packet is RTCP or STUN: what else comes to a media port
// is what a party says or shows, or is encrypted, and passes.
func scrubbed(b []byte) bool {
	return len(b) > 1 && (b[0] < 4 || b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223)
}

// forms of the header lines that may reach a party of a protected call. Its
// own Via, From, To, Call-ID and tags come back to it as it wrote them.
var headerForms = compiled(map[string]string{
	"Via":                `.+`,
	"Max-Forwards":       `\d{1,2}`,
	"From":               `("[^"]*" )?<sip:((alice|bob|carol)@sotto\.example|anonymous@anonymous\.invalid)>;tag=\S+`,
	"To":                 `<sip:\S+>(;tag=\S+)?`,
	"Call-ID":            `\S+`,
	"CSeq":               `\d+ [A-Z]+`,
	"Contact":            `<sip:s1-[A-Za-z0-9_-]+@192\.0\.2\.1:5060(;transport=udp)?>`,
	"Content-Type":       `application/(sdp|dtmf|dtmf-relay|(media_control|dialog-info)\+xml)|` + textForm,
	"Content-Length":     `\d+`,
	"Event":              `(refer|message-summary|presence|dialog|conference|talk|hold)(;id=\d+)?`,
	"Subscription-State": `(active|pending|terminated)(;reason=[a-z]+)?(;expires=\d+)?(;retry-after=\d+)?`,
	"Refer-To":           `<sip:[^@]+@sotto\.example(\?Replaces=s1-[A-Za-z0-9_%-]+)?>`,
	"Refer-Sub":          `true|false`,
	"Replaces":           sealedDialog,
	"Join":               sealedDialog,
	"Target-Dialog":      sealedDialog,
	"Reason":             `(SIP|Q\.850);cause=\d{1,3}(, (SIP|Q\.850);cause=\d{1,3})?`,
	"Require":            optionForm,
	"Supported":          optionForm,
	"Unsupported":        optionForm,
	"Allow":              `[A-Z]+(, [A-Z]+)*`,
	"RAck":               `\d+ \d+ [A-Z]+`,
	"RSeq":               `\d+`,
	"Session-Expires":    `\d+(;refresher=ua[cs])?`,
	"Min-SE":             `\d+`,
	"Expires":            `\d+`,
	"Min-Expires":        `\d+`,
	"Retry-After":        `\d+`,
	"Info-Package":       `dtmf|infoDtmf`,
	"Proxy-Authenticate": `Digest [^@]+`,
	"WWW-Authenticate":   `Digest [^@]+`,
	"Accept":             `application/sdp`,
})

const (
	optionForm   = `(100rel|timer|replaces|norefersub|tdialog|join|nosub|explicitsub|path|outbound)(, [a-z0-9]+)*`
	sealedDialog = `s1-[A-Za-z0-9_-]+;(to|local)-tag=s1-[A-Za-z0-9_-]+;(from|remote)-tag=s1-[A-Za-z0-9_-]+(;early-only)?`
)

// forms of the lines of a session description that may reach a party.
var sdpForms = regexp.MustCompile(`^(v=0|o=- \d+ \d+ IN IP4 192\.0\.2\.1|s=-|c=IN IP4 192\.0\.2\.1|t=0 0|` +
	`m=[A-Za-z][A-Za-z0-9*-]* \d+ [A-Za-z0-9/*-]+( [A-Za-z0-9*-]+)+|b=(AS|TIAS|RS|RR):\d+|` +
	`a=(sendrecv|sendonly|recvonly|inactive|rtcp-mux|rtcp-rsize)|a=(ptime|maxptime|framerate):[\d.]+|` +
	`a=rtpmap:\d{1,3} \S+|a=fmtp:\d{1,3} \S+|a=rtcp-fb:(\d{1,3}|\*) [a-z0-9 -]+|a=T38[A-Za-z]+(:[A-Za-z0-9]*)?|` +
	`a=(crypto|fingerprint|setup|tls-id|zrtp-hash):[ -~]+|a=rtcp:\d+( IN IP4 192\.0\.2\.1)?|` +
	`a=(ice-lite|ice-ufrag:\S+|ice-pwd:\S+|end-of-candidates)|` +
	`a=candidate:1 [12] (UDP|udp) \d+ 192\.0\.2\.1 \d+ typ host)$`)

// watchForms are forms of the lines of what a watcher is told of calls.
var watchForms = regexp.MustCompile(`^(<\?xml version="1\.0" encoding="UTF-8"\?>|` +
	`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="\d+" state="(full|partial)"` +
	` entity="` + watched + `">|` +
	`<dialog id="[\w-]{16}"( call-id="s1-[\w-]+" local-tag="0" remote-tag="0")?( direction="(initiator|recipient)")?>` +
	`<state( event="[a-z-]+")?( code="\d{3}")?>[a-z]+</state>` +
	`(<remote><identity>` + watched + `</identity><target uri="` + watched + `"/></remote>)?</dialog>|</dialog-info>)$`)

const textForm = `text/plain;charset=UTF-8|message/sipfrag`

const watched = `sip:(alice|bob|carol)@sotto\.example`

func compiled(forms map[string]string) map[string]*regexp.Regexp {
	out := map[string]*regexp.Regexp{}
	for name, f := range forms {
		out[name] = regexp.MustCompile("^(" + f + ")$")
	}
	return out
}

// unlisted says what of a packet has no form that is listed, "" for nothing.
func unlisted(k phone.Packet) string {
	switch k.Kind {
	case phone.SIP:
		return unlistedLine(string(k.Data))
	case phone.RTCP:
		return unlistedReport(k.Data)
	}
	return ""
}

// unlistedLine is the first line of a message that is on no list.
func unlistedLine(message string) string {
	head, body, _ := strings.Cut(message, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	var forms *regexp.Regexp
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if form := headerForms[name]; form == nil || !form.MatchString(value) {
			return line
		}
		switch line {
		case "Content-Type: application/sdp":
			forms = sdpForms
		case "Content-Type: application/dialog-info+xml":
			forms = watchForms
		}
	}
	if forms == nil {
		return ""
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\r\n"), "\r\n") {
		if !forms.MatchString(line) {
			return line
		}
	}
	return ""
}

// unlistedReport holds a compound RTCP packet to sender and receiver reports,
// CNAME alone, BYE without a text, and feedback (RFC 3550 §6, RFC 4585 §6.1).
func unlistedReport(b []byte) string {
	for len(b) >= 4 {
		n := 4 * (int(b[2])<<8 | int(b[3]) + 1)
		if n > len(b) {
			return "RTCP that lies about its length"
		}
		count, kind, rest := int(b[0]&31), b[1], b[4:n]
		switch {
		case kind == 200 && n == 28+24*count, kind == 201 && n == 8+24*count, kind == 203 && n == 4+4*count,
			kind == 205, kind == 206, kind == 202 && count <= 1 && onlyCNAME(rest):
		default:
			return "RTCP of type " + string('0'+kind/100) + string('0'+kind/10%10) + string('0'+kind%10)
		}
		b = b[n:]
	}
	return ""
}

// onlyCNAME says that a chunk of a source description holds nothing but a
// name of sixteen hexadecimal digits.
func onlyCNAME(chunk []byte) bool {
	return len(chunk) == 0 || len(chunk) == 24 && chunk[4] == 1 && chunk[5] == 16 &&
		regexp.MustCompile(`^[0-9a-f]{16}$`).Match(chunk[6:22])
}
