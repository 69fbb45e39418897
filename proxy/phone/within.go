package phone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// Request sends a request of any method but INVITE within the call, also
// before it is answered.
func (c *Call) Request(ctx context.Context, method string, opts ...Option) (*sip.Response, error) {
	pl := planned(opts)
	return c.p.transact(ctx, func() (draft, sip.Uri, error) {
		if c.dialog == nil {
			return draft{method: method}, sip.Uri{}, errors.New("no dialog yet")
		}
		return c.draft(c.dialog, method, pl)
	})
}

// draft is a request of a dialog of the call; some carry a Contact.
func (c *Call) draft(d *dialog, method string, pl plan) (draft, sip.Uri, error) {
	if slices.Contains([]string{"INVITE", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE"}, method) {
		contact := c.p.contact()
		if len(pl.contacts) > 0 {
			contact = pl.contacts[0]
		}
		pl.headers = append([]Field{{"Contact", contact}}, pl.headers...)
	}
	return d.draft(method, pl)
}

// sendAndForget sends a request on the worker, whatever becomes of it.
func (c *Call) sendAndForget(d *dialog, method string, pl plan) {
	out, hop, err := c.draft(d, method, pl)
	if err == nil {
		_, err = c.p.start(out, hop, &exchange{p: c.p})
	}
	if err != nil && c.p.cfg.Log != nil {
		c.p.cfg.Log.Debug("request not sent", "method", method, "err", err)
	}
}

// Bye hangs up and waits for the answer. The media ends at once. It fails with
// ErrEnded if the call is over already.
func (c *Call) Bye(ctx context.Context, opts ...Option) error {
	over := false
	err := c.p.do(func() {
		over = c.ended
		c.end(nil)
	})
	if err != nil {
		return err
	}
	if over {
		return ErrEnded
	}
	_, err = c.Request(ctx, "BYE", opts...)
	return err
}

// Reinvite sends an INVITE within the call and waits for its end. With
// LateOffer the other side offers.
func (c *Call) Reinvite(ctx context.Context, opts ...Option) error {
	pl := planned(opts)
	i := &inviting{c: c, pl: pl, re: true, acks: map[string]func(){}}
	err := c.p.do(func() {
		if c.dialog == nil || c.ended {
			i.err = ErrEnded
			return
		}
		d, hop, err := c.draft(c.dialog, "INVITE", pl)
		c.dialog.seq-- // send counts
		if err != nil {
			i.err = err
			return
		}
		i.draft, i.hop = d, hop
		i.send()
	})
	if err != nil {
		return err
	}
	return i.wait(ctx)
}

// Hold puts the other side on hold (RFC 3264 §8.4).
func (c *Call) Hold(ctx context.Context) error { return c.Reinvite(ctx, Direct(SendOnly)) }

// Resume takes the other side off hold.
func (c *Call) Resume(ctx context.Context) error { return c.Reinvite(ctx, Direct(SendRecv)) }

// Update sends an UPDATE (RFC 3311); EarlyMedia or Direct put an offer in it.
func (c *Call) Update(ctx context.Context, opts ...Option) error {
	pl := planned(opts)
	offers := pl.media || pl.direction != SendRecv
	res, err := c.p.transact(ctx, func() (draft, sip.Uri, error) {
		if c.dialog == nil {
			return draft{method: "UPDATE"}, sip.Uri{}, errors.New("no dialog yet")
		}
		if offers {
			pl.body, pl.bodyType = c.desc.offer(pl.direction), sdpType
		}
		return c.draft(c.dialog, "UPDATE", pl)
	})
	if err != nil {
		return err
	}
	return c.p.do(func() {
		c.dialog.refresh(res)
		c.timer.agreed(c, res, true)
		if offers && isSDP(res) && c.desc.answered(res.Body()) == nil {
			c.negotiated(c.desc.remote, c.desc.own.direction)
		}
	})
}

// Info sends a digit as INFO (application/dtmf-relay, as many desk phones do).
func (c *Call) Info(ctx context.Context, digit string, opts ...Option) error {
	body := fmt.Sprintf("Signal=%s\r\nDuration=160\r\n", digit)
	_, err := c.Request(ctx, "INFO", append([]Option{Body("application/dtmf-relay", body)}, opts...)...)
	return err
}

// Refer asks the other side to call a third (RFC 3515). Its NOTIFYs come to
// Next; Transferred reads them.
func (c *Call) Refer(ctx context.Context, to string, opts ...Option) error {
	_, err := c.Request(ctx, "REFER", append([]Option{Header("Refer-To", bracketed(to))}, opts...)...)
	return err
}

// Transferred waits until a NOTIFY tells how the transfer ended, and returns
// the status line in it.
func (c *Call) Transferred(ctx context.Context) (string, error) {
	for {
		req, err := c.Next(ctx, "NOTIFY")
		if err != nil {
			return "", err
		}
		line := string(req.Body())
		if len(line) > 12 && line[8] >= '2' {
			return line, nil
		}
	}
}

// Notify tells whoever sent a REFER how it goes; a final code ends the
// subscription (RFC 3515 §2.4.4).
func (c *Call) Notify(ctx context.Context, code int) error {
	state := "active;expires=60"
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	_, err := c.Request(ctx, "NOTIFY", Header("Event", "refer"), Header("Subscription-State", state),
		Body("message/sipfrag;version=2.0", fmt.Sprintf("SIP/2.0 %d %s\r\n", code, phrase(code))))
	return err
}

// Next waits for the next request of that method within the call that was not
// returned yet; "" is any. The phone has answered it already. ACKs to 2xx count.
func (c *Call) Next(ctx context.Context, method string) (*sip.Request, error) {
	var req *sip.Request
	err := c.p.await(ctx, method, func() bool {
		c.inbox, req = taken(c.inbox, method)
		return req != nil
	})
	return req, err
}

// Refuse makes the phone answer requests of a method within the call with the
// code from now on; 0 makes it do what it would do by itself.
func (c *Call) Refuse(method string, code int) error {
	return c.p.do(func() { c.refusals[method] = code })
}

// WillAnswer makes the phone answer every offer within the call with that
// description, whatever is offered; its media stay as they are.
func (c *Call) WillAnswer(sdp string) error {
	return c.p.do(func() { c.scripted = []byte(sdp) })
}

// Dialog is what the phone knows of the other side: the URI that it sends to
// within the call, and the routes.
func (c *Call) Dialog() (target string, routes []string) {
	_ = c.p.do(func() { // of a closed phone: nothing
		if c.dialog != nil {
			target, routes = c.dialog.target, slices.Clone(c.dialog.routes)
		}
	})
	return target, routes
}

// tagIn is the tag in a From or To value.
func tagIn(value string) string {
	_, tag := cutFold(value, ";tag=")
	for i, r := range tag {
		if r == ';' || r == ' ' {
			return tag[:i]
		}
	}
	return tag
}

// SessionTimer asks for a session timer (RFC 4028) of so many seconds in an
// INVITE or UPDATE; refresher is uac, uas, or "" for the other side's choice.
func SessionTimer(seconds int, refresher string) Option {
	value := strconv.Itoa(seconds)
	if refresher != "" {
		value += ";refresher=" + refresher
	}
	return func(p *plan) {
		p.headers = append(p.headers, Field{"Session-Expires", value}, Field{"Min-SE", "10"})
	}
}

// sessionExpires reads the header.
func sessionExpires(m sip.Message) (seconds int, refresher string) {
	v := wire.Header(m, "Session-Expires")
	text, params := cutFold(v, ";")
	seconds, err := strconv.Atoi(text)
	if err != nil {
		return 0, ""
	}
	_, refresher = cutFold(";"+params, ";refresher=")
	refresher, _ = cutFold(refresher, ";")
	return seconds, refresher
}
