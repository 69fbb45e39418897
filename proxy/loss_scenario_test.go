package proxy_test

import (
	"context"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// ladder plays a script of alice and bob with each datagram lost in turn, in
// calls that are protected and in those that are not.
func ladder(t *testing.T, script func(t *testing.T, s *proxytest.Stage)) {
	t.Helper()
	for _, protect := range []string{"never", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			proxytest.Ladder(t, func(_ *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				s.Set("bob", "protect_ip", protect)
				s.Alice.Registers()
				s.Bob.Registers()
			}, func(t *testing.T, s *proxytest.Stage) {
				script(t, s)
				s.Wait(time.Second)
				if protect == "always" {
					s.Alice.KnowsNothingOf(s.Bob)
					s.Bob.KnowsNothingOf(s.Alice)
				}
			}, proxytest.Colleagues)
		})
	}
}

func TestLossInRegistration(t *testing.T) {
	proxytest.Ladder(t, func(*testing.T, *proxytest.Stage) {}, func(_ *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		bindings(s, 1)
		s.Alice.Registers()
		s.Alice.Unregisters()
		bindings(s, 0)
	})
}

func TestLossInCall(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out, in := s.Alice.Connect(s.Bob)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestLossInCallHungUpByTheCallee(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out, in := s.Alice.Connect(s.Bob, phone.LateOffer())
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestLossInReliableProvisional(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob", phone.Header("Require", "100rel"))
		in := s.Bob.IsCalled()
		in.Rings(phone.Reliable(), phone.EarlyMedia())
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestLossInHold(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out, in := s.Alice.Connect(s.Bob)
		in.Does(in.Hold)
		in.Does(in.Resume)
		out.Does(func(ctx context.Context) error { return out.Update(ctx, phone.EarlyMedia()) })
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestLossInRefusedCall(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		in.Refuses(486)
		out.IsRefused(486)
	})
}

func TestLossInCancelledCall(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		out.HearsProgress(100)
		out.GivesUp()
		in.IsGivenUp()
	})
}

func TestLossInTransfer(t *testing.T) {
	ladder(t, func(_ *testing.T, s *proxytest.Stage) {
		out, in := s.Alice.Connect(s.Bob)
		in.Does(func(ctx context.Context) error { return in.Refer(ctx, proxytest.URI("carol")) })
		out.Gets("REFER")
		out.Does(func(ctx context.Context) error { return out.Notify(ctx, 200) })
		in.Does(func(ctx context.Context) error {
			_, err := in.Transferred(ctx)
			return err
		})
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestLossBeforeTheFacade(t *testing.T) {
	registers := func(_ *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		s.Bob.Registers()
		s.Mallory.Registers()
	}
	proxytest.Ladder(t, registers, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Minute)
		if s.Bob.Heeds("INVITE") {
			t.Error("a silenced call rang")
		}
		if got := notices(s, s.Bob); len(got) == 0 {
			t.Error("bob was told nothing")
		}
	})
}

func TestLossInAStrangersCall(t *testing.T) {
	registers := func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		s.Mallory.Registers()
	}
	proxytest.Ladder(t, registers, func(_ *testing.T, s *proxytest.Stage) {
		out, in := connectStranger(s.Mallory, s.Bob)
		out.HangsUp()
		in.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

func TestLossWhileForking(t *testing.T) {
	registers := func(_ *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		s.Carol = s.Phone("bob")
		s.Carol.Registers()
	}
	proxytest.Ladder(t, registers, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Alice.Invites("bob")
		one, two := s.Bob.IsCalled(), s.Carol.IsCalled()
		one.Rings()
		two.Answers()
		out.IsAnswered()
		one.IsGivenUp()
		proxytest.Talk(out, two)
		two.HangsUp()
		out.IsHungUp()
	}, proxytest.Colleagues, proxytest.Protect("always"))
}
