package proxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/proxy/txn"
)

// forked is a stage on which bob has two phones; it is played with and
// without protection.
func forked(t *testing.T, script func(t *testing.T, s *proxytest.Stage, desk *proxytest.Phone)) {
	t.Helper()
	for _, protect := range []string{"never", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				s.Set("bob", "protect_ip", protect)
				desk := s.Phone("bob")
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, desk} {
					p.Registers()
				}
				script(t, s, desk)
				if protect == "always" {
					for _, p := range []*proxytest.Phone{s.Bob, desk} {
						s.Alice.KnowsNothingOf(p)
						p.KnowsNothingOf(s.Alice)
					}
				}
			}, proxytest.Colleagues)
		})
	}
}

func TestForkFirstToAnswerGetsTheCall(t *testing.T) {
	forked(t, func(t *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		out := s.Alice.Invites("bob")
		one, two := s.Bob.IsCalled(), desk.IsCalled()
		one.Rings()
		two.Rings()
		out.HearsProgress(180)
		two.Answers()
		out.IsAnswered()
		one.IsGivenUp()
		cancelled := ""
		for _, k := range s.Bob.Received(phone.SIP) {
			if strings.HasPrefix(string(k.Data), "CANCEL ") {
				cancelled = string(k.Data)
			}
		}
		if !strings.Contains(cancelled, "Reason: SIP;cause=200") {
			t.Errorf("bob's other phone shows a missed call:\n%s", cancelled)
		}
		proxytest.Talk(out, two)
		out.HangsUp()
		two.IsHungUp()
	})
}

func TestForkBothAnswerAtOnce(t *testing.T) {
	forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		out := s.Alice.Invites("bob")
		one, two := s.Bob.IsCalled(), desk.IsCalled()
		both := make(chan *proxytest.Call, 2)
		for _, c := range []*proxytest.Call{one, two} {
			go func() {
				_ = c.Answer(s.T().Context()) // one of them is hung up
				both <- c
			}()
		}
		out.IsAnswered()
		<-both
		<-both
		winner, loser := one, two
		s.Wait(time.Second)
		if s.Bob.Heeds("BYE") {
			winner, loser = two, one
		}
		loser.IsOver()
		proxytest.Talk(out, winner)
		out.HangsUp()
		winner.IsHungUp()
	})
}

func TestForkBestResponse(t *testing.T) {
	for _, c := range []struct{ one, two, best int }{
		{486, 480, 486},
		{404, 486, 404},
		{486, 603, 603},
		{603, 180, 603},
		{500, 404, 404},
		{503, 486, 486},
		{503, 503, 500},
		{487, 486, 486},
		{415, 486, 415},
		{302, 486, 486},
	} {
		t.Run(fmt.Sprint(c.one, c.two), func(t *testing.T) {
			forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
				out := s.Alice.Invites("bob")
				one, two := s.Bob.IsCalled(), desk.IsCalled()
				one.Refuses(c.one)
				if c.two < 200 {
					two.Rings() // and goes on ringing: a 6xx ends it
					two.IsGivenUp()
				} else {
					two.Refuses(c.two)
				}
				out.IsRefused(c.best)
			})
		})
	}
}

func TestForkOneDeviceIsDead(t *testing.T) {
	forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		desk.Close()
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		s.Wait(40 * time.Second) // timer B of the dead one
		in.Refuses(486)
		out.IsRefused(486)
	})
}

func TestForkGivenUpAtEachStage(t *testing.T) {
	for name, stage := range map[string]func(s *proxytest.Stage, desk *proxytest.Phone, out *proxytest.Call){
		"before a device has answered": func(*proxytest.Stage, *proxytest.Phone, *proxytest.Call) {},
		"trying": func(s *proxytest.Stage, desk *proxytest.Phone, _ *proxytest.Call) {
			s.Bob.IsCalled()
			desk.IsCalled()
		},
		"one rings": func(s *proxytest.Stage, desk *proxytest.Phone, out *proxytest.Call) {
			s.Bob.IsCalled().Rings()
			desk.IsCalled()
			out.HearsProgress(180)
		},
		"one has refused": func(s *proxytest.Stage, desk *proxytest.Phone, out *proxytest.Call) {
			s.Bob.IsCalled().Refuses(486)
			desk.IsCalled().Rings()
			out.HearsProgress(180)
		},
	} {
		t.Run(name, func(t *testing.T) {
			forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
				out := s.Alice.Invites("bob")
				out.HearsProgress(100)
				stage(s, desk, out)
				out.GivesUp()
				s.Wait(time.Second)
			})
		})
	}
}

func TestDeviceThatIgnoresCancel(t *testing.T) {
	forked(t, func(t *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		out := s.Alice.Invites("bob")
		s.Bob.IsCalled().Rings()
		desk.IsCalled().Rings()
		out.HearsProgress(180)
		desk.Close() // never says anything again
		if err := out.Cancel(t.Context()); err != nil && !errors.Is(err, txn.ErrTimeout) {
			t.Error(err)
		}
	})
}

func TestTimerCEndsACallThatNobodyAnswers(t *testing.T) {
	forked(t, func(t *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		began := time.Now()
		out := s.Alice.Invites("bob")
		one, two := s.Bob.IsCalled(), desk.IsCalled()
		one.Rings()
		two.Rings()
		one.IsGivenUp()
		two.IsGivenUp()
		out.IsRefused(487)
		if took := time.Since(began); took < 3*time.Minute || took > 200*time.Second {
			t.Errorf("timer C came after %v", took)
		}
	})
}

func TestTimerCStartsAnewWithEachProvisional(t *testing.T) {
	forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		desk.Unregisters()
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		for range 5 {
			in.Rings()
			s.Wait(time.Minute)
		}
		in.Answers()
		out.IsAnswered()
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestNoDeviceAnswersAtAll(t *testing.T) {
	forked(t, func(_ *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		desk.Close()
		s.Bob.Close()
		s.Alice.Invites("bob").IsRefused(408)
	})
}
