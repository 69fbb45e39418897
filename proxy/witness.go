package proxy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/receipt"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// What the receipt of a protected call (package receipt) is given: what the
// messages of a party tell of it, and each byte that is sent to the other.

// legOf is a leg as a receipt names it.
func legOf(l leg) receipt.Leg {
	if l == callerLeg {
		return receipt.Caller
	}
	return receipt.Callee
}

// witness begins the receipt of a call that is protected; a request that is no
// call has none. Both parties may know who calls whom.
func (c *call) witness() {
	c.p.calls.change(c.key, func(r *record) {
		r.receipt = c.p.receipts.Open(r.Ref, r.Caller, r.Callee)
		c.receipt = r.receipt
	})
	witnessed(c.srv, c.receipt, callerLeg)
}

// witnessed gives a receipt a request that came from a leg, and every response to it.
func witnessed(s *txn.Server, r *receipt.Receipt, from leg) {
	if r == nil {
		return
	}
	r.Learn(legOf(from), told(s.Req, s.Flow, from))
	s.Watch(func(raw []byte) { r.Sent(legOf(from), raw) })
}

// witnessAck gives the receipt the ACK to a 2xx, which has no transaction.
func (f *fork) witnessAck(fl *flow.Flow) {
	t, ok := f.treat.(*sealed)
	if !ok {
		return
	}
	if f.receipt, f.from = t.receipt(), t.from; f.receipt != nil {
		f.receipt.Learn(legOf(f.from), told(f.srv.Req, fl, f.from))
	}
}

// Sent implements txn.Watcher. Where a device is, is known before it says so.
func (b *branch) Sent(raw []byte) {
	if r := b.fork.receipt; r != nil {
		to := legOf(b.fork.from.other())
		if b.fork.srv.Req.IsInvite() {
			r.Learn(to, receipt.Told{Facts: append(peerFacts(b.flow), uriFacts(b.target.uri)...)})
		}
		r.Sent(to, raw)
	}
}

// heard gives the receipt of the call a response.
func (b *branch) heard(res *sip.Response) {
	if r := b.fork.receipt; r != nil && res.StatusCode > 100 {
		from := b.fork.from.other()
		r.Learn(legOf(from), told(res, b.flow, from))
	}
}

// told is what a message tells of its sender. Who it is for is left out.
func told(m sip.Message, f *flow.Flow, from leg) receipt.Told {
	t := receipt.Told{Facts: peerFacts(f)}
	note := func(k receipt.Kind, text string) { t.Facts = append(t.Facts, receipt.Fact{Kind: k, Text: text}) }
	req, request := m.(*sip.Request)
	var tag sip.HeaderParams
	switch {
	case request:
		tag = req.From().Params
		if from == callerLeg {
			id, host, _ := strings.Cut(req.CallID().Value(), "@")
			note(receipt.CallID, id)
			t.Facts = append(t.Facts, hostFact(host)...)
		}
	case m.To() != nil:
		tag = m.To().Params
	}
	if own, ok := wire.Param(tag, "tag"); ok {
		note(receipt.Tag, own)
	}
	var text strings.Builder
	for _, h := range headersOf(m) {
		switch name := longName(h.Name()); name {
		case "to", "route", "call-id", "cseq", "content-type", "authorization", "proxy-authorization":
			continue
		case "via":
			if !request {
				continue // it is ours
			}
		case "user-agent", "server", "organization":
			note(receipt.Device, strings.TrimSpace(h.Value()))
		}
		text.WriteString(h.Value() + "\n")
	}
	if c := contactIn(m); c != nil {
		t.Facts = append(t.Facts, uriFacts(c.Address)...)
		if id, ok := wire.Param(c.Params, "+sip.instance"); ok {
			note(receipt.Instance, strings.Trim(id, `"<>`))
		}
	}
	t.Head, t.SDP = text.String(), string(sdpOf(m))
	return t
}

// contactIn is the Contact of a message, nil without.
func contactIn(m sip.Message) *sip.ContactHeader {
	switch m := m.(type) {
	case *sip.Request:
		return m.Contact()
	case *sip.Response:
		return m.Contact()
	}
	return nil
}

// peerFacts are where a flow leads.
func peerFacts(f *flow.Flow) []receipt.Fact {
	at := f.Peer()
	return []receipt.Fact{
		{Kind: receipt.Address, Text: at.Addr().Unmap().String()},
		{Kind: receipt.Port, Text: strconv.Itoa(int(at.Port()))},
	}
}

// uriFacts are the host and port of a URI.
func uriFacts(u sip.Uri) []receipt.Fact {
	all := hostFact(u.Host)
	if u.Port > 0 {
		all = append(all, receipt.Fact{Kind: receipt.Port, Text: strconv.Itoa(u.Port)})
	}
	return all
}

// hostFact is a host: an address, or a name.
func hostFact(host string) []receipt.Fact {
	host = canonical(host)
	if a, err := netip.ParseAddr(host); err == nil {
		return []receipt.Fact{{Kind: receipt.Address, Text: a.Unmap().String()}}
	}
	if host == "" {
		return nil
	}
	return []receipt.Fact{{Kind: receipt.Host, Text: host}}
}

// public says that a text is nobody's secret: it is of this server.
func (p *Proxy) public(text string) bool {
	switch text {
	case "0.0.0.0", "::", "localhost", anonymousHost, "5060", "5061":
		return true
	}
	if p.domains[text] || text == canonical(p.cfg.Advertise) {
		return true
	}
	for _, a := range p.cfg.Media.Addresses {
		if text == a.Local.String() || text == a.Advertised.String() {
			return true
		}
	}
	ip, err := netip.ParseAddr(text)
	for _, b := range p.bound {
		own := b.Addr.Addr().Unmap()
		if err == nil && (own == ip || own.IsUnspecified() && p.isLocal(ip)) || text == strconv.Itoa(int(b.Addr.Port())) {
			return true
		}
	}
	return false
}

// Reported gives the receipt of a call a packet of RTCP that the media engine
// relayed. It may be called from any goroutine.
func (p *Proxy) Reported(id rtpengine.ID, to rtpengine.Side, packet []byte, secret bool) {
	if r := p.calls.receiptOf(id); r != nil {
		r.Reported(receipt.Leg(to), packet, secret)
	}
}

// receiptPatience is how long who asks for a receipt waits for the search (ours).
const receiptPatience = 2 * time.Second

// seen is what each party of a call saw of the other.
func (p *Proxy) seen(r *receipt.Receipt) []string {
	if r == nil {
		return nil
	}
	p.receipts.Settle(receiptPatience)
	return r.Lines()
}
