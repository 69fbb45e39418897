package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

func TestRegisterRefreshUnregister(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		if got := s.Alice.Registers(phone.Expires(300)); len(got) != 1 || !strings.Contains(got[0], "expires=300") {
			t.Errorf("registered %q", got)
		}
		s.Wait(200 * time.Second)
		if got := s.Alice.Registers(phone.Expires(300)); len(got) != 1 || !strings.Contains(got[0], "expires=300") {
			t.Errorf("refreshed %q", got)
		}
		s.Wait(200 * time.Second) // longer than the first would have lasted
		bindings(s, 1)
		s.Alice.Unregisters()
		bindings(s, 0)
	})
}

// bindings fails the test if the server has other than n registrations.
func bindings(s *proxytest.Stage, n int) {
	s.T().Helper()
	if got := s.Proxy.Totals().Bindings; got != n {
		s.T().Errorf("%d bindings; want %d", got, n)
	}
}

func TestRegistrationExpires(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers(phone.Expires(60))
		s.Bob.Registers()
		s.Wait(75 * time.Second)
		bindings(s, 1)
		s.Bob.Invites("alice").IsRefused(480)
	}, proxytest.Colleagues)
}

func TestUnregisterAllDevices(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		desk, mobile := s.Phone("alice"), s.Phone("alice")
		desk.Registers()
		if got := mobile.Registers(); len(got) != 2 {
			t.Errorf("two phones are registered as %q", got)
		}
		s.Bob.Registers()
		bindings(s, 3)
		s.Alice.Does(s.Alice.UnregisterAll)
		bindings(s, 1)
	})
}

func TestTooBriefARegistration(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		_, err := s.Alice.Register(t.Context(), phone.Expires(10))
		if phone.Status(err) != 423 {
			t.Errorf("10 s were answered %v; want 423", err)
		}
		if e := statusOf(err); e == nil || e.Response.GetHeader("Min-Expires") == nil {
			t.Error("the 423 has no Min-Expires")
		}
		bindings(s, 0)
	})
}

func TestWrongPasswordAndUnknownUserAreAlike(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		thief := s.Phone("alice", func(c *phone.Config) { c.Password = "guess" })
		ghost := s.Phone("nobody", func(c *phone.Config) { c.Password = "guess" })
		for _, p := range []*proxytest.Phone{thief, ghost} {
			if _, err := p.Register(t.Context()); phone.Status(err) != 401 {
				t.Errorf("%s with a wrong password: %v; want 401", p.User, err)
			}
		}
		if a, b := masked(thief), masked(ghost); a != b {
			t.Errorf("the answers differ:\n%s\n%s", a, b)
		}
		bindings(s, 0)
	})
}

func TestNobodyRegistersForAnother(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Registers()
		code := s.Mallory.Asks("REGISTER", proxytest.URI("bob"))
		if code != 401 && code != 403 {
			t.Errorf("mallory registered for bob: %d", code)
		}
		bindings(s, 1)
	})
}

func TestStaleNonce(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Wait(10 * time.Minute)
		s.Alice.Forget()
		s.Alice.Registers()
		got := s.Alice.Received(phone.SIP)
		if len(got) != 2 || !strings.Contains(string(got[0].Data), "stale=true") {
			t.Errorf("an old nonce was not called stale, but:\n%s", got[0].Data)
		}
	})
}

func TestMD5OnlyPhoneRegisters(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Phone("alice", func(c *phone.Config) { c.Digest = algorithm }).Registers()
			bindings(s, 1)
		})
	}
}

// What was sent before a restart of the server cannot be sent again after it: which
// counts of a nonce were used is known to the run alone that made the nonce.
func TestReplayAfterARestart(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		var sent []byte
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "alice") && strings.Contains(string(b), "\r\nProxy-Authorization:") {
				sent = b
			}
		})
		s.Alice.Registers()
		s.Bob.Registers()
		s.Alice.Does(func(ctx context.Context) error { return s.Alice.Message(ctx, proxytest.URI("bob"), "pay 10") })
		s.Bob.Gets("MESSAGE")
		s.Restart()
		s.Bob.Forget()
		if err := s.Alice.Send(sent); err != nil {
			t.Fatal(err)
		}
		s.Wait(time.Second)
		if s.Bob.Heeds("MESSAGE") {
			t.Error("a message that somebody has sent again is delivered")
		}
		s.Alice.Does(func(ctx context.Context) error { return s.Alice.Message(ctx, proxytest.URI("bob"), "and 5") })
		s.Bob.Gets("MESSAGE")
	}, proxytest.Colleagues)
}

func TestReplayedRequestIsChallenged(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		var sent []byte
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "alice") && strings.Contains(string(b), "\r\nAuthorization:") {
				sent = b
			}
		})
		s.Alice.Registers()
		s.Alice.Does(func(context.Context) error { return s.Alice.Unregister(t.Context()) })
		s.Wait(40 * time.Second) // the transaction has ended
		if err := s.Mallory.Send(sent); err != nil {
			t.Fatal(err)
		}
		s.Wait(time.Second)
		if !s.Mallory.Heeds("SIP/2.0 401") {
			t.Errorf("alice's request, sent again by mallory, was answered %q", s.Mallory.Heard())
		}
		bindings(s, 0)
	})
}
