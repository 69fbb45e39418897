package proxy_test

import (
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

func TestBlockedBeatsToken(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{To: "carol"})
		s.Block("bob", "carol")
		silent(t, s, s.Carol, "bob", phone.Header("Privacy-Token", tok.String()))
		s.Wait(time.Minute)
		if s.Bob.Heeds("MESSAGE") {
			t.Error("bob was told of a caller whom he blocked")
		}
	})
}

func TestWhoWasCalledMayCallBack(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		silent(t, s, s.Mallory, "bob")
		out, in := connectStranger(s.Bob, s.Mallory)
		out.HangsUp()
		in.IsHungUp()
		s.Off(6 * 24 * time.Hour)
		s.Bob.Registers()
		s.Mallory.Registers()
		back, in := s.Mallory.Connect(s.Bob)
		back.HangsUp()
		in.IsHungUp()
		s.Carol.Registers()
		silent(t, s, s.Carol, "bob")
		s.Off(8 * 24 * time.Hour)
		s.Bob.Registers()
		s.Mallory.Registers()
		silent(t, s, s.Mallory, "bob")
	})
}

func TestAMissedCallMayBeCalledBack(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		missed := s.Bob.Invites("carol")
		s.Carol.IsCalled().Rings()
		missed.HearsProgress(180)
		missed.GivesUp()
		s.Wait(time.Minute)
		out, in := s.Carol.Connect(s.Bob)
		out.HangsUp()
		in.IsHungUp()
	})
}

// connectStranger is a call to somebody who lets strangers ring: the facade
// speaks until the 200.
func connectStranger(a, b *proxytest.Phone) (out, in *proxytest.Call) {
	out = a.Invites(b.User)
	in = b.IsCalled()
	in.Rings()
	in.Answers()
	out.IsAnswered()
	proxytest.Talk(out, in)
	return out, in
}

func TestAMessageLetsTheOtherCallBack(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Carol.Token(proxytest.Grant{To: "bob"})
		code := s.Bob.Asks("MESSAGE", "carol", phone.Body("text/plain", "call me"),
			phone.Header("Privacy-Token", tok.String()))
		if text := string(s.Carol.Gets("MESSAGE").Body()); code != 200 || text != "call me" {
			t.Fatalf("bob's message was answered %d, and arrived as %q", code, text)
		}
		s.Wait(time.Second)
		out, in := s.Carol.Connect(s.Bob)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestWindowLetsAnybodyRingForAWhile(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "window", "30m")
		out, in := connectStranger(s.Mallory, s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory) // she rings, but is a stranger still
		out.HangsUp()
		in.IsHungUp()
		s.Wait(31 * time.Minute)
		silent(t, s, s.Mallory, "bob")
	})
}

func TestColleaguesRing(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		s.Bob.Registers()
		s.Mallory.Registers()
		out, in := s.Mallory.Connect(s.Bob)
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}

func TestUnknownCallerFromOutside(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		out := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		silent(t, s, out, "bob")
		silent(t, s, out, "bob", phone.Header("P-Asserted-Identity", "<sip:carol@sotto.example>"))
	})
}

func TestTrustedTrunkAssertsWhoCalls(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.KnownDomains = []string{"pstn.example"}
		c.Peers = []configs.Peer{{Name: "trunk", Trusted: true, Addresses: prefixes("198.51.100.14")}}
	}
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		s.Bob.Registers()
		gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
		asserted := phone.Header("P-Asserted-Identity", "<sip:+15551234@pstn.example>")
		silent(t, s, gateway, "bob")
		out, in := gateway.Connect(s.Bob, asserted)
		if in.Invite.GetHeader("P-Asserted-Identity") != nil {
			t.Error("the asserted identity went to a phone")
		}
		out.HangsUp()
		in.IsHungUp()
	}, trunk)
}

// prefixes are the addresses of a peer.
func prefixes(addresses ...string) []configs.Prefix {
	var all []configs.Prefix
	for _, a := range addresses {
		var p configs.Prefix
		if err := p.UnmarshalText([]byte(a)); err != nil {
			panic(err)
		}
		all = append(all, p)
	}
	return all
}

func TestOtherMethodsOfStrangersReachNobody(t *testing.T) {
	want := map[string]int{
		"OPTIONS": 200, "SUBSCRIBE": 489, "MESSAGE": 202, "REFER": 405, "INFO": 481, "UPDATE": 481,
		"NOTIFY": 481, "PUBLISH": 489, "BYE": 481, "PRACK": 481,
	}
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		for method, code := range want {
			for _, to := range []string{"bob", "nobody"} {
				if got := s.Mallory.Asks(method, to, phone.Header("Event", "presence")); got != code {
					t.Errorf("%s to %s was answered %d; want %d", method, to, got, code)
				}
			}
		}
		s.Bob.HearsNothing()
	})
}

func TestSilencedCallIsExplainedToItsOwner(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		silent(t, s, s.Mallory, "bob")
		calls := s.Proxy.Calls()
		if len(calls) != 1 || calls[0].Verdict != "silence" || calls[0].State != "silenced" {
			t.Fatalf("calls: %+v", calls)
		}
		why, ok := s.Proxy.Explain(calls[0].Ref)
		if !ok || !strings.Contains(strings.Join(why, "\n"), "mallory@sotto.example to bob@sotto.example") {
			t.Errorf("explained as %q", why)
		}
	})
}

// What a caller dials and calls itself is shown in the operator's terminal,
// too: no character of it may mean anything there.
func TestCallsShowNothingThatACallerMadeUp(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		out := eve.Invites("sip:\u202egro.bob@"+proxytest.Domain, phone.From("<sip:\u202egro.knab%1B@evil.example>"))
		out.HearsProgress(180)
		out.GivesUp()
		for _, c := range s.Proxy.Calls() {
			why, _ := s.Proxy.Explain(c.Ref)
			shown := c.Caller + c.Callee + strings.Join(why, "")
			if strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' || r == '%' }) {
				t.Errorf("shown: %q", shown)
			}
		}
		if n := len(s.Proxy.Calls()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}
