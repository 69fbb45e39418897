package proxy_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/tokens"
)

// rings plays a call that must ring, and of which the token must not arrive.
func rings(
	t *testing.T, s *proxytest.Stage, caller *proxytest.Phone, to string, tok tokens.Token, opts ...phone.Option,
) {
	t.Helper()
	out := caller.Invites(to, opts...)
	in := s.Bob.IsCalled()
	if text := string(in.Invite.String()); strings.Contains(strings.ToLower(text), strings.ToLower(tok.String())) {
		t.Errorf("the token arrived:\n%s", text)
	}
	in.Answers()
	out.IsAnswered()
	proxytest.Talk(out, in)
	out.HangsUp()
	in.IsHungUp()
	for _, k := range append(s.Bob.Received(phone.SIP), caller.Received(phone.SIP)...) {
		if strings.Contains(string(k.Data), "pt1.") && k.To.Addr() == s.Bob.Local().Addr() {
			t.Errorf("bob received something like a token:\n%s", k.Data)
		}
	}
}

// silent plays a call that must not ring: no byte of it reaches bob, and the
// caller hears what any stranger hears.
func silent(t *testing.T, s *proxytest.Stage, caller *proxytest.Phone, to string, opts ...phone.Option) {
	t.Helper()
	s.Bob.Forget()
	out := caller.Invites(to, opts...)
	out.HearsProgress(180)
	out.IsRefused(480)
	for _, l := range s.Bob.Heard() {
		if !strings.HasPrefix(l, "MESSAGE ") {
			t.Errorf("a silenced call reached bob: %s", l)
		}
	}
}

// screened is a stage on which bob silences strangers.
func screened(t *testing.T, script func(t *testing.T, s *proxytest.Stage)) {
	t.Helper()
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
			p.Registers()
		}
		script(t, s)
	})
}

func TestTokenInEachCarrier(t *testing.T) {
	bob := proxytest.URI("bob")
	for _, c := range []struct {
		name string
		to   func(tok string) string
		opts func(tok string) []phone.Option
	}{
		{"header", func(string) string { return bob }, inHeader("Privacy-Token")},
		{"X- header", func(string) string { return bob }, inHeader("X-Privacy-Token")},
		{"header with two", func(string) string { return bob }, inHeader("Privacy-Token", "pt1.AAAA, ")},
		{"URI header", func(tok string) string { return bob + "?Privacy-Token=" + tok }, nil},
		{"user part", func(tok string) string { return "sip:bob+" + tok + "@" + proxytest.Domain }, nil},
		{"dialled string", func(tok string) string {
			return "sip:" + url.PathEscape("bob?Privacy-Token="+tok) + "@" + proxytest.Domain
		}, nil},
		{"URI parameter", func(tok string) string { return bob + ";pt=" + tok }, nil},
	} {
		for _, protect := range []string{"never", "always"} {
			t.Run(c.name+", protect "+protect, func(t *testing.T) {
				screened(t, func(t *testing.T, s *proxytest.Stage) {
					s.Set("carol", "protect_ip", protect)
					tok := s.Bob.Token(proxytest.Grant{To: "carol"})
					var opts []phone.Option
					if c.opts != nil {
						opts = c.opts(tok.String())
					}
					rings(t, s, s.Carol, c.to(tok.String()), tok, opts...)
				})
			})
		}
	}
}

// inHeader puts a token into a header, behind other text.
func inHeader(name string, before ...string) func(string) []phone.Option {
	return func(tok string) []phone.Option {
		return []phone.Option{phone.Header(name, strings.Join(before, "")+tok)}
	}
}

func TestTokenThatDoesNotHold(t *testing.T) {
	for _, c := range []struct {
		name   string
		caller func(s *proxytest.Stage) *proxytest.Phone
		token  func(s *proxytest.Stage) string
	}{
		{"none", carol, func(*proxytest.Stage) string { return "" }},
		{"stolen", mallory, func(s *proxytest.Stage) string { return s.Bob.Token(proxytest.Grant{To: "carol"}).String() }},
		{"expired", carol, func(s *proxytest.Stage) string {
			return s.Bob.Token(proxytest.Grant{To: "carol", Issued: 60 * 24 * time.Hour}).String()
		}},
		{"revoked", carol, func(s *proxytest.Stage) string {
			tok := s.Bob.Token(proxytest.Grant{To: "carol"})
			s.Bob.Revokes(tok)
			return tok.String()
		}},
		{"malformed", carol, func(s *proxytest.Stage) string {
			return s.Bob.Token(proxytest.Grant{To: "carol"}).String()[:90]
		}},
		{"altered", carol, func(s *proxytest.Stage) string {
			tok := []byte(s.Bob.Token(proxytest.Grant{To: "carol"}).String())
			tok[50] ^= 1
			return string(tok)
		}},
		{"of another recipient", carol, func(s *proxytest.Stage) string {
			return s.Alice.Token(proxytest.Grant{To: "carol"}).String()
		}},
		{"of an unknown key", carol, func(s *proxytest.Stage) string {
			return s.Bob.Forged(proxytest.Grant{To: "carol"}).String()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			screened(t, func(t *testing.T, s *proxytest.Stage) {
				var opts []phone.Option
				if tok := c.token(s); tok != "" {
					opts = append(opts, phone.Header("Privacy-Token", tok))
				}
				silent(t, s, c.caller(s), "bob", opts...)
			})
		})
	}
}

func carol(s *proxytest.Stage) *proxytest.Phone   { return s.Carol }
func mallory(s *proxytest.Stage) *proxytest.Phone { return s.Mallory }

func TestExpiredTokenHeldBefore(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{To: "carol", Life: 24 * time.Hour})
		with := phone.Header("Privacy-Token", tok.String())
		rings(t, s, s.Carol, "bob", tok, with)
		s.Off(9 * 24 * time.Hour)
		s.Bob.Registers()
		s.Carol.Registers()
		silent(t, s, s.Carol, "bob", with)
	})
}

func TestFirstUseTokenBindsToWhoShowsItFirst(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{Bind: tokens.FirstUse})
		with := phone.Header("Privacy-Token", tok.String())
		rings(t, s, s.Carol, "bob", tok, with)
		silent(t, s, s.Mallory, "bob", with)
		rings(t, s, s.Carol, "bob", tok, with)
	})
}

func TestOpenAndDomainTokensLetAnybodyRing(t *testing.T) {
	for _, bind := range []tokens.Bind{tokens.Open, tokens.ToDomain} {
		t.Run(bind.String(), func(t *testing.T) {
			screened(t, func(t *testing.T, s *proxytest.Stage) {
				tok := s.Bob.Token(proxytest.Grant{Bind: bind})
				with := phone.Header("Privacy-Token", tok.String())
				rings(t, s, s.Carol, "bob", tok, with)
				rings(t, s, s.Mallory, "bob", tok, with)
			})
		})
	}
}

// races has several callers call at once, each with a token of bob's, and
// counts those who get through; the others hear what any stranger hears.
func races(s *proxytest.Stage, tok tokens.Token, callers ...*proxytest.Phone) (through int) {
	s.T().Helper()
	var calls []*proxytest.Call
	for _, c := range callers {
		calls = append(calls, c.Invites("bob", phone.Header("Privacy-Token", tok.String())))
	}
	s.Wait(10 * time.Second) // nobody answers
	rung := 0
	for _, l := range s.Bob.Heard() {
		if strings.HasPrefix(l, "INVITE ") {
			rung++
		}
	}
	for range rung {
		s.Bob.IsCalled().Refuses(486)
	}
	for _, c := range calls {
		c.Does(func(ctx context.Context) error {
			switch code := phone.Status(c.Answered(ctx)); code {
			case 486:
				through++
			case 480:
			default:
				s.T().Errorf("%s heard %d", c.Phone.User, code)
			}
			return nil
		})
	}
	if rung != through {
		s.T().Errorf("bob's phone rang %d times, %d callers got through", rung, through)
	}
	return through
}

func TestFirstUseTokenShownByManyAtOnce(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{Bind: tokens.FirstUse})
		if n := races(s, tok, s.Carol, s.Mallory, s.Alice); n != 1 {
			t.Errorf("%d of those who came at once got through; want 1", n)
		}
	})
}

func TestOpenTokenLetsOnlySoManyRing(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "open_uses", "2")
		tok := s.Bob.Token(proxytest.Grant{Bind: tokens.Open})
		if n := races(s, tok, s.Carol, s.Mallory, s.Alice); n != 2 {
			t.Errorf("%d of those who came at once got through; want 2", n)
		}
		with := phone.Header("Privacy-Token", tok.String())
		s.Restart()
		for _, p := range []*proxytest.Phone{s.Bob, s.Carol} {
			p.Registers()
		}
		silent(t, s, s.Carol, "bob", with)
		s.Set("bob", "open_uses", "3") // from the next call on
		rings(t, s, s.Carol, "bob", tok, with)
		silent(t, s, s.Carol, "bob", with)
		other := s.Bob.Token(proxytest.Grant{Bind: tokens.Open})
		rings(t, s, s.Carol, "bob", other, phone.Header("Privacy-Token", other.String()))
	})
}

// A caller without identity has nothing to bind a token to but may use an open one.
func TestTokensOfACallerFromOutside(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		first := s.Bob.Token(proxytest.Grant{Bind: tokens.FirstUse})
		silent(t, s, eve, "bob", phone.Header("Privacy-Token", first.String()))
		rings(t, s, s.Carol, "bob", first, phone.Header("Privacy-Token", first.String()))
		open := s.Bob.Token(proxytest.Grant{Bind: tokens.Open})
		rings(t, s, eve, "bob", open, phone.Header("Privacy-Token", open.String()))
	})
}

func TestRevocationHoldsFromTheNextCallOn(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{To: "carol"})
		with := phone.Header("Privacy-Token", tok.String())
		out := s.Carol.Invites("bob", with)
		in := s.Bob.IsCalled()
		in.Answers()
		out.IsAnswered()
		s.Bob.Revokes(tok)
		proxytest.Talk(out, in) // the call goes on
		silent(t, s, s.Carol, "bob", with)
		out.HangsUp()
		in.IsHungUp()
		s.Restart()
		s.Bob.Registers()
		s.Carol.Registers()
		silent(t, s, s.Carol, "bob", with)
	})
}

// A new key takes the place of an old one: for a while tokens of both hold.
func TestKeyRotation(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		oldKey, newKey := s.Bob.Key(), s.Bob.Key()
		before := s.Bob.TokenOf(oldKey, proxytest.Grant{To: "carol"})
		after := s.Bob.TokenOf(newKey, proxytest.Grant{To: "carol"})
		s.Bob.Retires(oldKey, 10*time.Minute)
		for _, tok := range []tokens.Token{before, after} {
			rings(t, s, s.Carol, "bob", tok, phone.Header("Privacy-Token", tok.String()))
		}
		s.Wait(10 * time.Minute)
		silent(t, s, s.Carol, "bob", phone.Header("Privacy-Token", before.String()))
		rings(t, s, s.Carol, "bob", after, phone.Header("Privacy-Token", after.String()))
	})
}
