package phone

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// server is what the transaction layer talks to; everything runs on its
// worker.
type server struct{ p *Phone }

// Request implements txn.Handler.
func (h server) Request(s *txn.Server) {
	p, tag := h.p, tagOf(s.Req)
	defer p.check()
	c := p.calls[callKey(s.CallID(), tag)]
	switch {
	case tag == "" && s.Req.Method == sip.INVITE:
		p.arrive(s)
	case tag == "" || p.subs[s.CallID()] == tag:
		p.alone(s)
	case c == nil:
		p.reply(s, p.response(s.Req, sip.StatusCallTransactionDoesNotExists, tag, plan{}))
	default:
		c.request(s)
	}
}

// Cancel implements txn.Handler.
func (h server) Cancel(s *txn.Server) {
	defer h.p.check()
	c, ok := s.User.(*Call)
	if !ok || c.answered {
		return
	}
	c.reject(sip.StatusRequestTerminated, plan{})
}

// Ack implements txn.Handler.
func (h server) Ack(_ *flow.Flow, ack *sip.Request) {
	defer h.p.check()
	c := h.p.calls[callKey(ack.CallID().Value(), tagOf(ack))]
	if c == nil {
		return
	}
	n := ack.CSeq().SeqNo
	if !c.unacked[n] {
		return
	}
	delete(c.unacked, n)
	c.inbox = append(c.inbox, ack)
	if !c.lateAck[n] {
		return
	}
	delete(c.lateAck, n)
	if !isSDP(ack) || c.desc.answered(ack.Body()) != nil {
		c.sendAndForget(c.dialog, "BYE", plan{})
		c.end(errNoSDP)
		return
	}
	c.negotiated(c.desc.remote, c.desc.own.direction)
}

// Stray implements txn.Handler. A late 2xx finds nobody who would know it.
func (server) Stray(*flow.Flow, *sip.Response) {}

// request takes a request within the call.
func (c *Call) request(s *txn.Server) {
	req := s.Req
	c.inbox = append(c.inbox, req)
	if code := c.refusals[string(req.Method)]; code != 0 {
		c.p.reply(s, c.response(req, code, plan{}))
		return
	}
	switch req.Method {
	case sip.BYE:
		c.p.reply(s, c.response(req, sip.StatusOK, plan{}))
		c.end(nil)
	case sip.INVITE, sip.UPDATE:
		c.modify(s)
	case sip.PRACK:
		c.takePrack(s)
	case sip.REFER:
		c.p.reply(s, c.response(req, sip.StatusAccepted, plan{}))
	default:
		c.p.reply(s, c.response(req, sip.StatusOK, plan{}))
	}
}

// modify answers a re-INVITE or UPDATE as the other side wants it.
func (c *Call) modify(s *txn.Server) {
	pl := plan{direction: SendRecv}
	c.dialog.refresh(s.Req)
	if isSDP(s.Req) || s.Req.Method == sip.INVITE {
		body, err := c.negotiate(s.Req, SendRecv)
		if err != nil {
			c.p.reply(s, c.response(s.Req, sip.StatusNotAcceptableHere, plan{}))
			return
		}
		pl.body, pl.bodyType = body, sdpType
	}
	pl.headers = c.timer.consent(s.Req)
	res := c.response(s.Req, sip.StatusOK, pl)
	if s.Req.Method == sip.INVITE {
		c.confirm(s, res)
	} else {
		c.p.reply(s, res)
	}
	c.timer.agreed(c, res, false)
}

// takePrack takes the acknowledgement of a reliable provisional response. One
// with an answer settles the offer that was in it.
func (c *Call) takePrack(s *txn.Server) {
	text, _, _ := strings.Cut(wire.Header(s.Req, "RAck"), " ")
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || uint32(n) != c.rseq || uint32(n) <= c.pracked {
		c.p.reply(s, c.response(s.Req, sip.StatusCallTransactionDoesNotExists, plan{}))
		return
	}
	c.pracked = uint32(n)
	if invite := c.Invite.CSeq().SeqNo; isSDP(s.Req) && c.lateAck[invite] {
		if c.desc.answered(s.Req.Body()) == nil {
			delete(c.lateAck, invite)
			c.negotiated(c.desc.remote, c.desc.own.direction)
		}
	}
	c.p.reply(s, c.response(s.Req, sip.StatusOK, plan{}))
}
