package proxy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

func TestPhonesBehindNAT(t *testing.T) {
	public := func(*phone.Config) {}
	for name, at := range map[string][2]func(*phone.Config){
		"the caller": {proxytest.NATted, public}, "the callee": {public, proxytest.NATted},
		"both": {proxytest.NATted, proxytest.NATted},
	} {
		for _, protect := range []string{"never", "always"} {
			t.Run(name+", protect "+protect, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					s.Set("alice", "protect_ip", protect)
					alice, bob := s.Phone("alice", at[0]), s.Phone("bob", at[1])
					alice.Registers()
					bob.Registers()
					out, in := alice.Connect(bob)
					in.Does(in.Hold)
					in.Does(in.Resume)
					proxytest.Talk(out, in)
					in.HangsUp()
					out.IsHungUp()
					if protect == "always" {
						bob.KnowsNothingOf(alice)
						alice.KnowsNothingOf(bob)
					}
				}, proxytest.Colleagues)
			})
		}
	}
}

// A party of an inner network is told the address that is for it, and all others
// the outer one, whoever calls and whoever offers.
func TestMediaAddressByNetwork(t *testing.T) {
	own := netip.MustParseAddr("203.0.113.5")
	inner := func(c *configs.Config) {
		c.Media.Addresses = []configs.MediaAddress{{
			Local: own, Advertised: own, For: netip.MustParsePrefix("198.51.100.11/32"), // bob's
		}}
	}
	for _, opts := range [][]phone.Option{nil, {phone.LateOffer()}} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Set("alice", "protect_ip", "always")
			s.Alice.Registers()
			s.Bob.Registers()
			told := map[*proxytest.Phone]netip.Addr{s.Alice: proxytest.Server.Addr(), s.Bob: own}
			for _, p := range [][2]*proxytest.Phone{{s.Alice, s.Bob}, {s.Bob, s.Alice}} {
				out, in := p[0].Connect(p[1], opts...)
				for i, c := range []*proxytest.Call{out, in} {
					if got, want := c.Remote().Addr(), told[p[i]]; got != want {
						t.Errorf("%s is told %s, want %s", p[i].User, got, want)
					}
				}
				out.HangsUp()
				in.IsHungUp()
			}
		}, proxytest.Colleagues, inner)
	}
}

func TestSoundOfOthersIsNotRelayed(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		out.Does(out.Hold) // sends nothing now; what comes is somebody else's
		s.Wait(time.Second)
		s.Alice.Forget()
		s.Bob.Forget()
		inject(t, s, out.Remote(), in.Remote())
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob} {
			if hears(p, injected) {
				t.Errorf("%s hears somebody who is not in the call", p.User)
			}
		}
		in.HangsUp()
		out.IsHungUp()
	}, proxytest.Colleagues)
}

// injected is the SSRC of what inject sends.
const injected = "evil"

// inject sends sound from a host that is in no call.
func inject(t *testing.T, s *proxytest.Stage, to ...netip.AddrPort) {
	t.Helper()
	at := netip.MustParseAddrPort("203.0.113.66:4000")
	evil, err := s.Net.Host(at.Addr()).ListenPacket(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = evil.Close() })                        // it has no reader
	raw := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 1}, injected...) // RFC 3550 §5.1, PCMU
	raw = append(raw, make([]byte, 160)...)
	for range 10 {
		for _, relay := range to {
			if _, err := evil.WriteToUDPAddrPort(raw, relay); err != nil {
				t.Fatal(err)
			}
		}
		s.Wait(20 * time.Millisecond)
	}
}

// hears says that a phone received RTP of that SSRC.
func hears(p *proxytest.Phone, ssrc string) bool {
	return slices.ContainsFunc(p.Received(phone.RTP), func(k phone.Packet) bool {
		return len(k.Data) >= 12 && string(k.Data[8:12]) == ssrc
	})
}

func TestCallThroughANeighbour(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{
			Name: "trunk", Trusted: true, Target: "sip:198.51.100.14:5060", Addresses: prefixes("198.51.100.14"),
		}}
		c.DefaultRoute, c.KnownDomains = "trunk", []string{"gateway.example"}
	}
	route := phone.Header("Record-Route", "<sip:inner@198.51.100.14:5060;lr>")
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
		out := s.Alice.Invites("+15551234")
		in := gateway.IsCalled()
		in.Answers(route)
		out.IsAnswered()
		proxytest.Talk(out, in)
		hungUpByWayOf(t, out, in)
	}, trunk)
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
		out, in := gateway.Connect(s.Alice, route)
		hungUpByWayOf(t, in, out)
	}, trunk)
}

// hungUpByWayOf hangs up; the BYE must take the neighbour's route.
func hungUpByWayOf(t *testing.T, first, gateway *proxytest.Call) {
	t.Helper()
	first.HangsUp()
	got := gateway.Gets("BYE").GetHeader("Route")
	if got == nil || got.Value() != "<sip:inner@198.51.100.14:5060;lr>" {
		t.Errorf("the BYE came by %v", got)
	}
}

// What was handed out in a call that is over opens for a day. It must not make
// a media session again.
func TestOldIdentifiersMakeNoSession(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		var bye string
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "alice") && strings.HasPrefix(string(b), "BYE ") {
				bye = string(b)
			}
		})
		out.HangsUp()
		in.IsHungUp()
		s.Wait(time.Minute) // the transactions have ended
		offer := "v=0\r\no=a 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\n" +
			"m=audio 4000 RTP/AVP 0\r\n"
		for i, method := range []string{"INVITE", "UPDATE"} {
			text := strings.NewReplacer("BYE", method, "z9hG4bK", fmt.Sprint("z9hG4bKagain", i),
				"Content-Length: 0\r\n", fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(offer)),
			).Replace(bye) + offer
			if err := s.Alice.Send([]byte(text)); err != nil {
				t.Fatal(err)
			}
			s.Wait(5 * time.Second)
			if now := s.Proxy.Totals(); now.Sessions+now.Ports > 0 {
				t.Errorf("%s within a call that is over makes the server hold %+v", method, now)
			}
			if !s.Alice.Heeds("SIP/2.0 481") {
				t.Errorf("%s within a call that is over was answered %q", method, s.Alice.Heard())
			}
			s.Alice.Forget()
		}
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// A description that only says what a phone can do, in a refusal or in OPTIONS,
// is neither offer nor answer: it makes no session and changes none.
func TestCapabilitiesAreNoOffer(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		can := phone.Body("application/sdp", "v=0\r\no=a 1 1 IN IP4 198.51.100.10\r\ns=-\r\n"+
			"c=IN IP4 198.51.100.10\r\nt=0 0\r\nm=audio 4998 RTP/AVP 0\r\n")
		out := s.Alice.Invites("bob")
		s.Bob.IsCalled().Refuses(488, can)
		out.IsRefused(488)
		if now := s.Proxy.Totals(); now.Sessions+now.Ports > 0 {
			t.Errorf("a call that was refused makes the server hold %+v", now)
		}
		out, in := s.Alice.Connect(s.Bob)
		before := s.Proxy.Totals()
		if code := out.Asks("OPTIONS", can); code != 200 {
			t.Errorf("OPTIONS is answered %d", code)
		}
		if req := in.Gets("OPTIONS"); len(req.Body()) > 0 {
			t.Errorf("OPTIONS crosses with\n%s", req.Body())
		}
		if now := s.Proxy.Totals(); now.Sessions != before.Sessions || now.Ports != before.Ports {
			t.Errorf("the server holds %+v, before %+v", now, before)
		}
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues, proxytest.Protect("always"))
}
