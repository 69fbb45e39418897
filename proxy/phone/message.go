package phone

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// Option changes one request or response.
type Option func(*plan)

// plan is what options ask for.
type plan struct {
	headers   []Field
	body      []byte
	bodyType  string
	noBody    bool // no SDP where there would be one
	media     bool // SDP where there would be none
	code      int
	reliable  bool
	from      string
	direction Direction
	expires   int // -1: not said
	contacts  []string
}

func planned(opts []Option) plan {
	p := plan{direction: SendRecv, expires: -1}
	for _, o := range opts {
		o(&p)
	}
	return p
}

// Header adds a header.
func Header(name, value string) Option {
	return func(p *plan) { p.headers = append(p.headers, Field{name, value}) }
}

// Headers adds headers.
func Headers(fields ...Field) Option {
	return func(p *plan) { p.headers = append(p.headers, fields...) }
}

// Body sets a body in place of what the phone would have written.
func Body(contentType, text string) Option {
	return func(p *plan) { p.body, p.bodyType = []byte(text), contentType }
}

// LateOffer leaves the SDP out of an INVITE: the other side offers.
func LateOffer() Option { return func(p *plan) { p.noBody = true } }

// EarlyMedia puts an SDP body into a provisional response, a 183 unless Code
// says otherwise.
func EarlyMedia() Option {
	return func(p *plan) {
		p.media = true
		if p.code == 0 {
			p.code = sip.StatusSessionInProgress
		}
	}
}

// Code sets the code of a response.
func Code(code int) Option { return func(p *plan) { p.code = code } }

// Reliable sends a provisional response reliably (RFC 3262); Ring then waits
// for the PRACK.
func Reliable() Option { return func(p *plan) { p.reliable = true } }

// From sets the whole From header of a request, without tag.
func From(value string) Option { return func(p *plan) { p.from = value } }

// Direct sets the direction that the SDP asks for.
func Direct(d Direction) Option { return func(p *plan) { p.direction = d } }

// Expires sets the Expires header, in seconds.
func Expires(seconds int) Option { return func(p *plan) { p.expires = seconds } }

// Contact adds a Contact to a REGISTER, or replaces it in other requests:
// a URI, or the whole value with its <>.
func Contact(value string) Option {
	return func(p *plan) { p.contacts = append(p.contacts, bracketed(value)) }
}

// bracketed puts a bare URI into <>.
func bracketed(uri string) string {
	if strings.Contains(uri, "<") || uri == "*" {
		return uri
	}
	return "<" + uri + ">"
}

// contact is the phone's own Contact.
func (p *Phone) contact() string {
	if p.cfg.Contact != "" {
		return bracketed(p.cfg.Contact)
	}
	uri := "sip:" + p.cfg.User + "@" + p.local.String()
	if p.local.Port() == 0 {
		uri = "sip:" + p.cfg.User + "@" + hostText(p.local.Addr())
	}
	if p.cfg.Transport != "udp" {
		uri += ";transport=" + p.cfg.Transport
	}
	return "<" + uri + ">"
}

func hostText(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// self is the phone's own From.
func (p *Phone) self() string {
	if p.cfg.Display == "" {
		return "<" + p.URI() + ">"
	}
	return fmt.Sprintf("%q <%s>", p.cfg.Display, p.URI())
}

func (p *Phone) newTag() string { return p.cfg.TagPrefix + random() }

// A draft is a request before it is written: RFC 3261 §8.1.1 without Via and
// what the phone adds to everything.
type draft struct {
	method, uri      string
	from, to, callID string
	seq              uint32
	fields           []Field
	bodyType         string
	body             []byte
}

// request writes a draft. The flow is needed for the Via.
func (p *Phone) request(d draft, f *flow.Flow) (*sip.Request, error) {
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	via := p.local.String()
	if p.local.Port() == 0 {
		via = hostText(p.local.Addr())
	}
	b.WriteString(d.method + " " + d.uri + " SIP/2.0\r\n")
	line("Via", fmt.Sprintf("SIP/2.0/%s %s;branch=%s;rport",
		strings.ToUpper(f.Transport()), via, txn.NewBranch()))
	line("Max-Forwards", "70")
	line("From", d.from)
	line("To", d.to)
	line("Call-ID", d.callID)
	line("CSeq", fmt.Sprintf("%d %s", d.seq, d.method))
	for _, h := range d.fields {
		line(h.Name, h.Value)
	}
	for _, h := range p.cfg.Headers {
		line(h.Name, h.Value)
	}
	if len(d.body) > 0 {
		line("Content-Type", d.bodyType)
	}
	line("Content-Length", fmt.Sprint(len(d.body)))
	m, err := wire.Parse([]byte(b.String() + "\r\n" + string(d.body)))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", d.method, err)
	}
	req, ok := m.(*sip.Request)
	if !ok {
		return nil, fmt.Errorf("writing %s: not a request", d.method)
	}
	return req, nil
}

// response answers a request with what the phone says in all its responses.
func (p *Phone) response(req *sip.Request, code int, tag string, pl plan) *sip.Response {
	res := wire.NewResponse(req, code, phrase(code))
	if _, has := wire.Param(res.To().Params, "tag"); !has && code > sip.StatusTrying {
		res.To().Params.Add("tag", tag)
	}
	if code == sip.StatusTrying {
		return res
	}
	for _, h := range append(pl.headers, p.cfg.Headers...) {
		res.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	if len(pl.body) > 0 {
		t := sip.ContentTypeHeader(pl.bodyType)
		res.AppendHeader(&t)
		res.SetBody(pl.body)
	}
	return res
}

// phrase is the reason phrase of a code (RFC 3261 §21).
func phrase(code int) string {
	phrases := map[int]string{
		100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
		183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
		404: "Not Found", 480: "Temporarily Unavailable",
		481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated",
		488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 603: "Decline",
	}
	if s := phrases[code]; s != "" {
		return s
	}
	return "Whatever"
}

// bare is a URI without display name, parameters of the header and <>.
func bare(value string) string {
	if _, after, ok := strings.Cut(value, "<"); ok {
		uri, _, _ := strings.Cut(after, ">")
		return uri
	}
	return strings.TrimSpace(value)
}

// splitList splits a header at the commas that separate values.
func splitList(values []string) []string {
	var out []string
	for _, v := range values {
		depth, quoted, from := 0, false, 0
		for i, r := range v {
			switch {
			case r == '"':
				quoted = !quoted
			case quoted:
			case r == '<':
				depth++
			case r == '>':
				depth--
			case r == ',' && depth == 0:
				out = append(out, strings.TrimSpace(v[from:i]))
				from = i + 1
			}
		}
		out = append(out, strings.TrimSpace(v[from:]))
	}
	return out
}

// hasOption tells whether a header such as Require lists an option tag.
func hasOption(m sip.Message, name, option string) bool {
	for _, v := range splitList(wire.All(m, name)) {
		if strings.EqualFold(v, option) {
			return true
		}
	}
	return false
}
