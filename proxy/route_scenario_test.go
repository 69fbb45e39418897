package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

func TestRedirectToAnotherUserIsFollowed(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		t.Run(protect, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
					s.Set(p.User, "protect_ip", protect)
					p.Registers()
				}
				out := s.Alice.Invites("bob")
				s.Bob.IsCalled().Refuses(302, phone.Contact(proxytest.URI("carol")))
				in := s.Carol.IsCalled()
				in.Rings()
				in.Answers()
				out.IsAnswered()
				proxytest.Talk(out, in)
				if s.Alice.Heeds("SIP/2.0 302") {
					t.Error("the redirection reached the caller")
				}
				out.HangsUp()
				in.IsHungUp()
				if protect == "always" {
					s.Alice.KnowsNothingOf(s.Carol)
					s.Carol.KnowsNothingOf(s.Alice)
				}
			}, proxytest.Colleagues)
		})
	}
}

func TestRedirectOutOfTheDomainIsNotFollowed(t *testing.T) {
	for _, to := range []string{"sip:trap@198.51.100.66", "sip:trap@evil.example", "mailto:bob@evil.example"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Alice.Registers()
			s.Bob.Registers()
			out := s.Alice.Invites("bob")
			s.Bob.IsCalled().Refuses(302, phone.Contact(to))
			out.IsRefused(480)
			for _, k := range s.Alice.Received(phone.SIP) {
				if strings.Contains(string(k.Data), "trap") || strings.Contains(string(k.Data), "evil") {
					t.Errorf("the caller learns where to:\n%s", k.Data)
				}
			}
		}, proxytest.Colleagues)
	}
}

func TestRedirectInACircle(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
			p.Registers()
		}
		out := s.Alice.Invites("bob")
		s.Bob.IsCalled().Refuses(302, phone.Contact(proxytest.URI("carol")))
		s.Carol.IsCalled().Refuses(302, phone.Contact(proxytest.URI("bob")))
		out.IsRefused(480)
	}, proxytest.Colleagues)
}

func TestRedirectToWhoSilencesTheCaller(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Set("carol", "silence_strangers", "on")
		for _, p := range []*proxytest.Phone{s.Mallory, s.Bob, s.Carol} {
			p.Registers()
		}
		tok := s.Bob.Token(proxytest.Grant{To: "mallory"})
		out := s.Mallory.Invites("bob", phone.Header("Privacy-Token", tok.String()))
		s.Bob.IsCalled().Refuses(302, phone.Contact(proxytest.URI("carol")))
		out.IsRefused(480)
		if s.Carol.Heeds("INVITE") {
			t.Error("a redirection let a stranger ring")
		}
	})
}

// raw is a request as bytes, from mallory's address.
func raw(method, uri string, lines ...string) []byte {
	head := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.13:5060;branch=z9hG4bKraw\r\n"+
		"From: <sip:mallory@sotto.example>;tag=1\r\nTo: <%s>\r\nCall-ID: raw\r\nCSeq: 1 %s\r\n", method, uri, uri, method)
	return []byte(head + strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

// answerTo sends raw bytes from mallory's phone and returns the answer.
func answerTo(t *testing.T, s *proxytest.Stage, b []byte) string {
	t.Helper()
	s.Mallory.Forget()
	if err := s.Mallory.Send(b); err != nil {
		t.Fatal(err)
	}
	s.Wait(100 * time.Millisecond)
	return strings.Join(s.Mallory.Heard(), "\n")
}

func TestMaxForwards(t *testing.T) {
	bob := proxytest.URI("bob")
	for _, c := range []struct{ method, uri, hops, want string }{
		{"MESSAGE", bob, "0", "SIP/2.0 483"},
		{"INVITE", bob, "0", "SIP/2.0 483"},
		{"OPTIONS", "sip:sotto.example", "0", "SIP/2.0 200"},
		{"MESSAGE", bob, "1", "SIP/2.0 407"},
	} {
		t.Run(c.method+c.hops, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Mallory.Registers() // so that an answer may be larger than what it answers
				got := answerTo(t, s, raw(c.method, c.uri, "Max-Forwards: "+c.hops))
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("answered %q; want %s", got, c.want)
				}
				s.Wait(time.Minute)
			})
		})
	}
}

func TestMaxForwardsCountsDown(t *testing.T) {
	forked(t, func(t *testing.T, s *proxytest.Stage, desk *proxytest.Phone) {
		desk.Unregisters()
		out, in := s.Alice.Connect(s.Bob)
		want := uint32(69)
		if strings.HasSuffix(t.Name(), "always") {
			want = 60
		}
		if got := in.Invite.MaxForwards().Val(); got != want {
			t.Errorf("Max-Forwards arrived as %d", got)
		}
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestLoopIsFound(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		// A binding that leads to the server itself: the request comes back.
		s.Bob.Registers(phone.Contact("sip:bob@" + proxytest.Server.String()))
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Refuses(486)
		out.Does(out.Ended)
		if n := s.Net.Sent(); n > 100 {
			t.Errorf("%d datagrams went round", n)
		}
	}, proxytest.Colleagues)
}

func TestNoOpenRelay(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Registers()
		for _, to := range []string{"sip:x@198.51.100.66", "sip:x@elsewhere.example", "tel:+15551234"} {
			if code := s.Mallory.Asks("MESSAGE", to); code != 403 && code != 404 {
				t.Errorf("%s was answered %d", to, code)
			}
		}
		route := raw("MESSAGE", proxytest.URI("bob"), "Max-Forwards: 70", "Route: <sip:198.51.100.66;lr>")
		if got := answerTo(t, s, route); !strings.HasPrefix(got, "SIP/2.0 403") {
			t.Errorf("a Route to elsewhere was answered %q", got)
		}
		s.Wait(time.Minute)
	})
}

func TestCallToATrunk(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{
			Name: "trunk", Trusted: true, Target: "sip:198.51.100.14:5060", Addresses: prefixes("198.51.100.14"),
		}}
		c.DefaultRoute = "trunk"
	}
	for _, protect := range []string{"never", "always"} {
		t.Run(protect, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				s.Alice.Registers()
				gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
				out := s.Alice.Invites("+15551234")
				in := gateway.IsCalled()
				in.Rings()
				in.Answers()
				out.IsAnswered()
				proxytest.Talk(out, in)
				in.HangsUp()
				out.IsHungUp()
				if protect == "always" {
					gateway.KnowsNothingOf(s.Alice)
				}
			}, trunk)
		})
	}
}

// A request that is too large for a datagram goes over TCP to where the
// transport is left to us, and over UDP if nobody there takes TCP.
func TestLargeRequests(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{
			Name: "trunk", Trusted: true, Target: "sip:198.51.100.14:5060", Addresses: prefixes("198.51.100.14"),
		}}
		c.DefaultRoute = "trunk"
	}
	for _, transport := range []string{"tcp", "udp"} {
		t.Run("the trunk takes "+transport, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", "never")
				s.Alice.Registers()
				gateway := s.Phone("gateway", func(c *phone.Config) {
					c.Domain, c.Transport = "gateway.example", transport
				})
				out := s.Alice.Invites("+15551234", phone.Header("X-Long", strings.Repeat("x", 1300)))
				in := gateway.IsCalled()
				in.Answers()
				out.IsAnswered()
				via := "Via: SIP/2.0/" + strings.ToUpper(transport) + " 192.0.2.1"
				for _, k := range gateway.Received(phone.SIP) {
					if text := string(k.Data); strings.HasPrefix(text, "INVITE ") && !strings.Contains(text, "\r\n"+via) {
						t.Errorf("the INVITE came over another transport:\n%s", text)
					}
				}
				in.HangsUp()
				out.IsHungUp()
			}, trunk)
		})
	}
}
