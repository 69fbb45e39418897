package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// beginning plays a script of a protected call from its first byte, with the
// leak search at the end.
func beginning(t *testing.T, script func(t *testing.T, s *proxytest.Stage)) {
	t.Helper()
	for _, p := range protections {
		t.Run(p.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", p.caller)
				s.Set("bob", "protect_ip", p.callee)
				s.Alice.Registers()
				s.Bob.Registers()
				script(t, s)
				s.Wait(time.Second)
				s.Alice.KnowsNothingOf(s.Bob)
				s.Bob.KnowsNothingOf(s.Alice)
			}, proxytest.Colleagues, proxytest.Protect(p.forced))
		})
	}
}

func TestProtectedLateOffer(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob", phone.LateOffer())
		in := s.Bob.IsCalled()
		in.Rings()
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestProtectedEarlyMedia(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings(phone.EarlyMedia())
		out.HearsProgress(183)
		in.Tone(660)
		out.Does(func(ctx context.Context) error { return out.Hears(ctx, 660) })
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedReliableProvisionals(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob", phone.Header("Require", "100rel"))
		in := s.Bob.IsCalled()
		in.Rings(phone.Reliable()) // returns with the PRACK
		in.Rings(phone.Reliable(), phone.EarlyMedia())
		if rack := in.Gets("PRACK").GetHeader("RAck"); rack == nil || !strings.HasPrefix(rack.Value(), "1 ") {
			t.Errorf("the first PRACK says %v", rack)
		}
		out.Does(func(ctx context.Context) error { return out.Update(ctx) })
		in.Gets("UPDATE")
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedLateOfferAnsweredInPrack(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob", phone.LateOffer())
		in := s.Bob.IsCalled()
		in.Rings(phone.Reliable(), phone.EarlyMedia())
		proxytest.Talk(out, in)
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedCallRefused(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		in.Refuses(486)
		out.IsRefused(486)
	})
}

func TestProtectedCallCancelled(t *testing.T) {
	beginning(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		out.HearsProgress(180)
		out.GivesUp()
		in.IsGivenUp()
	})
}
