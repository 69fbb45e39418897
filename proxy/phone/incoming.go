package phone

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// Incoming waits for the next call that comes in. The phone has sent 100, and
// waits for Ring, Answer or Reject.
func (p *Phone) Incoming(ctx context.Context) (*Call, error) {
	var c *Call
	err := p.await(ctx, "a call", func() bool {
		if len(p.incoming) == 0 {
			return false
		}
		c, p.incoming = p.incoming[0], p.incoming[1:]
		return true
	})
	return c, err
}

// arrive takes a new INVITE, on the worker.
func (p *Phone) arrive(s *txn.Server) {
	if code := p.refusals["INVITE"]; code != 0 {
		p.reply(s, p.response(s.Req, code, p.newTag(), plan{}))
		return
	}
	c, err := p.newCall()
	if err != nil {
		p.reply(s, p.response(s.Req, sip.StatusInternalServerError, p.newTag(), plan{}))
		return
	}
	c.Invite, c.server = s.Req, s
	c.dialog = uasDialog(s.Req, c.tag)
	s.User = c
	p.keep(c, s.CallID())
	p.reply(s, p.response(s.Req, sip.StatusTrying, "", plan{}))
	p.incoming = append(p.incoming, c)
}

// Ring sends a 180, or what the options say. A reliable one returns when its
// PRACK has come.
func (c *Call) Ring(ctx context.Context, opts ...Option) error {
	pl := planned(opts)
	if pl.code == 0 {
		pl.code = sip.StatusRinging
	}
	var err error
	var rseq uint32
	if e := c.p.do(func() { rseq, err = c.ring(pl) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	if !pl.reliable {
		return nil
	}
	acked := func() bool { return c.pracked >= rseq || c.ended }
	if err := c.p.await(ctx, "PRACK", acked); err != nil {
		return err
	}
	return c.Why()
}

func (c *Call) ring(pl plan) (uint32, error) {
	if c.ended || c.answered {
		return 0, ErrEnded
	}
	if pl.media {
		if err := c.describe(&pl); err != nil {
			return 0, err
		}
	}
	if pl.reliable {
		c.rseq++
		pl.headers = append(pl.headers, Field{"Require", "100rel"},
			Field{"RSeq", strconv.FormatUint(uint64(c.rseq), 10)})
	}
	res := c.response(c.Invite, pl.code, pl)
	c.p.reply(c.server, res)
	if n := c.rseq; pl.reliable {
		c.repeat(c.server, res, func() bool { return c.pracked >= n || c.answered })
	}
	return c.rseq, nil
}

// describe writes the SDP of our answer, or of our offer if there was none,
// once for all responses to the INVITE.
func (c *Call) describe(pl *plan) error {
	if pl.body != nil {
		return nil
	}
	if c.body == nil {
		c.body, c.bodyErr = c.negotiate(c.Invite, pl.direction)
	}
	pl.body, pl.bodyType = c.body, sdpType
	return c.bodyErr
}

// negotiate answers the offer in a request, or offers.
func (c *Call) negotiate(req *sip.Request, d Direction) ([]byte, error) {
	if !isSDP(req) {
		c.lateAck[req.CSeq().SeqNo] = true
		return c.desc.offer(d), nil
	}
	if c.scripted != nil {
		return c.scripted, nil
	}
	body, err := c.desc.answer(req.Body(), d)
	if err == nil {
		c.negotiated(c.desc.remote, c.desc.own.direction)
	}
	return body, err
}

func isSDP(m sip.Message) bool {
	t, _, _ := strings.Cut(wire.Header(m, "Content-Type"), ";")
	return len(m.Body()) > 0 && strings.EqualFold(strings.TrimSpace(t), sdpType)
}

// Answer takes the call and returns when the ACK has come. An offer that the
// phone can do nothing with is answered 488, and is an error.
func (c *Call) Answer(ctx context.Context, opts ...Option) error {
	pl := planned(opts)
	var err error
	if e := c.p.do(func() { err = c.answer(pl) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	n := c.Invite.CSeq().SeqNo
	acked := func() bool { return !c.unacked[n] || c.ended }
	if err := c.p.await(ctx, "ACK", acked); err != nil {
		return err
	}
	return c.Why()
}

func (c *Call) answer(pl plan) error {
	if c.ended || c.answered {
		return errors.Join(ErrEnded, c.why)
	}
	if err := c.describe(&pl); err != nil {
		c.reject(sip.StatusNotAcceptableHere, plan{})
		return fmt.Errorf("answering: %w", err)
	}
	c.answered = true
	pl.headers = append(pl.headers, c.timer.consent(c.Invite)...)
	res := c.response(c.Invite, sip.StatusOK, pl)
	c.confirm(c.server, res)
	c.timer.agreed(c, res, false)
	return nil
}

// confirm sends a 2xx to an INVITE until its ACK comes (RFC 3261 §13.3.1.4).
func (c *Call) confirm(s *txn.Server, res *sip.Response) {
	n := s.Req.CSeq().SeqNo
	c.unacked[n] = true
	c.p.reply(s, res)
	c.repeat(s, res, func() bool { return !c.unacked[n] })
}

// repeat sends a response again and again until done, at growing distances; if
// it never is, the call ends.
func (c *Call) repeat(s *txn.Server, res *sip.Response, done func() bool) {
	t1, t2 := c.p.cfg.T1, c.p.cfg.T2
	if t1 == 0 {
		t1 = 500 * time.Millisecond
	}
	if t2 == 0 {
		t2 = 4 * time.Second
	}
	wait, spent := t1, time.Duration(0)
	var again func()
	again = func() {
		defer c.p.check()
		if done() || c.ended {
			return
		}
		if spent += wait; spent >= 64*t1 {
			c.sendAndForget(c.dialog, "BYE", plan{})
			c.end(ErrNoAck)
			return
		}
		c.p.reply(s, res)
		wait = min(2*wait, t2)
		s.After(wait, again)
	}
	s.After(wait, again)
}

// Reject refuses the call with any final code.
func (c *Call) Reject(code int, opts ...Option) error {
	return c.p.do(func() { c.reject(code, planned(opts)) })
}

func (c *Call) reject(code int, pl plan) {
	if c.ended || c.answered {
		return
	}
	c.p.reply(c.server, c.response(c.Invite, code, pl))
	c.end(&StatusError{"INVITE", code, phrase(code), nil})
}

// response is a response within the call.
func (c *Call) response(req *sip.Request, code int, pl plan) *sip.Response {
	var own []Field
	if code > 100 && code < 300 {
		for _, r := range wire.All(req, "Record-Route") {
			own = append(own, Field{"Record-Route", r})
		}
		contact := c.p.contact()
		if len(pl.contacts) > 0 {
			contact = pl.contacts[0]
		}
		own = append(own, Field{"Contact", contact}, Field{"Allow", allowed}, Field{"Supported", supported})
	} else if len(pl.contacts) > 0 {
		own = append(own, Field{"Contact", strings.Join(pl.contacts, ", ")})
	}
	pl.headers = append(own, pl.headers...)
	return c.p.response(req, code, c.tag, pl)
}
