package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

func TestRestartInMidCall(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		for _, hanger := range []string{"caller", "callee"} {
			t.Run("protect "+protect+", hung up by the "+hanger, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					s.Set("alice", "protect_ip", protect)
					s.Set("bob", "protect_ip", protect)
					s.Alice.Registers()
					s.Bob.Registers()
					out, in := s.Alice.Connect(s.Bob)
					s.Restart()
					proxytest.Talk(out, in) // the media session goes on, or there is none
					out.Does(func(ctx context.Context) error { return out.Info(ctx, "1") })
					in.Gets("INFO")
					in.Does(func(ctx context.Context) error { return in.Info(ctx, "2") })
					out.Gets("INFO")
					out.Does(func(ctx context.Context) error { return out.Reinvite(ctx) })
					proxytest.Talk(out, in)
					first, second := out, in
					if hanger == "callee" {
						first, second = in, out
					}
					first.HangsUp()
					second.IsHungUp()
					if protect == "always" {
						s.Alice.KnowsNothingOf(s.Bob)
						s.Bob.KnowsNothingOf(s.Alice)
					}
				}, proxytest.Colleagues)
			})
		}
	}
}

func TestRegistrationsSurviveARestart(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		s.Restart()
		out, in := s.Alice.Connect(s.Bob)
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}

// few lets the media engine carry so many calls.
func few(sessions int) proxytest.Option {
	return func(c *configs.Config) { c.Media.MaxSessions = sessions }
}

// ports lets the media engine have so many ports.
func ports(n uint16) proxytest.Option {
	return func(c *configs.Config) { c.Media.Ports = configs.Ports{Min: 20000, Max: 20000 + n - 1} }
}

func TestExhaustedEngineFailsClosed(t *testing.T) {
	for name, limit := range map[string]proxytest.Option{"sessions": few(1), "ports": ports(4)} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
					s.Set(p.User, "protect_ip", "always")
					p.Registers()
				}
				out, in := s.Alice.Connect(s.Bob)
				s.Carol.Forget()
				s.Mallory.Invites("carol").IsRefused(503)
				s.Carol.HearsNothing()
				proxytest.Talk(out, in)
				out.HangsUp()
				in.IsHungUp()
				s.Wait(time.Minute) // ports rest
				again, then := s.Mallory.Connect(s.Carol)
				again.HangsUp()
				then.IsHungUp()
			}, proxytest.Colleagues, limit)
		})
	}
}

func TestExhaustedEngineTellsAStrangerNothing(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		s.Carol.Registers()
		out, in := connectStranger(s.Alice, s.Bob)
		s.Carol.Forget()
		s.Mallory.Invites("carol").IsRefused(480)
		s.Carol.HearsNothing()
		out.HangsUp()
		in.IsHungUp()
	}, few(1))
}

func TestDescriptionThatCannotBeMadeSafe(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		s.Bob.Registers()
		s.Bob.Forget()
		s.Alice.Invites("bob", phone.Body("application/sdp", "v=0\r\nrubbish\r\n")).IsRefused(488)
		s.Bob.HearsNothing()
	}, proxytest.Colleagues)
}

func TestProtectedCallWhoseMediaDies(t *testing.T) {
	mute := func(c *phone.Config) { c.Mute, c.RTCPEvery = true, time.Hour }
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		a, b := s.Phone("alice", mute), s.Phone("bob", mute)
		a.Registers()
		b.Registers()
		out, in := a.Connect(b)
		out.Tone(0)
		in.Tone(0)
		began := time.Now()
		out.IsHungUp()
		in.IsHungUp()
		if took := time.Since(began); took < 59*time.Second || took > 65*time.Second {
			t.Errorf("hung up after %v", took)
		}
		a.KnowsNothingOf(b)
		b.KnowsNothingOf(a)
	}, proxytest.Colleagues)
}

func TestLongRinging(t *testing.T) {
	for _, opts := range [][]phone.Option{nil, {phone.EarlyMedia()}} {
		proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
			mute := s.Phone("bob", func(c *phone.Config) { c.Mute, c.RTCPEvery = true, time.Hour })
			s.Set("alice", "protect_ip", "always")
			s.Alice.Registers()
			mute.Registers()
			out := s.Alice.Invites("bob")
			in := mute.IsCalled()
			in.Rings(opts...)
			s.Wait(2 * time.Minute)
			in.Answers()
			out.IsAnswered()
			proxytest.Talk(out, in)
			out.HangsUp()
			in.IsHungUp()
		}, proxytest.Colleagues)
	}
}

func TestPhonesOverOtherTransports(t *testing.T) {
	for _, a := range []string{"udp", "tcp", "tls"} {
		for _, b := range []string{"tcp", "tls"} {
			for _, protect := range []string{"never", "always"} {
				t.Run(a+" to "+b+", protect "+protect, func(t *testing.T) {
					proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
						s.Set("alice", "protect_ip", protect)
						alice := s.Phone("alice", func(c *phone.Config) { c.Transport = a })
						bob := s.Phone("bob", func(c *phone.Config) { c.Transport = b })
						alice.Registers()
						bob.Registers()
						out, in := alice.Connect(bob)
						in.Does(in.Hold)
						in.Does(in.Resume)
						in.HangsUp()
						out.IsHungUp()
						if protect == "always" {
							alice.KnowsNothingOf(bob)
							bob.KnowsNothingOf(alice)
						}
					}, proxytest.Colleagues)
				})
			}
		}
	}
}

func TestPhoneThatLosesItsConnection(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		bob := s.Phone("bob", func(c *phone.Config) { c.Transport = "tcp" })
		s.Alice.Registers()
		bob.Registers()
		out, in := s.Alice.Connect(bob)
		bob.Does(func(context.Context) error { return bob.Drop() })
		s.Wait(time.Second)
		bindings(s, 1)
		bob.Registers()
		out.Does(func(ctx context.Context) error { return out.Info(ctx, "1") })
		in.Gets("INFO")
		in.HangsUp()
		out.IsHungUp()
	}, proxytest.Colleagues)
}

// A phone without an instance ID that has lost its connection comes back from
// another port. Who asks for it meanwhile waits a little, and then hears that
// it is away for now; the call itself goes on.
func TestPhoneThatIsAwayForAMoment(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				bob := s.Phone("bob", func(c *phone.Config) { c.Transport, c.Instance = "tcp", "" })
				s.Alice.Registers()
				bob.Registers()
				out, in := s.Alice.Connect(bob)
				bob.Does(func(context.Context) error { return bob.Drop() })
				s.Wait(time.Second)
				if code := out.Asks("INFO"); code != 480 {
					t.Errorf("INFO to a phone that is away: %d", code)
				}
				back := make(chan error, 1)
				go func() {
					time.Sleep(2 * time.Second)
					_, err := bob.Register(context.Background())
					back <- err
				}()
				if code := out.Asks("INFO"); code != 200 {
					t.Errorf("INFO to a phone that comes back: %d", code)
				}
				if err := <-back; err != nil {
					t.Error(err)
				}
				in.HangsUp()
				out.IsHungUp()
			}, proxytest.Colleagues)
		})
	}
}

// A second INVITE with the identifiers of a call, as no phone sends it, does not
// hide the first one's media from the watch that frees what is dead.
func TestSecondCallWithTheSameIdentifiersLeavesNothing(t *testing.T) {
	mute := func(c *phone.Config) { c.Mute, c.RTCPEvery = true, time.Hour }
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", mute, func(c *phone.Config) { c.Domain = "evil.example" }) // nobody challenges her
		s.Bob = s.Phone("bob", mute)
		s.Bob.Registers()
		var invite string
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "eve") && strings.HasPrefix(string(b), "INVITE ") {
				invite = string(b)
			}
		})
		out := eve.Invites("bob")
		s.Bob.IsCalled().Answers()
		out.IsAnswered()
		s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("INVITE", 486) })
		again := strings.Replace(invite, "branch=z9hG4bK", "branch=z9hG4bKother", 1)
		again = strings.Replace(again, "CSeq: ", "CSeq: 4", 1)
		eve.Does(func(context.Context) error { return eve.Send([]byte(again)) })
		s.Wait(10 * time.Minute)
		if now := s.Proxy.Totals(); now.Sessions > 0 || now.Ports > 0 {
			t.Errorf("the server still holds %+v", now)
		}
	})
}
