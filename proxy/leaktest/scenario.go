package leaktest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sotto/proxy/phone"
)

// A scenario is something that a does to b.
type scenario struct {
	name string
	play func(ctx context.Context, a, b *player) error
}

// scenarios are the main ones of the harness in proxy/*_scenario_test.go, as
// far as they make sense over a server that nobody knows. The first must succeed.
var scenarios = []scenario{
	{"call", answered(nil, nil, hangUp)},
	{"the callee hangs up", answered(nil, nil, func(ctx context.Context, _, in *phone.Call) error {
		return in.Bye(ctx)
	})},
	{"early media", answered(nil, []phone.Option{phone.EarlyMedia()}, hangUp)},
	{"reliable provisional", answered(nil, []phone.Option{phone.Reliable()}, hangUp)},
	{"late offer", answered([]phone.Option{phone.LateOffer()}, nil, hangUp)},
	{"busy", refused(func(*player) (int, []phone.Option) { return 486, nil })},
	{"redirected to an own address", refused(func(b *player) (int, []phone.Option) {
		return 302, []phone.Option{phone.Header("Contact", "<sip:x@"+b.address+">")}
	})},
	{"given up", givenUp},
	{"hold and resume", within(func(ctx context.Context, c *phone.Call) error {
		return errors.Join(c.Hold(ctx), c.Resume(ctx))
	})},
	{"ICE restart", offering("a=ice-ufrag:HOST", "a=candidate:HOST 1 UDP 1 HOST 9 typ srflx raddr HOST rport 9",
		"a=remote-candidates:1 HOST 9", "a=ssrc:1 cname:x@HOST", "a=msid:HOST x")},
	{"names in the description", offering("i=HOST", "a=fmtp:0 x=HOST", "a=label:HOST", "a=rtcp:9 IN IP4 HOST")},
	{"UPDATE", within(func(ctx context.Context, c *phone.Call) error { return c.Update(ctx) })},
	{"INFO with a digit", within(func(ctx context.Context, c *phone.Call) error { return c.Info(ctx, "5") })},
	{"MESSAGE within a call", asking("MESSAGE", phone.Body("message/cpim", "From: <sip:x@HOST>\r\n\r\nhello"))},
	{"REFER", refers},
	{"NOTIFY within a call", asking("NOTIFY", phone.Header("Event", "dialog"),
		phone.Header("Subscription-State", "active;expires=60"), phone.Body("application/dialog-info+xml", "<x/>"))},
	{"STUN and RTCP APP as media", stray},
	{"MESSAGE without a call", alone("MESSAGE", phone.Body("text/plain", "hello"))},
	{"OPTIONS without a call", alone("OPTIONS")},
	{"SUBSCRIBE without a call", alone("SUBSCRIBE", phone.Header("Event", "dialog"))},
}

// Scenarios is how many there are.
func Scenarios() int { return len(scenarios) }

func hangUp(ctx context.Context, out, _ *phone.Call) error { return out.Bye(ctx) }

// talk has a call b. Both send audio and reports for a moment.
func talk(ctx context.Context, a, b *player, invite, ring []phone.Option) (out, in *phone.Call, err error) {
	if out, err = a.Invite(b.uri, invite...); err != nil {
		return nil, nil, err
	}
	if in, err = arriving(ctx, b, out); err != nil {
		return nil, nil, err
	}
	for _, step := range []func() error{
		func() error { return in.Ring(ctx, ring...) },
		func() error { return in.Answer(ctx) },
		func() error { return out.Answered(ctx) },
	} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	wait(ctx, talkTime)
	return out, in, nil
}

// arriving waits for a call to arrive, or to be refused on its way.
func arriving(ctx context.Context, b *player, out *phone.Call) (*phone.Call, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	refusal := make(chan error, 1)
	go func() {
		refusal <- out.Ended(ctx)
		cancel()
	}()
	in, err := b.Incoming(ctx)
	if err != nil {
		if <-refusal == nil && out.Why() != nil {
			return nil, out.Why()
		}
	}
	return in, err
}

// answered is a call that is answered, and ends as told.
func answered(invite, ring []phone.Option, end func(ctx context.Context, out, in *phone.Call) error,
) func(context.Context, *player, *player) error {
	return func(ctx context.Context, a, b *player) error {
		out, in, err := talk(ctx, a, b, invite, ring)
		if err != nil {
			return err
		}
		return end(ctx, out, in)
	}
}

// within is something that is done in a call: by a, and again by b.
func within(do func(context.Context, *phone.Call) error) func(context.Context, *player, *player) error {
	return func(ctx context.Context, a, b *player) error {
		out, in, err := talk(ctx, a, b, nil, nil)
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, out), do(ctx, in), out.Bye(ctx))
	}
}

// refused is a call that b refuses, which is no failure.
func refused(how func(b *player) (int, []phone.Option)) func(context.Context, *player, *player) error {
	return func(ctx context.Context, a, b *player) error {
		out, err := a.Invite(b.uri)
		if err != nil {
			return err
		}
		in, err := arriving(ctx, b, out)
		if err != nil {
			return err
		}
		code, opts := how(b)
		if err := errors.Join(in.Ring(ctx), in.Reject(code, opts...)); err != nil {
			return err
		}
		if err := out.Answered(ctx); phone.Status(err) == 0 {
			return fmt.Errorf("refused with %d: %w", code, err)
		}
		return nil
	}
}

// givenUp is a call that a gives up while it rings.
func givenUp(ctx context.Context, a, b *player) error {
	out, err := a.Invite(b.uri)
	if err != nil {
		return err
	}
	in, err := arriving(ctx, b, out)
	if err != nil {
		return err
	}
	if err := in.Ring(ctx); err != nil {
		return err
	}
	if _, err := out.Progress(ctx, 0); err != nil {
		return err
	}
	reason := phone.Field{Name: "Reason", Value: `SIP;cause=487;text="` + a.address + `"`}
	return errors.Join(out.Cancel(ctx, reason), in.Ended(ctx))
}

// offering is a re-INVITE with attributes in which HOST stands for what the
// phone says of itself. The other may refuse it.
func offering(attributes ...string) func(context.Context, *player, *player) error {
	return func(ctx context.Context, a, b *player) error {
		out, in, err := talk(ctx, a, b, nil, nil)
		if err != nil {
			return err
		}
		for _, side := range []struct {
			who  *player
			call *phone.Call
		}{{a, out}, {b, in}} {
			text := description(side.call.Local().Addr().Is6(), side.call.Local().Port(), attributes)
			local := side.call.Local().Addr().String()
			text = strings.NewReplacer("LOCAL", local, "HOST", side.who.address).Replace(text)
			if err := side.call.Reinvite(ctx, phone.Body("application/sdp", text)); err != nil && phone.Status(err) == 0 {
				return err
			}
		}
		return out.Bye(ctx)
	}
}

// description is one in which LOCAL is to be filled in.
func description(six bool, port uint16, attributes []string) string {
	family := "IP4"
	if six {
		family = "IP6"
	}
	lines := append([]string{
		"v=0", "o=HOST 77 77 IN FAM LOCAL", "s=HOST", "i=HOST", "u=http://HOST/", "e=x@HOST", "c=IN FAM LOCAL", "t=0 0",
		"a=tool:HOST", fmt.Sprintf("m=audio %d RTP/AVP 0", port), "a=rtpmap:0 PCMU/8000",
	}, attributes...)
	return strings.ReplaceAll(strings.Join(lines, "\r\n")+"\r\n", "FAM", family)
}

// asking is a request within a call, whatever is answered.
func asking(method string, opts ...phone.Option) func(context.Context, *player, *player) error {
	return within(func(ctx context.Context, c *phone.Call) error {
		return whatever(c.Request(ctx, method, opts...))
	})
}

// alone is a request without a call, whatever is answered.
func alone(method string, opts ...phone.Option) func(context.Context, *player, *player) error {
	return func(ctx context.Context, a, b *player) error {
		return whatever(a.Request(ctx, method, b.uri, opts...))
	}
}

// whatever takes any final response for one.
func whatever[R any](_ R, err error) error {
	if phone.Status(err) != 0 {
		return nil
	}
	return err
}

// refers asks the other to call a third, whom nobody knows.
func refers(ctx context.Context, a, b *player) error {
	out, in, err := talk(ctx, a, b, nil, nil)
	if err != nil {
		return err
	}
	third := "<" + strings.Replace(b.uri, "sip:", "sip:nobody-", 1) + ">"
	for _, c := range []*phone.Call{out, in} {
		err = errors.Join(err, whatever(c.Request(ctx, "REFER", phone.Header("Refer-To", third))))
	}
	return errors.Join(err, out.Bye(ctx))
}

// stray sends what is no audio to where the other wants audio.
func stray(ctx context.Context, a, b *player) error {
	out, in, err := talk(ctx, a, b, nil, nil)
	if err != nil {
		return err
	}
	for _, side := range []struct {
		who  *player
		call *phone.Call
	}{{a, out}, {b, in}} {
		for _, packet := range strays(side.who.address) {
			err = errors.Join(err, side.call.Send(packet, side.call.Remote()))
		}
	}
	wait(ctx, afterward)
	return errors.Join(err, out.Bye(ctx))
}

// strays are an RTCP APP packet (RFC 3550 §6.7) and a STUN Binding request
// (RFC 8489) with a text in them.
func strays(text string) [][]byte {
	text += strings.Repeat("\x00", (4-len(text)%4)%4)
	app := []byte{0x80, 204, 0, byte(2 + len(text)/4), 0, 0, 0, 1, 'M', 'A', 'R', 'K'}
	stun := []byte{
		0, 1, 0, byte(4 + len(text)), 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2,
		0x80, 0x22, 0, byte(len(text)), // SOFTWARE
	}
	return [][]byte{append(app, text...), append(stun, text...)}
}
