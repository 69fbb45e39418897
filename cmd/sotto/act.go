package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sotto/proxy/phone"
)

// protected is the first call.
func (g *stage) protected(ctx context.Context) error {
	g.title("1  alice calls carol: protected")
	k, err := g.talk(ctx, g.alice, g.carol, g.carol.uri())
	if err != nil {
		return err
	}
	g.compare(g.alice, g.carol, k)
	g.why(g.carol)
	g.holds(nil, "carol's phone rang; then each heard the other's tone")
	g.hidden(g.alice, g.carol, k.calleeSaw, k.id)
	g.hidden(g.carol, g.alice, k.callerSaw)
	return nil
}

// token is the second call.
func (g *stage) token(ctx context.Context) error {
	g.title("2  carol calls bob with his privacy token: rings, unprotected")
	k, err := g.talk(ctx, g.carol, g.bob, dialable(g.d.bob, g.d.carols))
	if err != nil {
		return err
	}
	g.compare(g.carol, g.bob, k)
	g.why(g.bob)
	g.holds(nil, "bob's phone rang; then each heard the other's tone")
	g.holds(lacks(g.bob, g.d.carols.String()), "no token in what bob's phone received (%s)", k.calleeSaw.size())
	return nil
}

// stranger is the third call.
func (g *stage) stranger(ctx context.Context) error {
	g.title("3  mallory, a stranger, calls bob: silenced")
	_, err := g.silenced(ctx, g.bob.uri())
	return err
}

// stolen is the fourth call. What mallory hears he compares with what he
// hears of a user who does not exist.
func (g *stage) stolen(ctx context.Context) error {
	g.title("4  mallory calls bob with carol's token, stolen: silenced")
	heard, err := g.silenced(ctx, dialable(g.d.bob, g.d.carols))
	if err != nil {
		return err
	}
	_, nobody, err := g.tryToReach(ctx, "sip:nobody@"+tryDomain)
	if err == nil && !slices.Equal(heard, nobody) {
		err = fmt.Errorf("%q, not %q", nobody, heard)
	}
	g.holds(err, "nobody@%s, who does not exist, answers mallory just the same", tryDomain)
	return nil
}

// A talk is a call that was answered, as both saw it.
type talk struct {
	id                   string // the caller's Call-ID
	callerSaw, calleeSaw sight
}

// talk has one call another, both hear a tone, and the caller hangs up.
func (g *stage) talk(ctx context.Context, caller, callee *player, uri string) (talk, error) {
	caller.phone.Forget()
	callee.phone.Forget()
	out, err := caller.phone.Invite(uri)
	if err != nil {
		return talk{}, err
	}
	in, err := callee.phone.Incoming(ctx)
	if err != nil {
		return talk{}, err
	}
	for _, step := range []func() error{
		func() error { return in.Ring(ctx) },
		func() error { _, err := out.Progress(ctx, 0); return err },
		func() error { return in.Answer(ctx) },
		func() error { return out.Answered(ctx) },
		func() error { return converse(ctx, out, in) },
		func() error { return out.Bye(ctx) },
		func() error { return in.Ended(ctx) },
	} {
		if err := step(); err != nil {
			return talk{}, err
		}
	}
	return talk{
		id:        out.ID(),
		callerSaw: sight{caller.phone.Received(), out.CNAMEs()},
		calleeSaw: sight{callee.phone.Received(), in.CNAMEs()},
	}, nil
}

// converse has each hear the other.
func converse(ctx context.Context, out, in *phone.Call) error {
	out.Tone(callerTone)
	in.Tone(calleeTone)
	if err := errors.Join(in.Hears(ctx, callerTone), out.Hears(ctx, calleeTone)); err != nil {
		return err
	}
	return pause(ctx, talkTime)
}

// pause waits as people do.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// silenced has mallory try to reach bob, and checks that he does not. It
// returns what mallory heard.
func (g *stage) silenced(ctx context.Context, uri string) ([]string, error) {
	g.bob.phone.Forget()
	saw, heard, err := g.tryToReach(ctx, uri)
	if err != nil {
		return nil, err
	}
	notice, err := g.bob.phone.Next(ctx, "MESSAGE")
	if err != nil {
		return nil, err
	}
	got := sight{packets: g.bob.phone.Received()}
	other := sight{packets: slices.DeleteFunc(slices.Clone(got.packets), isNotice)}
	g.compare(g.mallory, g.bob, talk{callerSaw: saw, calleeSaw: other})
	g.why(g.bob)
	g.t.say("  bob's phone shows a notice, 2 to 20 s later (less in this demo):\n    %s\n", notice.Body())
	g.holds(nil, "mallory heard ringing, then gave up")
	g.holds(none(other), "bob's phone received nothing but the notice (%s)", got.size())
	g.hidden(g.mallory, g.bob, got)
	g.hidden(g.bob, g.mallory, saw)
	return heard, nil
}

// tryToReach has mallory call, hear ringing, and give up.
func (g *stage) tryToReach(ctx context.Context, uri string) (sight, []string, error) {
	g.mallory.phone.Forget()
	c, err := g.mallory.phone.Invite(uri)
	if err != nil {
		return sight{}, nil, err
	}
	if _, err := c.Progress(ctx, 180); err != nil {
		return sight{}, nil, err
	}
	if err := errors.Join(pause(ctx, talkTime), c.Cancel(ctx)); err != nil {
		return sight{}, nil, err
	}
	got := g.mallory.phone.Received()
	return sight{packets: got}, answers(got, c.ID()), nil
}

// isNotice tells notices of silenced calls from whatever else comes.
func isNotice(p phone.Packet) bool {
	m := readMessage(p)
	return strings.HasPrefix(m.start, "MESSAGE ") && uriIn(m.header("From")) == "sip:silenced-calls@"+tryDomain
}

// none checks that a phone received nothing.
func none(s sight) error {
	if len(s.packets) == 0 {
		return nil
	}
	first := s.packets[0]
	return fmt.Errorf("%s %q", first.Kind, readMessage(first).start)
}

// hidden checks that nothing of whom is in what a player's phone received.
func (g *stage) hidden(whom, from *player, saw sight, more ...string) {
	g.holds(lacks(from, append(whom.marks(), more...)...),
		"nothing of %s but the name in what %s's phone received (%s)", whom.name, from.name, saw.size())
}

// lacks searches what a player's phone received for texts, in every form in
// which they could be written.
func lacks(p *player, texts ...string) error {
	found := p.phone.Leaks(texts...)
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%s", found[0])
}
