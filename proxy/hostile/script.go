package hostile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// alone are methods for outside of dialogs, within those for inside of one.
var (
	alone = []string{
		"INVITE", "REGISTER", "MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "INFO", "NOTIFY", "PUBLISH",
		"UPDATE", "BYE", "CANCEL", "ACK", "PRACK", "BREW",
	}
	within = []string{
		"ACK", "BYE", "INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE", "OPTIONS", "SUBSCRIBE", "PRACK",
	}
)

// next is the next message: what fits the state, more often than not.
func (p *Peer) next() string {
	if p.cfg.Password != "" && p.sent < registering {
		return p.outside("REGISTER")
	}
	if len(p.calls) == 0 || p.one(4) {
		method := "INVITE"
		if !p.one(2) {
			method = pick(p, alone)
		}
		return p.outside(method)
	}
	c := pick(p, p.calls)
	switch {
	case c.invite != nil && p.one(2):
		return p.response(c.invite, c)
	case c.state == confirmed:
		return p.inside(c, pick(p, within))
	case p.one(3):
		return p.cancel(c)
	case c.state == early:
		return p.inside(c, pick(p, []string{"PRACK", "UPDATE", "BYE", "INFO", "ACK"}))
	default:
		return p.again(c)
	}
}

// pick picks one.
func pick[T any](p *Peer, all []T) T { return all[p.cfg.Choose(len(all))] }

// uri is somebody to bother.
func (p *Peer) uri() string { return "sip:" + pick(p, p.cfg.Targets) + "@" + p.cfg.Domain }

// self is who the peer says it is.
func (p *Peer) self() string {
	if p.cfg.User == "" {
		return "sip:stranger@elsewhere.example"
	}
	return "sip:" + p.cfg.User + "@" + p.cfg.Domain
}

// outside is a request outside of a dialog.
func (p *Peer) outside(method string) string {
	uri := p.uri()
	c := &call{
		id: p.number(), method: method, local: "<" + p.self() + ">;tag=h" + p.number(), other: "<" + uri + ">",
		target: uri, cseq: 1, answered: map[string]int{},
	}
	if method == "REGISTER" {
		c.other, c.target = "<"+p.self()+">", "sip:"+p.cfg.Domain
	}
	if method == "INVITE" {
		p.keep(c)
	}
	return p.request(c, method, "z9hG4bKh"+p.number())
}

// again is an INVITE once more: a retransmission, or the same with credentials.
func (p *Peer) again(c *call) string {
	if p.one(2) {
		return p.request(c, c.method, c.branch)
	}
	c.cseq++
	return p.request(c, c.method, "z9hG4bKa"+p.number())
}

// inside is a request within a dialog, or what would be one.
func (p *Peer) inside(c *call, method string) string {
	if method == "ACK" {
		return p.ack(c)
	}
	c.cseq++
	if method == "BYE" && p.one(2) {
		defer p.forget(c)
	}
	return p.request(c, method, "z9hG4bKi"+p.number())
}

// cancel is the CANCEL of a call's INVITE.
func (p *Peer) cancel(c *call) string { return p.request(c, "CANCEL", c.branch) }

// ack is the ACK to the last response: with the branch of the INVITE for a
// refusal, and a new one for an answer (RFC 3261 §17.1.1.3, §13.2.2.4).
func (p *Peer) ack(c *call) string {
	branch := c.branch
	if c.last != nil && c.last.StatusCode < 300 {
		branch = "z9hG4bKk" + p.number()
	}
	return p.request(c, "ACK", branch)
}

// request writes a request of a call.
func (p *Peer) request(c *call, method, branch string) string {
	if method == "INVITE" {
		c.branch = branch
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n",
		method, c.target, p.cfg.Local, branch)
	for _, r := range c.routes {
		b.WriteString("Route: " + r + "\r\n")
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:h@%s>\r\n",
		c.local, c.other, c.id, c.cseq, method, p.cfg.Local)
	b.WriteString(p.credentials(method, c.target))
	switch method {
	case "REGISTER":
		b.WriteString("Expires: 600\r\nSupported: path, outbound\r\n")
	case "PRACK":
		b.WriteString("RAck: 1 " + strconv.Itoa(max(c.cseq-1, 1)) + " INVITE\r\n")
	case "REFER":
		b.WriteString("Refer-To: <" + p.uri() + "?Replaces=" + c.id + "%3Bto-tag%3Da%3Bfrom-tag%3Db>\r\n")
	case "SUBSCRIBE", "NOTIFY", "PUBLISH":
		b.WriteString("Event: presence\r\nSubscription-State: active;expires=60\r\nExpires: 60\r\n")
	case "INVITE":
		b.WriteString("Supported: 100rel, timer, replaces\r\nSession-Expires: 1800\r\n")
	}
	kind, body := p.body(method)
	if body != "" {
		b.WriteString("Content-Type: " + kind + "\r\n")
	}
	return b.String() + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// body is what a request of a method carries, most times.
func (p *Peer) body(method string) (kind, body string) {
	switch method {
	case "INVITE", "UPDATE":
		if p.one(8) {
			return "", "" // a late offer
		}
		return "application/sdp", p.sdp()
	case "MESSAGE":
		return "text/plain", "hello"
	case "INFO":
		return "application/dtmf-relay", "Signal=1\r\nDuration=100\r\n"
	case "NOTIFY":
		return "message/sipfrag", "SIP/2.0 200 OK"
	}
	return "", ""
}

// sdp is a description of a call with sound and picture.
func (p *Peer) sdp() string {
	host := p.cfg.Local.Addr().String()
	return "v=0\r\no=h 1 " + strconv.Itoa(p.sent) + " IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host +
		"\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n" +
		"a=sendrecv\r\nm=video 40002 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=rtcp-mux\r\n"
}

// asked takes a request that came.
func (p *Peer) asked(req *sip.Request) {
	c := p.find(req.CallID().Value())
	switch {
	case req.IsAck(), p.one(8):
		return
	case c == nil && req.IsInvite():
		c = &call{
			id: req.CallID().Value(), method: "INVITE", local: req.To().Value() + ";tag=h" + p.number(),
			other: req.From().Value(), cseq: 1, invite: req, answered: map[string]int{},
		}
		if ct := req.Contact(); ct != nil {
			c.target = ct.Address.String()
		}
		c.routes = wire.All(req, "Record-Route")
		p.keep(c)
	case c == nil:
		c = &call{local: req.To().Value() + ";tag=h" + p.number()}
	}
	p.send(p.response(req, c))
}

// response answers a request in some way.
func (p *Peer) response(req *sip.Request, c *call) string {
	code := pick(p, []int{180, 200, 183, 200, 486, 302, 401, 404, 488, 500, 503, 603, 100, 199, 299, 699})
	if c.invite == req && code/100 == 2 {
		c.state = confirmed
	}
	res := wire.NewResponse(req, code, "Whatever")
	text := string(wire.Bytes(res))
	head, _, _ := strings.Cut(text, "\r\nContent-Length:")
	if !strings.Contains(req.To().Value(), ";tag=") && code > 100 {
		head = strings.Replace(head, "\r\nTo: "+req.To().Value(), "\r\nTo: "+c.local, 1)
	}
	head += "\r\nContact: <sip:h@" + p.cfg.Local.String() + ">"
	for _, r := range wire.All(req, "Record-Route") {
		head += "\r\nRecord-Route: " + r
	}
	body := ""
	if req.IsInvite() && code > 180 && code < 300 {
		body = p.sdp()
		head += "\r\nContent-Type: application/sdp"
	}
	if code == 183 {
		head += "\r\nRequire: 100rel\r\nRSeq: 1"
	}
	return head + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}
