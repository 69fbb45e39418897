package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// around says that moments are one, and between lo and hi, with 20 ms for the
// network and the resolution of timers.
func around(t *testing.T, what string, at []time.Duration, lo, hi time.Duration) {
	t.Helper()
	if len(at) != 1 || at[0] < lo || at[0] > hi+20*time.Millisecond {
		t.Errorf("%s came at %v; want once between %v and %v", what, at, lo, hi)
	}
}

func TestStrangerHearsTheSameInEveryState(t *testing.T) {
	stranger(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Registers()
		out := s.Mallory.Invites("bob")
		out.HearsProgress(100)
		began := time.Now()
		out.IsRefused(480)
		around(t, "100", s.Mallory.HeardAt(100, began.Add(-20*time.Millisecond)), 0, 20*time.Millisecond)
		around(t, "180", s.Mallory.HeardAt(180, began), 800*time.Millisecond, 2500*time.Millisecond)
		around(t, "480", s.Mallory.HeardAt(480, began), 26500*time.Millisecond, 29500*time.Millisecond)
	})
}

func TestStrangerWithoutAnAccountHearsTheSame(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		s.Mallory = eve
		eve.Invites("bob").IsRefused(480)
	})
}

func TestStrangerWithReliableProvisionals(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Mallory.Invites("bob", phone.Header("Require", "100rel"))
		res := out.HearsProgress(180)
		if res.GetHeader("RSeq") == nil {
			s.T().Error("the 180 is not reliable")
		}
		s.Wait(2 * time.Second)
		if code := out.Asks("UPDATE"); code != 500 {
			s.T().Errorf("UPDATE was answered %d", code)
		}
		for _, method := range []string{"INFO", "OPTIONS"} {
			if code := out.Asks(method); code != 200 {
				s.T().Errorf("%s was answered %d", method, code)
			}
		}
		out.IsRefused(480)
	})
}

func TestStrangerWithALateOffer(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Mallory.Invites("bob", phone.LateOffer()).IsRefused(480)
	})
}

func TestStrangerSendsTheInviteAgain(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		var invite []byte
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "mallory") && strings.HasPrefix(string(b), "INVITE ") {
				invite = b
			}
		})
		out := s.Mallory.Invites("bob")
		for _, code := range []int{100, 180} {
			out.HearsProgress(code)
			s.Mallory.Does(func(context.Context) error { return s.Mallory.Send(invite) })
		}
		out.IsRefused(480)
	})
}

func TestStrangersOtherRequestsInEveryState(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("OPTIONS", 486) })
		for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "INFO", "REFER", "PUBLISH"} {
			s.Mallory.Asks(method, "bob", phone.Header("Event", "presence"))
		}
		s.Bob.HearsNothing()
	})
}

func TestStrangerGivesUp(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			stranger(t, func(t *testing.T, s *proxytest.Stage) {
				out := s.Mallory.Invites("bob")
				s.Wait(after)
				began := time.Now()
				out.GivesUp()
				around(t, "487", s.Mallory.HeardAt(487, began), 5*time.Millisecond, 20*time.Millisecond)
				if s.Bob.Heeds("BYE") {
					t.Error("bob got a BYE")
				}
			})
		})
	}
}

func TestOnlyTheAnswerCrossesTheFacade(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings(phone.EarlyMedia())
		s.Wait(10 * time.Second)
		in.Answers()
		out.IsAnswered()
		for _, l := range s.Mallory.Heard() {
			if strings.HasPrefix(l, "SIP/2.0 183") {
				t.Error("bob's 183 reached a stranger")
			}
		}
		proxytest.Talk(out, in)
		for _, c := range []*proxytest.Call{out, in} {
			c.Does(c.Hold)
			c.Does(c.Resume)
		}
		in.HangsUp()
		out.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

func TestAnswerAfterTheFacadeGaveUp(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		out.IsRefused(480)
		in.IsGivenUp()
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

// An answer that cannot be made safe leaves the facade at its work: the
// stranger hears it to its end, as if nobody had answered.
func TestFacadeSurvivesAnUnsafeAnswer(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "off")
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		if err := in.Answer(t.Context(), phone.Body("application/sdp", "no description")); err != nil {
			t.Logf("bob's answer: %v", err)
		}
		out.IsRefused(480)
		in.IsOver()
	})
}

// A device is called at a moment of chance: whatever a stranger asks right behind
// the INVITE is answered before there is work that would delay it.
func TestDevicesBehindTheFacadeAreCalledLater(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		s.Mallory.Registers() // no challenge
		for range 10 {
			out := s.Mallory.Invites("bob")
			began := time.Now()
			in := s.Bob.IsCalled()
			if after := time.Since(began); after < 50*time.Millisecond || after > 325*time.Millisecond {
				t.Errorf("bob was called after %v", after)
			}
			out.GivesUp()
			in.IsGivenUp()
			s.Wait(time.Second)
		}
	})
}
