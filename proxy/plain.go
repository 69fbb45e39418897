package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
	"sotto/tokens"
)

// plain is the treatment of an unprotected call: RFC 3261 §16.6 with
// Record-Route, media direct between the phones unless NAT or address
// families make the engine necessary. What the way back needs is in the
// boxes of our two Record-Route entries, one facing each side (RFC 5658).
type plain struct {
	p    *Proxy
	srv  *txn.Server
	call *call // the request that starts a dialog; nil inside one
	from leg
	box  *box    // from our Route entry; nil outside a dialog
	uri  sip.Uri // the Request-URI without tokens

	offer offer // of the request that starts the dialog
}

// key names the call's record.
func (t *plain) key() callKey {
	req := t.srv.Req
	if t.call != nil {
		return t.call.key
	}
	h := req.From().Params
	if t.from == calleeLeg {
		h = req.To().Params
	}
	tag, _ := wire.Param(h, "tag")
	return callKey{req.CallID().Value(), tag}
}

// request implements treatment.
func (t *plain) request(b *branch) (*sip.Request, error) {
	in := t.srv.Req
	out := wire.Fork(in)
	out.Recipient = *b.target.uri.Clone()
	t.strip(b, out)
	t.offer.write(out, b.target)
	if err := t.p.seal.mapDialogs(out, t.p.readerOf(t.call, b)); err != nil {
		return nil, err
	}
	setRoutes(out, b.target.routes)
	decrement(out)
	t.anchor(b)
	body, err := t.p.inRequest(b, t.from, in.Method == sip.ACK || in.Method == sip.PRACK)
	if err != nil {
		return nil, err
	}
	if body != nil {
		setSDP(out, body)
	}
	if in.Method == sip.NOTIFY && mediaType(in) == typeDialogInfo {
		// Who watches sees states, not who else is in the calls: some of these are protected.
		if body = t.p.seal.watch(in.Body(), in.From().Address); body == nil {
			wire.RemoveAll(out, "Content-Type")
		}
		out.SetBody(body)
	}
	if t.call != nil && makesDialog(in.Method) {
		if err := t.recordRoute(b, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// strip removes what is for us alone: credentials, tokens wherever they were,
// and identities that only a trusted peer may assert (RFC 3325 §5).
func (t *plain) strip(b *branch, out *sip.Request) {
	trusted := t.call != nil && t.call.who.kind == trustedPeer && t.p.trusts(b.target.peer)
	strip(out, t.p.domainServed, trusted)
	wire.RemoveAll(out, "Route")
	to := out.To() // within the dialog, too: the caller keeps the To that it dialled
	to.Address, _, _, _ = carriers(to.Address)
	kept := sip.NewParams()
	for _, kv := range to.Params {
		if !strings.EqualFold(kv.K, tokens.Param) {
			kept.Add(kv.K, kv.V)
		}
	}
	to.Params = kept
}

// domainServed says that a realm is one of ours.
func (p *Proxy) domainServed(realm string) bool { return p.domains[canonical(realm)] }

// setRoutes writes a route set (RFC 3261 §16.6 step 6).
func setRoutes(out *sip.Request, routes []sip.Uri) {
	for _, r := range slices.Backward(routes) {
		out.PrependHeader(&sip.RouteHeader{Address: r})
	}
}

// decrement counts the hop down, or starts the count (RFC 3261 §16.6 step 3).
func decrement(out *sip.Request) {
	n := uint32(70)
	if mf := out.MaxForwards(); mf != nil && mf.Val() > 0 {
		n = mf.Val() - 1
	}
	wire.RemoveAll(out, "Max-Forwards")
	mf := sip.MaxForwardsHeader(n)
	out.AppendHeader(&mf)
}

// makesDialog says that a request may start a dialog (RFC 3261 §12, RFC 6665, RFC 3515).
func makesDialog(m sip.RequestMethod) bool {
	return m == sip.INVITE || m == sip.SUBSCRIBE || m == sip.REFER
}

// anchor decides whether the branch's media must go through the engine.
func (t *plain) anchor(b *branch) {
	switch {
	case t.box != nil:
		b.media.session = rtpengine.ID(t.box.session)
	case t.call == nil || t.srv.Req.Method != sip.INVITE:
	case familyOf(t.srv.Flow) != familyOf(b.flow), natted(t.srv), t.p.behindNAT(b):
		b.media.session, b.media.created = rtpengine.NewID(), true
		t.p.calls.anchored(t.call.key, b.media.session)
		t.p.calls.change(t.call.key, func(r *record) { r.Relayed = true })
	}
}

// natted says that a sender's own idea of its address is not ours
// (RFC 3261 §18.2.1: then its Via got a received parameter).
func natted(s *txn.Server) bool {
	via := s.Req.Via()
	if via == nil {
		return false
	}
	v, ok := wire.Param(via.Params, "received")
	return ok && v != canonical(via.Host)
}

// behindNAT says that a device registered from behind a NAT.
func (p *Proxy) behindNAT(b *branch) bool {
	if bind, ok := p.loc.ByID(b.target.binding); b.target.nat || ok && bind.NAT {
		return true // the binding may be gone by now, and the phone come back over another
	}
	ip, err := netip.ParseAddr(canonical(b.target.uri.Host))
	return err == nil && b.target.flow != (flow.Ref{}) && ip.Unmap() != b.flow.Peer().Addr().Unmap()
}

// recordRoute puts two entries on the request: the upper one faces the
// callee, the lower one the caller; each holds the flow of the side it faces.
func (t *plain) recordRoute(b *branch, out *sip.Request) error {
	x := box{
		kind: boxRoute, mark: markOf(out.CallID().Value()), session: uint64(b.media.session),
		expires: time.Now().Add(boxLife), salt: uint32(random()),
	}
	caller, callee := x, x
	caller.leg, caller.flow, caller.binding = calleeLeg, t.p.direct(t.srv), t.p.bindingOf(t.srv.Flow)
	callee.leg, callee.flow, callee.binding = callerLeg, refIfDirect(b), b.target.binding
	caller.aor, callee.aor = t.call.who.aor.String(), b.target.aor.String()
	for _, side := range []struct {
		b  box
		fl *flow.Flow
	}{{caller, t.srv.Flow}, {callee, b.flow}} {
		user, err := t.p.seal.seal(side.b)
		if err != nil {
			return err
		}
		u := t.p.uriToward(side.fl, user)
		u.UriParams.Add("lr", "")
		out.PrependHeader(&sip.RecordRouteHeader{Address: u})
	}
	return nil
}

// response implements treatment.
func (t *plain) response(b *branch, res *sip.Response) (*sip.Response, error) {
	out := sip.CopyResponse(res)
	stripResponse(out, false)
	restoreVia(out, t.srv.Req)
	restoreTo(out, t.srv.Req, res)
	body, err := t.p.inResponse(b, t.from, res)
	if err != nil {
		return nil, err
	}
	if body != nil {
		setSDP(out, body)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 && t.srv.Req.Method == sip.INVITE && t.call != nil {
		t.p.dialogMade(t.call.key, b, res, out)
	}
	return out, nil
}

// restoreVia gives a response the Vias of the request it answers, which is
// what removing ours comes to (RFC 3261 §16.7 step 3), whatever came back.
func restoreVia(out *sip.Response, req *sip.Request) {
	wire.RemoveAll(out, "Via")
	for _, h := range slices.Backward(req.GetHeaders("Via")) {
		out.PrependHeader(sip.HeaderClone(h))
	}
}

// restoreTo gives the caller its own To back, tokens and all, with the
// device's tag (token-spec.md, carriers).
func restoreTo(out *sip.Response, req *sip.Request, res *sip.Response) {
	tag, ok := wire.Param(res.To().Params, "tag")
	to := &sip.ToHeader{
		DisplayName: req.To().DisplayName, Address: *req.To().Address.Clone(), Params: req.To().Params.Clone(),
	}
	if _, had := wire.Param(to.Params, "tag"); ok && !had {
		to.Params.Add("tag", tag)
	}
	out.ReplaceHeader(to)
}

// release implements treatment.
func (t *plain) release(b *branch) { t.p.releaseMedia(b) }
