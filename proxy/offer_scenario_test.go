package proxy_test

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/tokens"
)

// offering puts a token for the other party into a request.
func offering(text string) phone.Option { return phone.Header(tokens.OfferHeader, text) }

// offered is what messages offer, one entry a header.
func offered[M sip.Message](messages ...M) (all []string) {
	for _, m := range messages {
		for _, h := range m.GetHeaders(tokens.OfferHeader) {
			all = append(all, h.Value())
		}
	}
	return all
}

// onlyTheBeginning plays a call to its end, in which each side tries to offer
// a token later.
func onlyTheBeginning(t *testing.T, out, in *proxytest.Call, tok tokens.Token) {
	t.Helper()
	in.Answers(offering(tok.String()))
	out.IsAnswered()
	proxytest.Talk(out, in)
	out.Asks("INFO", phone.Body("application/dtmf", "5"), offering(tok.String()))
	if got := offered(in.Gets("INFO")); len(got) > 0 {
		t.Errorf("a request within the call offers %q", got)
	}
	if got := offered(out.Responses()...); len(got) > 0 {
		t.Errorf("a response offers %q", got)
	}
	out.HangsUp()
	in.IsHungUp()
}

// A user who calls or writes to somebody can give them a token: their phone
// gets it, and may call back with it.
func TestOfferIsCarriedToTheOtherPhone(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		for _, uniform := range []string{"uniform", "honest"} {
			t.Run(protect+", "+uniform, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) { givesToken(t, s, protect) },
					func(c *configs.Config) { c.Strangers = uniform })
			})
		}
	}
}

func givesToken(t *testing.T, s *proxytest.Stage, protect string) {
	for name, value := range map[string]string{"silence_strangers": "on", "recent_days": "0", "protect_ip": protect} {
		s.Set("bob", name, value)
	}
	s.Set("carol", "protect_ip", protect)
	s.Bob.Registers()
	s.Carol.Registers()
	tok := s.Bob.Token(proxytest.Grant{To: "carol"})
	out := s.Bob.Invites("carol", offering(tok.String()))
	in := s.Carol.IsCalled()
	got := offered(in.Invite)
	if len(got) != 1 || got[0] != tok.String() {
		t.Fatalf("carol's phone was offered %q", got)
	}
	onlyTheBeginning(t, out, in, tok)
	rings(t, s, s.Carol, "bob", tok, phone.Header("Privacy-Token", got[0]))
}

func TestOfferIsCarriedInAMessage(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Set("bob", "protect_ip", protect)
			s.Set("carol", "protect_ip", protect)
			s.Bob.Registers()
			s.Carol.Registers()
			tok := s.Bob.Token(proxytest.Grant{Bind: tokens.FirstUse})
			s.Bob.Asks("MESSAGE", "carol", phone.Body("text/plain", "call me"), offering(tok.String()))
			if got := offered(s.Carol.Gets("MESSAGE")); len(got) != 1 || got[0] != tok.String() {
				t.Errorf("protect %s: carol's phone was offered %q", protect, got)
			}
			s.Bob.Asks("OPTIONS", "carol", offering(tok.String()))
			if got := offered(s.Carol.Gets("OPTIONS")); len(got) > 0 {
				t.Errorf("protect %s: an OPTIONS offers %q", protect, got)
			}
		}, proxytest.Colleagues)
	}
}

// What is no token of the sender's for the receiver crosses to nobody: the
// header would carry whatever somebody likes to write into it.
func TestOfferThatIsNone(t *testing.T) {
	for _, c := range []struct {
		name string
		opts func(s *proxytest.Stage) []phone.Option
	}{
		{"text", func(*proxytest.Stage) []phone.Option { return []phone.Option{offering("I am at home")} }},
		{"for somebody else", func(s *proxytest.Stage) []phone.Option {
			return []phone.Option{offering(s.Bob.Token(proxytest.Grant{To: "alice"}).String())}
		}},
		{"of somebody else", func(s *proxytest.Stage) []phone.Option {
			return []phone.Option{offering(s.Alice.Token(proxytest.Grant{To: "carol"}).String())}
		}},
		{"of an unknown key", func(s *proxytest.Stage) []phone.Option {
			return []phone.Option{offering(s.Bob.Forged(proxytest.Grant{To: "carol"}).String())}
		}},
		{"expired", func(s *proxytest.Stage) []phone.Option {
			tok := s.Bob.Token(proxytest.Grant{To: "carol", Issued: 60 * 24 * time.Hour})
			return []phone.Option{offering(tok.String())}
		}},
		{"revoked", func(s *proxytest.Stage) []phone.Option {
			tok := s.Bob.Token(proxytest.Grant{To: "carol"})
			s.Bob.Revokes(tok)
			return []phone.Option{offering(tok.String())}
		}},
		{"two", func(s *proxytest.Stage) []phone.Option {
			tok := s.Bob.Token(proxytest.Grant{To: "carol"}).String()
			return []phone.Option{offering(tok), offering(tok)}
		}},
	} {
		for _, protect := range []string{"never", "always"} {
			t.Run(c.name+", protect "+protect, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					s.Set("bob", "protect_ip", protect)
					s.Set("carol", "protect_ip", protect)
					s.Bob.Registers()
					s.Carol.Registers()
					out := s.Bob.Invites("carol", c.opts(s)...)
					in := s.Carol.IsCalled()
					if got := offered(in.Invite); len(got) > 0 {
						t.Errorf("carol's phone was offered %q", got)
					}
					in.Answers()
					out.IsAnswered()
					proxytest.Talk(out, in)
					out.HangsUp()
					in.IsHungUp()
				}, proxytest.Colleagues)
			})
		}
	}
}

// A call that a device sends on to another user does not take the offer along.
func TestOfferDoesNotFollowARedirection(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
				s.Set(p.User, "protect_ip", protect)
				p.Registers()
			}
			tok := s.Bob.Token(proxytest.Grant{To: "alice"})
			out := s.Bob.Invites("alice", offering(tok.String()))
			first := s.Alice.IsCalled()
			first.Refuses(302, phone.Contact(proxytest.URI("carol")))
			in := s.Carol.IsCalled()
			if to, on := offered(first.Invite), offered(in.Invite); len(to) != 1 || len(on) != 0 {
				t.Errorf("protect %s: alice was offered %q, carol %q", protect, to, on)
			}
			out.GivesUp()
			in.IsGivenUp()
		}, proxytest.Colleagues)
	}
}

// Somebody from outside offers nothing; a trusted trunk passes on what its
// users offer, if it has the form of a token.
func TestOfferFromOutside(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{Name: "trunk", Trusted: true, Addresses: prefixes("198.51.100.14")}}
	}
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		tok := s.Alice.Forged(proxytest.Grant{To: "bob"}).String() // the trunk's user's, of a key there
		gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		asserted := phone.Header("P-Asserted-Identity", "<sip:dave@pbx.example>")
		for _, c := range []struct {
			from *proxytest.Phone
			text string
			want int
		}{{gateway, tok, 1}, {gateway, "pt1.text", 0}, {eve, tok, 0}} {
			out := c.from.Invites("bob", asserted, offering(c.text))
			in := s.Bob.IsCalled()
			if got := offered(in.Invite); len(got) != c.want {
				t.Errorf("%s offers %q, and bob is offered %q", c.from.User, c.text, got)
			}
			out.GivesUp()
			in.IsGivenUp()
		}
	}, trunk)
}

// Who is called over a trunk gets the offer, too: its server knows what to do with it.
func TestOfferToATrunk(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{
			Name: "trunk", Target: "sip:198.51.100.14:5060", Addresses: prefixes("198.51.100.14"),
		}}
		c.DefaultRoute = "trunk"
	}
	for _, protect := range []string{"never", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Set("bob", "protect_ip", protect)
			s.Bob.Registers()
			gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
			for _, to := range []string{"+15551234", "+15550000"} {
				tok := s.Bob.Token(proxytest.Grant{To: "+15551234"}).String()
				out := s.Bob.Invites(to, offering(tok))
				in := gateway.IsCalled()
				if got := offered(in.Invite); (len(got) == 1) != (to == "+15551234") {
					t.Errorf("protect %s: %s was offered %q", protect, to, got)
				}
				out.GivesUp()
				in.IsGivenUp()
			}
		}, trunk)
	}
}

// Who offers one forged token after the other soon offers nothing: not even a
// good one is looked at, until some time has passed.
func TestOffersAreCheckedOnlySoOften(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		s.Carol.Registers()
		good := s.Bob.Token(proxytest.Grant{To: "carol"}).String()
		forged := s.Bob.Forged(proxytest.Grant{To: "carol"}).String()
		carried := func() bool {
			s.Bob.Asks("MESSAGE", "carol", phone.Body("text/plain", "hello"), offering(good))
			return len(offered(s.Carol.Gets("MESSAGE"))) > 0
		}
		if !carried() {
			t.Error("a good offer is not carried")
		}
		for range 300 {
			s.Bob.Asks("MESSAGE", "carol", phone.Body("text/plain", "hello"), offering(forged))
			if got := offered(s.Carol.Gets("MESSAGE")); len(got) > 0 {
				t.Fatalf("carol is offered %q", got)
			}
		}
		if carried() {
			t.Error("after 300 forged offers the next one is checked as if there had been none")
		}
		s.Wait(time.Minute)
		if !carried() {
			t.Error("a minute later a good offer is not carried")
		}
	}, proxytest.Colleagues)
}
