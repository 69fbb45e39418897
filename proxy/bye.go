package proxy

import (
	"slices"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// hungUp ends a call whose BYE has its final response, or none in time. A
// challenge is not an end: the BYE will come again.
func (p *Proxy) hungUp(key callKey, session rtpengine.ID, how string) func(int) {
	return func(code int) {
		if code == sip.StatusUnauthorized || code == sip.StatusProxyAuthRequired {
			return
		}
		p.endMedia(session)
		p.calls.end(key, how, time.Now())
	}
}

// MediaDead tells the proxy that a session has carried nothing for too long.
// It may be called from any goroutine, and ends the call with a BYE to both
// parties: the engine has no other way to know that they are gone. Neither is
// told which of them was not heard.
func (p *Proxy) MediaDead(id rtpengine.ID, why rtpengine.Reason) {
	key, ok := p.calls.bySession(id)
	if !ok {
		p.endMedia(id) // a call from before a restart, or one that just ended
		return
	}
	if !p.calls.answered(key) {
		return // it rings still: silence means nothing, and timer C will end it
	}
	err := p.txn.Do(key.callID, func() {
		p.log.Info("call ended: no media", "call", refOf(key), "why", why)
		r := p.calls.receiptFor(key)
		for _, ends := range p.calls.dialogs(key) {
			for to, e := range ends {
				p.sendBye(key.callID, e, noMedia, func(raw []byte) { r.Sent(legOf(leg(to)), raw) })
			}
		}
		p.endMedia(id)
		p.calls.end(key, "no media", time.Now())
	})
	if err != nil {
		p.endMedia(id)
	}
}

// noMedia is the Reason of a call that is ended for that (RFC 3326 §2). A phone
// shows the text, or by the code that it is no party's doing; a gateway makes a
// temporary failure of it (RFC 6432, RFC 3398 §8.1.4).
const noMedia = `SIP;cause=503;text="No media"`

// sendBye ends one party's dialog in the other's name. sent hears what is sent.
func (p *Proxy) sendBye(owner string, e dialogEnd, reason string, sent func([]byte)) {
	p.reach(target{uri: e.target, routes: e.routes, flow: e.flow, binding: e.binding}, owner,
		func(ds []destination, err error) {
			if err != nil || len(ds) == 0 {
				return
			}
			if fl, err := p.connect(ds[0]); err == nil {
				bye := p.inDialogRequest(sip.BYE, e, e.cseq+1, fl)
				bye.AppendHeader(sip.NewHeader("Reason", reason))
				p.startQuietly(owner, bye, fl, sent)
			}
		})
}

// startQuietly starts a transaction whose outcome changes nothing.
func (p *Proxy) startQuietly(owner string, req *sip.Request, fl *flow.Flow, sent func([]byte)) {
	if _, err := p.txn.Start(owner, req, fl, deafSink{sent}); err != nil {
		p.log.Debug("request not sent", "method", req.Method, "err", err)
	}
}

// deafSink ignores the outcome of a transaction.
type deafSink struct{ sent func([]byte) }

// Sent implements txn.Watcher.
func (d deafSink) Sent(raw []byte) { d.sent(raw) }

// Response implements txn.Sink.
func (deafSink) Response(*txn.Client, *sip.Response) {}

// Failed implements txn.Sink.
func (deafSink) Failed(*txn.Client, error) {}

// inDialogRequest builds a request toward one end of a dialog (RFC 3261 §12.2.1.1).
func (p *Proxy) inDialogRequest(m sip.RequestMethod, e dialogEnd, cseq uint32, fl *flow.Flow) *sip.Request {
	req := sip.NewRequest(m, e.target)
	callID, maxForwards := sip.CallIDHeader(e.callID), sip.MaxForwardsHeader(70)
	req.AppendHeader(p.via(fl, nil))
	for _, r := range e.routes {
		req.AppendHeader(&sip.RouteHeader{Address: r})
	}
	req.AppendHeader(&maxForwards)
	req.AppendHeader(sip.HeaderClone(e.from))
	req.AppendHeader(sip.HeaderClone(e.to))
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: m})
	req.SetBody(nil)
	return req
}

// hangUpBranch ends a dialog that a device made with a 2xx which cannot
// cross: too late, the second one behind a facade, or with an answer that
// cannot be made safe. The device gets its ACK and then a BYE.
func (p *Proxy) hangUpBranch(b *branch, res *sip.Response) {
	if b.req.Method != sip.INVITE {
		return
	}
	e := calleeEnd(b, res)
	ack := p.inDialogRequest(sip.ACK, e, b.req.CSeq().SeqNo, b.flow)
	raw := wire.Bytes(ack)
	b.Sent(raw)
	if err := b.flow.Send(raw); err != nil {
		p.log.Debug("ACK not sent", "err", err)
	}
	if b.hungUp {
		return // a retransmission
	}
	b.hungUp = true
	p.startQuietly(b.fork.srv.CallID(), p.inDialogRequest(sip.BYE, e, e.cseq+1, b.flow), b.flow, b.Sent)
}

// calleeEnd is the device's end of the dialog that its 2xx made.
func calleeEnd(b *branch, res *sip.Response) dialogEnd {
	at := b.req.Recipient // where it was reached: of a 2xx that names no better place
	if c := res.Contact(); c != nil {
		at = c.Address
	}
	return dialogEnd{
		target: at, routes: beyondUs(res, b), flow: refIfDirect(b), binding: b.target.binding,
		callID: b.req.CallID().Value(), from: b.req.From(), to: res.To(), cseq: b.req.CSeq().SeqNo,
		aor: b.target.aor,
	}
}

// refIfDirect is the flow of a registered device; a server beyond is reached
// by its route set instead.
func refIfDirect(b *branch) flow.Ref {
	if b.target.flow == (flow.Ref{}) {
		return flow.Ref{}
	}
	return b.flow.Ref()
}

// beyondUs is the route set from us to the device: the Record-Route entries
// that came in above what we sent, nearest first (RFC 3261 §12.1.2).
func beyondUs(res *sip.Response, b *branch) []sip.Uri {
	all, err := routeSet(wire.All(res, "Record-Route"))
	if err != nil {
		return nil
	}
	sent, err := routeSet(wire.All(b.req, "Record-Route"))
	if err != nil || len(sent) > len(all) {
		return nil
	}
	all = all[:len(all)-len(sent)]
	slices.Reverse(all)
	return all
}

// callerEnd is the caller's end of the dialog that a 2xx made, once the
// response that went to it is built.
func callerEnd(req *sip.Request, out *sip.Response, direct flow.Ref, binding uint64) dialogEnd {
	routes, err := routeSet(wire.All(req, "Record-Route"))
	if err != nil {
		routes = nil
	}
	e := dialogEnd{
		routes: routes, flow: direct, binding: binding, callID: req.CallID().Value(),
		from: toAsFrom(out.To()), to: fromAsTo(req.From()),
	}
	if c := req.Contact(); c != nil {
		e.target = c.Address
	}
	return e
}

// toAsFrom and fromAsTo turn the parties round: what we send to the caller
// comes from the callee (RFC 3261 §12.2.1.1).
func toAsFrom(to *sip.ToHeader) *sip.FromHeader {
	return &sip.FromHeader{DisplayName: to.DisplayName, Address: to.Address, Params: to.Params.Clone()}
}

func fromAsTo(from *sip.FromHeader) *sip.ToHeader {
	return &sip.ToHeader{DisplayName: from.DisplayName, Address: from.Address, Params: from.Params.Clone()}
}

// refOf is the short name of a call in logs and lists. It names nobody.
func refOf(k callKey) string { return strconv.FormatUint(fnv64(k.callID+"\x00"+k.tag)>>24, 36) }
