package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/location"
	"sotto/proxy/flow"
	"sotto/proxy/receipt"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// boxLife is how long a Contact that we handed out stays good. It bounds a
// call that never refreshes its session, and how long an old key is kept.
const boxLife = 24 * time.Hour

// sealed is the treatment of a protected call: every message is built anew
// from the allow-list (hide.go), identifiers are sealed (seal.go), media goes
// through the engine (media.go), and what the proxy must know to route the
// next request is in the Contact that each side gets.
type sealed struct {
	p        *Proxy
	srv      *txn.Server
	call     *call  // the request that starts a dialog; nil inside one
	from     leg    // who sent the request
	box      *box   // what the sender's Request-URI held; nil outside a dialog
	shownTag string // facade: the tag by which the caller knows the device
	offer    offer  // of the request that starts the dialog
}

// key names the call's record, from the caller's side.
func (t *sealed) key() callKey {
	req := t.srv.Req
	if t.call != nil {
		return t.call.key
	}
	if t.from == callerLeg {
		tag, _ := wire.Param(req.From().Params, "tag")
		return callKey{req.CallID().Value(), tag}
	}
	id, _ := t.p.seal.openCallID(req.CallID().Value())
	tag, _ := wire.Param(req.To().Params, "tag")
	tag, _ = t.p.seal.openTag(tag)
	return callKey{id, tag}
}

// receipt is the receipt of the call, nil without.
func (t *sealed) receipt() *receipt.Receipt {
	if t.call != nil {
		return t.call.receipt
	}
	return t.p.calls.receiptFor(t.key())
}

// request implements treatment.
func (t *sealed) request(b *branch) (*sip.Request, error) {
	in := t.srv.Req
	t.anchor(b)
	body, err := t.p.inRequest(b, t.from, in.Method == sip.ACK || in.Method == sip.PRACK && t.late())
	if err != nil {
		return nil, err
	}
	h := t.hide(t.from)
	h.reader = t.p.readerOf(t.call, b)
	if in.Contact() != nil {
		if h.contact, err = t.p.contact(b.flow, t.boxForReceiver(b)); err != nil {
			return nil, err
		}
	}
	out, err := h.request(in, b.target.uri)
	if err != nil {
		return nil, err
	}
	t.offer.write(out, b.target)
	setRoutes(out, b.target.routes)
	if sdpOf(in) != nil {
		setSDP(out, body)
	}
	return out, nil
}

// hide is how messages cross that leg from wrote.
func (t *sealed) hide(from leg) hide {
	h := hide{seal: t.p.seal, shownTag: t.shownTag}
	if t.box != nil {
		h = hideFrom(t.p.seal, *t.box)
	}
	h.from, h.domain, h.ours = from, canonical(t.p.cfg.Domains[0]), t.p.oursByHost
	if t.box != nil {
		h.sender = t.known(from)
	}
	if t.call != nil {
		h.anonymous = t.call.anonymous()
		if !t.call.who.aor.IsZero() {
			h.sender = uriOf(t.call.who.aor)
		}
		h.receiver = t.call.dialled
	}
	return h
}

// known is how the party of a leg was named when the call began, in a request within it:
// what a From says then nobody checks. It is zero where no user is known of the call.
func (t *sealed) known(from leg) (u sip.Uri) {
	if t.p.anonymous(t.srv.Req.From().Address) {
		return u
	}
	t.p.calls.change(t.key(), func(r *record) {
		u = r.named(from)
	})
	return u
}

// oursByHost says that a host stands for this server.
func (p *Proxy) oursByHost(host string) bool { return p.isUs(sip.Uri{Scheme: "sip", Host: host}) }

// anchor gives the branch its session: a new one for each branch of a new
// call, else the dialog's.
func (t *sealed) anchor(b *branch) {
	switch {
	case t.box != nil:
		b.media.session = rtpengine.ID(t.box.session)
	case t.srv.Req.Method == sip.INVITE:
		b.media.session, b.media.created = rtpengine.NewID(), true
		t.p.calls.anchored(t.call.key, b.media.session)
		t.p.calls.change(t.call.key, func(r *record) { r.Relayed = true })
	}
}

// late says that the sender of a PRACK owes an answer to an offer that came
// in a response (RFC 3262 §5).
func (t *sealed) late() bool { return t.box != nil && t.box.late }

// newBox is what every Contact of this dialog has in common.
func (t *sealed) newBox(b *branch) box {
	x := box{
		kind: boxContact, mark: markOf(t.key().callID), session: uint64(b.media.session),
		expires: time.Now().Add(boxLife), salt: uint32(random()), shownTag: t.shownTag,
	}
	x.anonymous = t.call != nil && t.call.anonymous()
	if t.box != nil {
		x.anonymous = t.box.anonymous
		x.ownTag, x.shownTag = t.box.ownTag, t.box.shownTag
		x.key = t.box.key // the dialog keeps the key that it began with
	}
	return x
}

// boxForReceiver is what the receiver of the request gets as Contact: the way
// back to its sender.
func (t *sealed) boxForReceiver(b *branch) box {
	in := t.srv.Req
	x := t.newBox(b)
	x.leg, x.target = t.from.other(), in.Contact().Address.String()
	x.routes = routeTexts(wire.All(in, "Record-Route"), false)
	x.flow, x.binding = t.p.direct(t.srv), t.p.bindingOf(t.srv.Flow)
	if t.call != nil {
		x.aor = t.call.who.aor.String()
	}
	if t.from == calleeLeg && x.shownTag != "" {
		x.ownTag, _ = wire.Param(in.From().Params, "tag")
	}
	return x
}

// boxForSender is what the sender of the request gets as Contact of its
// response: the way to whoever answered.
func (t *sealed) boxForSender(b *branch, res *sip.Response) box {
	x := t.newBox(b)
	x.leg, x.target = t.from, res.Contact().Address.String()
	x.routes = routeTexts(wire.All(res, "Record-Route"), true)
	x.flow, x.binding = refIfDirect(b), b.target.binding
	x.late = sdpOf(res) != nil && !b.media.offered && negotiates(t.srv.Req.Method)
	if t.box != nil { // inside a dialog the other side stays where it was
		x.flow, x.binding, x.aor = t.box.flow, t.box.binding, t.box.aor
	} else if !t.call.unnamed {
		x.aor = t.call.callee.String()
	}
	if t.from == callerLeg && x.shownTag != "" {
		x.ownTag, _ = wire.Param(res.To().Params, "tag")
	}
	return x
}

// routeTexts is a route set as a box keeps it, topmost first, or reversed
// for who sent the request (RFC 3261 §12.1.2).
func routeTexts(values []string, reverse bool) []string {
	set, err := routeSet(values)
	if err != nil {
		return nil
	}
	out := make([]string, len(set))
	for i, u := range set {
		if reverse {
			i = len(set) - 1 - i
		}
		out[i] = u.String()
	}
	return out
}

// bindingOf is the binding that a phone's flow belongs to, 0 without.
func (p *Proxy) bindingOf(f *flow.Flow) uint64 { return p.loc.ByFlow(location.Flow(f.Ref())) }

// response implements treatment.
func (t *sealed) response(b *branch, res *sip.Response) (*sip.Response, error) {
	body, err := t.p.inResponse(b, t.from, res)
	if err != nil {
		return nil, err
	}
	h := t.hide(t.from.other())
	if res.Contact() != nil && res.StatusCode < 300 {
		if h.contact, err = t.p.contact(t.srv.Flow, t.boxForSender(b, res)); err != nil {
			return nil, err
		}
	}
	out, err := h.response(res, t.srv.Req)
	if err != nil {
		return nil, err
	}
	if sdpOf(res) != nil {
		setSDP(out, body)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 && t.srv.Req.Method == sip.INVITE && t.call != nil {
		t.p.dialogMade(t.call.key, b, res, out)
	}
	return out, nil
}

// release implements treatment.
func (t *sealed) release(b *branch) { t.p.releaseMedia(b) }
