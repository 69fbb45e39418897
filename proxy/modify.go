package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// within takes a request inside a protected dialog: the box in its
// Request-URI says who sent it and where it goes. No table is asked, so it
// works after a restart and on every node that has the key (design §3).
func (p *Proxy) within(s *txn.Server, b box) error {
	if b.kind == boxFacade {
		return p.atFacade(s)
	}
	tr := &sealed{p: p, srv: s, from: b.leg, box: &b}
	t, err := boxTarget(b)
	if err != nil || markOf(tr.key().callID) != b.mark {
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	}
	if s.Req.Method == sip.INVITE {
		p.trying(s)
	}
	f := newFork(p, s, tr)
	witnessed(s, f.receipt, b.leg)
	p.watch(f, tr.key(), rtpengine.ID(b.session), b.leg)
	f.start([]target{t})
	return nil
}

// follow takes a request inside a record-routed dialog (RFC 3261 §16.4, §16.12).
func (p *Proxy) follow(s *txn.Server, w way) error {
	if s.Req.Method == sip.INVITE {
		p.trying(s)
	}
	if markOf(s.CallID()) != w.box.mark {
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	}
	tr := &plain{p: p, srv: s, from: w.box.leg, box: w.box, uri: w.uri}
	f := newFork(p, s, tr)
	p.watch(f, tr.key(), rtpengine.ID(w.box.session), w.box.leg)
	f.start([]target{routeTarget(w)})
	return nil
}

// watch keeps the record of a call in step with the requests inside it.
func (p *Proxy) watch(f *fork, key callKey, session rtpengine.ID, from leg) {
	req := f.srv.Req
	p.calls.change(key, func(r *record) {
		r.touched = time.Now()
		r.moved(p, f.srv, from)
		for tag, e := range r.ends {
			if other := &e[from.other()]; other.cseq < req.CSeq().SeqNo {
				other.cseq = req.CSeq().SeqNo
			}
			r.ends[tag] = e
		}
	})
	if req.Method == sip.BYE {
		f.ended = p.hungUp(key, session, "hung up by the "+from.String())
	}
}

// atFacade takes a request inside the early dialog that a stranger has with
// the facade.
func (p *Proxy) atFacade(s *txn.Server) error {
	tag, _ := wire.Param(s.Req.To().Params, "tag")
	f := p.facades.get(tag)
	if f == nil || f.srv.CallID() != s.CallID() {
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	}
	f.early(s)
	return nil
}

// routeTarget is where a route that we recorded leads.
func routeTarget(w way) target {
	return target{uri: w.uri, routes: w.routes, flow: w.box.flow, binding: w.box.binding, aor: ownerOf(*w.box)}
}

// boxTarget is where a box leads.
func boxTarget(b box) (target, error) {
	t := target{flow: b.flow, binding: b.binding, aor: ownerOf(b)}
	if err := sip.ParseUri(b.target, &t.uri); err != nil {
		return target{}, err
	}
	for _, r := range b.routes {
		var u sip.Uri
		if err := sip.ParseUri(r, &u); err != nil {
			return target{}, err
		}
		t.routes = append(t.routes, u)
	}
	return t, nil
}

// ownerOf is whose device a box leads to; zero for who has no address of record.
func ownerOf(b box) aor.AOR {
	a, err := aor.Parse(b.aor)
	if err != nil {
		return aor.AOR{}
	}
	return a
}

// ackOn forwards the ACK to a 2xx.
func (p *Proxy) ackOn(fl *flow.Flow, ack *sip.Request) error {
	w, err := p.route(ack)
	if err != nil {
		return err
	}
	var (
		t  target
		tr treatment
	)
	s := &txn.Server{Req: ack, Flow: fl}
	switch {
	case w.sealed != nil && w.sealed.kind != boxFacade:
		if t, err = boxTarget(*w.sealed); err != nil {
			return err
		}
		tr = &sealed{p: p, srv: s, from: w.sealed.leg, box: w.sealed}
	case w.box != nil:
		t = routeTarget(w)
		tr = &plain{p: p, srv: s, from: w.box.leg, box: w.box, uri: w.uri}
	default:
		return errNoWay
	}
	b := &branch{fork: &fork{p: p, srv: s, treat: tr}, target: t}
	b.fork.witnessAck(fl)
	p.reach(t, ack.CallID().Value(), func(ds []destination, err error) {
		if err == nil {
			err = p.sendAck(b, ds)
		}
		if err != nil {
			p.log.Debug("ACK not forwarded", "call", p.ref(ack), "err", err)
		}
	})
	return nil
}

// sendAck sends an ACK to the first destination that takes it.
func (p *Proxy) sendAck(b *branch, ds []destination) error {
	for _, d := range ds {
		fl, err := p.connect(d)
		if err != nil {
			continue
		}
		b.flow = fl
		out, err := b.fork.treat.request(b)
		if err != nil {
			return err
		}
		out.PrependHeader(p.via(fl, b.fork.srv.Req))
		raw := wire.Bytes(out)
		b.Sent(raw)
		return fl.Send(raw)
	}
	return errNoWay
}

// dialogMade notes both ends of the dialog that a 2xx to an INVITE makes or
// refreshes, so that the proxy can end it when the media dies.
func (p *Proxy) dialogMade(key callKey, b *branch, res, out *sip.Response) {
	if res.Contact() == nil {
		return
	}
	tag, _ := wire.Param(res.To().Params, "tag")
	caller := callerEnd(b.fork.srv.Req, out, p.direct(b.fork.srv), p.bindingOf(b.fork.srv.Flow))
	callee := calleeEnd(b, res)
	p.calls.change(key, func(r *record) {
		r.ends[tag] = [2]dialogEnd{callerLeg: caller, calleeLeg: callee}
		if r.Answered.IsZero() {
			r.Answered = time.Now()
		}
	})
}

// direct is the flow that later requests to the sender of a request go down
// (RFC 5626 §5.3): the one that it came over, unless a server stands between whose
// word on where they go instead is taken, a peer's or, by the operator's leave, anybody's.
func (p *Proxy) direct(s *txn.Server) flow.Ref {
	if len(wire.All(s.Req, "Via")) != 1 && (p.peerOf(s.Flow) != nil || p.cfg.Foreign == "allow") {
		return flow.Ref{}
	}
	return s.Flow.Ref()
}
