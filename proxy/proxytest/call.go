package proxytest

import (
	"context"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/phone"
)

// Call is a call as one phone has it. What does not happen as told ends the test.
type Call struct {
	*phone.Call
	Phone *Phone
}

// Invites begins a call and returns at once.
func (p *Phone) Invites(to string, opts ...phone.Option) *Call {
	p.s.t.Helper()
	c, err := p.Invite(URI(to), opts...)
	p.s.must(err)
	return &Call{c, p}
}

// IsCalled waits for the next call that comes in.
func (p *Phone) IsCalled() *Call {
	p.s.t.Helper()
	c := &Call{Phone: p}
	p.do(func(ctx context.Context) (err error) {
		c.Call, err = p.Incoming(ctx)
		return err
	})
	return c
}

// do runs a step of the script; an error ends the test.
func (c *Call) do(step func(context.Context) error) {
	c.Phone.s.t.Helper()
	c.Phone.do(step)
}

// Rings sends a 180, or what the options say.
func (c *Call) Rings(opts ...phone.Option) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error { return c.Ring(ctx, opts...) })
}

// Answers takes the call and waits for the ACK.
func (c *Call) Answers(opts ...phone.Option) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error { return c.Answer(ctx, opts...) })
}

// Refuses refuses the call.
func (c *Call) Refuses(code int, opts ...phone.Option) {
	c.Phone.s.t.Helper()
	c.do(func(context.Context) error { return c.Reject(code, opts...) })
}

// Hears waits for a provisional response to our INVITE.
func (c *Call) HearsProgress(code int) (res *sip.Response) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) (err error) {
		res, err = c.Progress(ctx, code)
		return err
	})
	return res
}

// IsAnswered waits for the answer to our INVITE.
func (c *Call) IsAnswered() {
	c.Phone.s.t.Helper()
	c.do(c.Answered)
}

// IsRefused waits for a final that is no answer; its code must be that.
func (c *Call) IsRefused(code int) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error {
		err := c.Answered(ctx)
		if got := phone.Status(err); got != code {
			c.Phone.s.t.Fatalf("%s: INVITE ended with %d (%v), not %d", c.Phone.User, got, err, code)
		}
		return nil
	})
}

// GivesUp cancels the call and waits for its end.
func (c *Call) GivesUp(headers ...phone.Field) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error { return c.Cancel(ctx, headers...) })
}

// HangsUp sends a BYE and waits for its answer.
func (c *Call) HangsUp(opts ...phone.Option) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error { return c.Bye(ctx, opts...) })
}

// IsOver waits for the end of the call, whatever its reason.
func (c *Call) IsOver() {
	c.Phone.s.t.Helper()
	c.do(c.Ended)
}

// IsHungUp waits for a BYE.
func (c *Call) IsHungUp() {
	c.Phone.s.t.Helper()
	c.IsOver()
	if why := c.Why(); why != nil {
		c.Phone.s.t.Fatalf("%s: call ended otherwise than by a BYE: %v", c.Phone.User, why)
	}
}

// IsGivenUp waits for the CANCEL of a call that came in.
func (c *Call) IsGivenUp() {
	c.Phone.s.t.Helper()
	c.IsOver()
	if code := phone.Status(c.Why()); code != sip.StatusRequestTerminated {
		c.Phone.s.t.Fatalf("%s: call ended otherwise than by a CANCEL: %v", c.Phone.User, c.Why())
	}
}

// Gets waits for the next request of that method within the call.
func (c *Call) Gets(method string) (req *sip.Request) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) (err error) {
		req, err = c.Next(ctx, method)
		return err
	})
	return req
}

// Does runs a step such as c.Hold; an error ends the test.
func (c *Call) Does(step func(context.Context) error) {
	c.Phone.s.t.Helper()
	c.do(step)
}

// Asks sends a request within the call and returns the code of its final.
func (c *Call) Asks(method string, opts ...phone.Option) (code int) {
	c.Phone.s.t.Helper()
	c.do(func(ctx context.Context) error {
		res, err := c.Request(ctx, method, opts...)
		if res == nil {
			return err
		}
		code = res.StatusCode
		return nil
	})
	return code
}

// Talk checks that both sides hear each other.
func Talk(a, b *Call) {
	a.Phone.s.t.Helper()
	a.Tone(440)
	b.Tone(880)
	b.do(func(ctx context.Context) error { return b.Hears(ctx, 440) })
	a.do(func(ctx context.Context) error { return a.Hears(ctx, 880) })
}

// Connect is a call from INVITE to ACK, with ringing and sound in both directions.
func (p *Phone) Connect(to *Phone, opts ...phone.Option) (out, in *Call) {
	p.s.t.Helper()
	out = p.Invites(to.User, opts...)
	in = to.IsCalled()
	in.Rings()
	in.Answers()
	out.IsAnswered()
	Talk(out, in)
	return out, in
}
