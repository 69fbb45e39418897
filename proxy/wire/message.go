package wire

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// Bytes is a message as it goes out.
func Bytes(m sip.Message) []byte {
	if m.ContentLength() == nil {
		m.SetBody(m.Body()) // writes the header
	}
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	m.StringWrite(b)
	out := bytes.Clone(b.Bytes())
	if b.Cap() <= largeBuffer {
		buffers.Put(b)
	}
	return out
}

// buffers are where messages are written: what is kept of them, as the last
// response of a transaction is, then has no room to spare.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// largeBuffer is one that is not kept (ours): most messages are smaller.
const largeBuffer = 16 << 10

// Fork makes a copy of a request that shares nothing with it and has no
// destination: sipgo's Clone shares pointers to several headers.
func Fork(req *sip.Request) *sip.Request {
	out := sip.NewRequest(req.Method, *req.Recipient.Clone())
	out.SipVersion = req.SipVersion
	for _, h := range req.Headers() {
		out.AppendHeader(clone(h))
	}
	if b := req.Body(); b != nil {
		out.SetBody(slices.Clone(b))
	}
	return out
}

// clone copies a header; those that sipgo's HeaderClone shares are made anew.
func clone(h sip.Header) sip.Header {
	switch h := h.(type) {
	case *sip.MaxForwardsHeader:
		c := *h
		return &c
	case *sip.CallIDHeader:
		c := *h
		return &c
	case *sip.ContentLengthHeader:
		c := *h
		return &c
	case *sip.ContentTypeHeader:
		c := *h
		return &c
	case *sip.ExpiresHeader:
		c := *h
		return &c
	}
	return sip.HeaderClone(h)
}

// RemoveAll removes every header of that name, in any case and form.
func RemoveAll(m sip.Message, name string) {
	want := fullName(name)
	for _, h := range slices.Clone(headersOf(m)) {
		if fullName(h.Name()) == want {
			remove(m, h.Name())
		}
	}
}

// remove removes one header; sip.Message has no method for it.
func remove(m sip.Message, name string) {
	switch m := m.(type) {
	case *sip.Request:
		m.RemoveHeader(name)
	case *sip.Response:
		m.RemoveHeader(name)
	}
}

// All returns the values of every header of that name, in their order.
func All(m sip.Message, name string) []string {
	want := fullName(name)
	var all []string
	for _, h := range headersOf(m) {
		if fullName(h.Name()) == want {
			all = append(all, h.Value())
		}
	}
	return all
}

// Header returns the value of the first header of that name, "" without.
func Header(m sip.Message, name string) string {
	if all := All(m, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// headersOf lists the headers; sip.Message has no method for it.
func headersOf(m sip.Message) []sip.Header {
	switch m := m.(type) {
	case *sip.Request:
		return m.Headers()
	case *sip.Response:
		return m.Headers()
	}
	return nil
}

// Param returns a parameter by its name in any case (RFC 3261 §7.3.1).
func Param(p sip.HeaderParams, name string) (string, bool) {
	for _, kv := range p {
		if strings.EqualFold(strings.TrimSpace(kv.K), name) {
			return strings.TrimSpace(kv.V), true
		}
	}
	return "", false
}

// SetParam sets a parameter, replacing it in whatever case it stands.
func SetParam(p *sip.HeaderParams, name, value string) {
	for i, kv := range *p {
		if strings.EqualFold(strings.TrimSpace(kv.K), name) {
			(*p)[i].V = value
			return
		}
	}
	p.Add(name, value)
}

// NewResponse builds a response to req with what §8.2.6.2 copies: Via, From,
// To, Call-ID and CSeq. It adds no tag and nothing else.
func NewResponse(req *sip.Request, code int, reason string) *sip.Response {
	res := sip.NewResponse(code, reason)
	for _, h := range req.GetHeaders("Via") {
		res.AppendHeader(sip.HeaderClone(h))
	}
	res.AppendHeader(sip.HeaderClone(req.From()))
	res.AppendHeader(sip.HeaderClone(req.To()))
	callID := *req.CallID()
	res.AppendHeader(&callID)
	res.AppendHeader(sip.HeaderClone(req.CSeq()))
	res.SetBody(nil)
	return res
}

// AddReceived notes in the top Via where a request came from: received when
// its sent-by says otherwise (RFC 3261 §18.2.1), and rport when it was asked
// for (RFC 3581 §4).
func AddReceived(via *sip.ViaHeader, src netip.AddrPort) {
	ip := src.Addr().Unmap()
	_, asked := Param(via.Params, "rport")
	if asked {
		SetParam(&via.Params, "rport", strconv.Itoa(int(src.Port())))
	}
	sent, err := netip.ParseAddr(strings.Trim(via.Host, "[]"))
	if asked || err != nil || sent.Unmap() != ip {
		SetParam(&via.Params, "received", ip.String())
	}
}
