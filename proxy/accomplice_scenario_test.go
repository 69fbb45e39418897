package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// A party of a protected call has an accomplice with an account of its own: what
// it was given sealed it hands on, in the hope that the server opens it on the way.

// opensNothing has bob, whom alice has called, hand on what he knows of the call.
func opensNothing(t *testing.T, protect string, script func(s *proxytest.Stage, in *proxytest.Call)) {
	t.Helper()
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
			if p != s.Alice {
				s.Set(p.User, "protect_ip", protect)
			}
			p.Registers()
		}
		out, in := s.Alice.Connect(s.Bob)
		script(s, in)
		for _, p := range []*proxytest.Phone{s.Bob, s.Carol, s.Mallory} {
			p.KnowsNothingOf(s.Alice)
		}
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}

// A dialog that a request names is opened for nobody but its other party.
func TestSealedDialogIsOpenedForNobodyElse(t *testing.T) {
	turned := strings.NewReplacer("to-tag", "local-tag", "from-tag", "remote-tag")
	for _, protect := range []string{"never", "always"} {
		for _, name := range []string{"Replaces", "Join"} {
			opensNothing(t, protect, func(s *proxytest.Stage, in *proxytest.Call) {
				s.Bob.Invites("carol", phone.Header(name, in.Replaces())).IsRefused(481)
			})
		}
		opensNothing(t, protect, func(s *proxytest.Stage, in *proxytest.Call) {
			dialog := phone.Header("Target-Dialog", turned.Replace(in.Replaces()))
			if code := s.Bob.Asks("OPTIONS", "carol", dialog); code != 481 {
				t.Errorf("protect %s: OPTIONS was answered %d", protect, code)
			}
			ask, asked := s.Bob.Connect(s.Carol)
			if code := ask.Asks("INFO", dialog); code != 481 {
				t.Errorf("protect %s: INFO was answered %d", protect, code)
			}
			ask.HangsUp()
			asked.IsHungUp()
		})
		opensNothing(t, protect, func(s *proxytest.Stage, in *proxytest.Call) {
			s.Bob.Asks("MESSAGE", "carol", phone.Body("text/plain", "x"), phone.Header("In-Reply-To", in.ID()))
		})
	}
}

// Nor is it by way of a Refer-To, which carries it past somebody.
func TestReferredDialogIsOpenedForNobodyElse(t *testing.T) {
	for _, c := range []struct {
		name    string
		dialog  func(in *proxytest.Call) string
		restart bool
	}{
		{"as it is", func(in *proxytest.Call) string { return in.Replaces() }, true},
		{"with other tags", func(in *proxytest.Call) string { return in.ID() + ";to-tag=x;from-tag=y" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			opensNothing(t, "always", func(s *proxytest.Stage, in *proxytest.Call) {
				ask, asked := s.Bob.Connect(s.Carol)
				_, replaces := refers(s.T(), ask, asked, proxytest.URI("mallory"), c.dialog(in))
				if c.restart { // and forgets whose call it is
					s.Wait(15 * time.Second)
					s.Restart()
				}
				s.Carol.Invites("mallory", phone.Header("Replaces", replaces)).IsRefused(481)
				ask.HangsUp()
				asked.IsHungUp()
			})
		})
	}
}

// isToReplace checks that a party of a call finds its own dialog in the call that is to replace it.
func isToReplace(t *testing.T, own, next *proxytest.Call) {
	t.Helper()
	asked := own.Phone.IsCalled()
	if got := replacing(asked); !same(got, own) {
		t.Errorf("%s is to replace %s, not %s", own.Phone.User, got, own.Replaces())
	}
	asked.Refuses(486)
	next.IsRefused(486)
}

// The other party is told, and finds its own dialog, also after a restart.
func TestDialogIsOpenedForItsParty(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
					s.Set(p.User, "protect_ip", protect)
					p.Registers()
				}
				out, in := s.Alice.Connect(s.Bob)
				isToReplace(t, in, out.Phone.Invites("bob", phone.Header("Replaces", out.Replaces())))
				isToReplace(t, out, in.Phone.Invites("alice", phone.Header("Replaces", in.Replaces())))
				ask, asked := s.Bob.Connect(s.Carol)
				_, replaces := refers(t, ask, asked, proxytest.URI("alice"), in.Replaces())
				s.Wait(15 * time.Second)
				s.Restart()
				isToReplace(t, out, s.Carol.Invites("alice", phone.Header("Replaces", replaces)))
				for _, c := range []*proxytest.Call{ask, out} {
					c.HangsUp()
				}
				asked.IsHungUp()
				in.IsHungUp()
			}, proxytest.Colleagues)
		})
	}
}

// sentOn is a call of mallory's to carol, who knows him and sends it on to bob.
func sentOn(s *proxytest.Stage, opts ...phone.Option) *proxytest.Call {
	out := s.Mallory.Invites("carol", opts...)
	s.Carol.IsCalled().Refuses(302, phone.Contact(proxytest.URI("bob")))
	return out
}

// Whoever a call is sent on to is protected as if it had been called: by its own
// settings, not by those of who sends it on.
func TestRedirectionProtectsWhoIsCalledInTheEnd(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Mallory, s.Bob, s.Carol} {
			s.Set(p.User, "protect_ip", map[bool]string{true: "always", false: "never"}[p == s.Bob])
			p.Registers()
		}
		out := sentOn(s)
		in := s.Bob.IsCalled()
		in.Rings()
		out.HearsProgress(180)
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		in.Does(in.Hold)
		out.HangsUp()
		in.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory)
	}, proxytest.Colleagues)
}

// states of bob's that a caller who is sent on to him must not tell apart.
var sentOnTo = []struct {
	name string
	bob  func(s *proxytest.Stage) // before
	then func(s *proxytest.Stage) // when the call has come
}{
	{"rings", nil, func(s *proxytest.Stage) {
		in := s.Bob.IsCalled()
		in.Rings()
		in.IsGivenUp()
	}},
	{"is busy", nil, func(s *proxytest.Stage) { s.Bob.IsCalled().Refuses(486) }},
	{"declines", nil, func(s *proxytest.Stage) { s.Bob.IsCalled().Refuses(603) }},
	{"has no time", nil, func(s *proxytest.Stage) { s.Bob.IsCalled().Refuses(503) }},
	{"sends it elsewhere", nil, func(s *proxytest.Stage) {
		s.Bob.IsCalled().Refuses(302, phone.Contact(proxytest.URI("alice")))
	}},
	{"is silent", nil, func(s *proxytest.Stage) { s.Bob.IsCalled().IsGivenUp() }},
	{"silences", func(s *proxytest.Stage) { s.Set("bob", "silence_strangers", "on") }, nil},
	{"has blocked", func(s *proxytest.Stage) { s.Block("bob", "mallory") }, nil},
	{"is offline", func(s *proxytest.Stage) { s.Bob.Unregisters() }, nil},
}

// A caller to whom somebody is a stranger learns nothing of that user's state by an
// accomplice who redirects: neither what it hears nor when differs.
func TestRedirectionTellsAStrangerNothing(t *testing.T) {
	for _, gives := range []time.Duration{0, 5 * time.Second} { // up
		heard := map[string]string{}
		for _, state := range sentOnTo {
			proxytest.RunAgain(t, "sent on", func(t *testing.T, s *proxytest.Stage) {
				heard[state.name] = heardWhenSentOn(s, state.bob, state.then, gives)
				s.Mallory.KnowsNothingOf(s.Bob)
				if len(s.Alice.Received(phone.SIP)) > 2 {
					t.Error("alice was called")
				}
			})
		}
		for name, got := range heard {
			if want := heard["rings"]; got != want {
				t.Errorf("who %s:\n%s\nwho rings:\n%s", name, got, want)
			}
		}
	}
}

// heardWhenSentOn is what mallory hears, and when, whom carol sends on to bob: he is brought into a
// state before, does something then, and mallory gives up after so long, if ever.
func heardWhenSentOn(s *proxytest.Stage, bob, then func(*proxytest.Stage), gives time.Duration) (heard string) {
	for _, p := range []*proxytest.Phone{s.Mallory, s.Bob, s.Carol, s.Alice} {
		p.Registers()
	}
	if bob != nil {
		bob(s)
	}
	tok := s.Carol.Token(proxytest.Grant{To: "mallory"})
	const tick = 10 * time.Second
	s.Wait(time.Until(time.Now().Truncate(tick).Add(tick))) // what came before took longer in some states
	s.Mallory.Forget()
	began := time.Now()
	out := sentOn(s, phone.Header("Privacy-Token", tok.String()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if then != nil {
			then(s)
		}
	}()
	if gives > 0 {
		s.Wait(gives)
		out.GivesUp()
	} else {
		out.IsRefused(480)
	}
	<-done
	for _, k := range s.Mallory.Received(phone.SIP) {
		heard += k.At.Sub(began).String() + " " + mask(string(k.Data)) + "\n"
	}
	return heard
}

// Who answers is heard, protected.
func TestRedirectionToAStrangerIsAnswered(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Mallory, s.Bob, s.Carol} {
			s.Set(p.User, "protect_ip", "never")
			p.Registers()
		}
		tok := s.Carol.Token(proxytest.Grant{To: "mallory"})
		out := sentOn(s, phone.Header("Privacy-Token", tok.String()))
		in := s.Bob.IsCalled()
		in.Rings()
		s.Wait(5 * time.Second)
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

// anonymously are the ways to call as nobody.
var anonymously = [][]phone.Option{
	{phone.Header("Privacy", "user")},
	{phone.Header("Privacy", "user;id")},
	{phone.From(`"Anonymous" <sip:anonymous@sotto.example>`)},
}

// unnamed checks that nobody but alice was told alice's name, or where she is.
func unnamed(t *testing.T, s *proxytest.Stage, phones ...*proxytest.Phone) {
	t.Helper()
	for _, p := range phones {
		p.KnowsNothingOf(s.Alice)
		for _, k := range p.Received(phone.SIP) {
			if strings.Contains(string(k.Data), "alice") {
				t.Errorf("%s received of alice:\n%s", p.User, k.Data)
				break
			}
		}
	}
}

// Who calls as nobody stays nobody to the end of the call, also where both have told
// the server that their addresses need not be hidden.
func TestAnonymousCallerStaysUnnamed(t *testing.T) {
	for _, how := range anonymously {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, p := range []*proxytest.Phone{s.Alice, s.Bob} {
				s.Set(p.User, "protect_ip", "never")
				p.Registers()
			}
			out, in := s.Alice.Connect(s.Bob, how...)
			for _, step := range []func(context.Context) error{
				out.Hold, out.Resume, in.Hold, in.Resume,
				func(ctx context.Context) error { return out.Info(ctx, "5") },
				func(ctx context.Context) error { return out.Update(ctx) },
			} {
				out.Does(step)
			}
			out.HangsUp()
			in.IsHungUp()
			unnamed(t, s, s.Bob)
		}, proxytest.Colleagues)
	}
}

// Nor is an accomplice told, to whom the other party refers the caller or who takes over the call.
func TestAnonymousCallerIsNotNamedToAnAccomplice(t *testing.T) {
	for _, how := range anonymously {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
				s.Set(p.User, "protect_ip", "never")
				p.Registers()
			}
			out, in := s.Alice.Connect(s.Bob, how...)
			s.Set("bob", "protect_ip", "always")
			ask, asked := s.Bob.Connect(s.Carol)
			target, _ := in.Dialog()
			if code := ask.Asks("REFER", phone.Header("Refer-To", "<"+target+">")); code != 403 {
				t.Errorf("the transfer to nobody was answered %d", code)
			}
			uri, replaces := refers(t, ask, asked, target, in.Replaces())
			if uri != proxytest.URI("anonymous") {
				t.Fatal(uri)
			}
			next := s.Carol.Invites(uri, phone.Header("Replaces", replaces))
			taken := s.Alice.IsCalled()
			taken.Answers()
			next.IsAnswered()
			out.HangsUp()
			in.IsHungUp()
			ask.HangsUp()
			asked.IsHungUp()
			proxytest.Talk(next, taken)
			s.Set("carol", "protect_ip", "always")
			again, heard := s.Carol.Connect(s.Mallory)
			target, _ = next.Dialog()
			if code := again.Asks("REFER", phone.Header("Refer-To", "<"+target+">")); code != 403 {
				t.Errorf("the second transfer was answered %d", code)
			}
			again.HangsUp()
			heard.IsHungUp()
			taken.Does(taken.Hold)
			taken.HangsUp()
			next.IsHungUp()
			unnamed(t, s, s.Bob, s.Carol, s.Mallory)
		}, proxytest.Colleagues)
	}
}

// Where a phone is, who knows it may tell the server in any place that says where
// requests go: nothing of a stranger's is sent there. It would come from the server's
// own address, for which a NAT and a cautious phone are open.
func TestNobodyHasTheServerCallAPhone(t *testing.T) {
	for foreign, code := range map[string]int{"off": 403, "allow": 408} {
		for _, protect := range []string{"never", "always"} {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				for _, p := range []*proxytest.Phone{s.Mallory, s.Carol} {
					s.Set(p.User, "protect_ip", protect)
					p.Registers()
				}
				s.Set("bob", "silence_strangers", "on")
				s.Bob.Registers()
				s.Wait(time.Second)
				s.Bob.Forget()
				at := "sip:bob@" + s.Bob.Local().String()
				out, in := namesAPhone(t, s, at)
				s.Mallory.Invites(at).IsRefused(code)
				s.Bob.HearsNothing()
				out.HangsUp()
				if foreign == "off" {
					in.IsHungUp()
				} else {
					in.IsOver()
				}
			}, func(c *configs.Config) { c.Foreign = foreign })
		}
	}
}

// namesAPhone has mallory call carol from behind a server of his own, as if he were at an
// address, and both send requests there.
func namesAPhone(t *testing.T, s *proxytest.Stage, at string) (out, in *proxytest.Call) {
	t.Helper()
	tok := s.Carol.Token(proxytest.Grant{To: "mallory"})
	behind := phone.Header("Via", "SIP/2.0/UDP 10.1.1.1;branch=z9hG4bKbehind")
	out = s.Mallory.Invites("carol", phone.Header("Privacy-Token", tok.String()), behind, phone.Contact("<"+at+">"))
	in = s.Carol.IsCalled()
	in.Answers()
	out.IsAnswered()
	for _, method := range []string{"INFO", "OPTIONS", "MESSAGE"} { // whatever becomes of them
		_, _ = in.Request(t.Context(), method, phone.Body("text/plain", "x"))
		_, _ = s.Mallory.Request(t.Context(), method, at, phone.Body("text/plain", "x"))
	}
	return out, in
}

// Within a protected call a party has the name that it began with, whatever it
// writes: no text comes from somebody else, and none looks like a notice.
func TestPartyKeepsItsNameWithinTheCall(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, p := range []*proxytest.Phone{s.Mallory, s.Bob} {
				s.Set(p.User, "protect_ip", protect)
				p.Registers()
			}
			out, in := s.Mallory.Connect(s.Bob)
			got := writesAs(t, s, out, "alice")
			if protect == "always" && !strings.Contains(got, "\r\nFrom: <"+proxytest.URI("mallory")+">") {
				t.Errorf("bob received of who says to be alice\n%s", got)
			}
			if got := writesAs(t, s, out, "silenced-calls"); strings.Contains(got, "From: <"+proxytest.URI("silenced-calls")) {
				t.Errorf("protect %s: bob received a notice of mallory's\n%s", protect, got)
			}
			out.HangsUp()
			in.IsHungUp()
		}, proxytest.Colleagues)
	}
}

// writesAs is what bob receives of a message in the call that mallory sends in another's name.
func writesAs(t *testing.T, s *proxytest.Stage, out *proxytest.Call, name string) string {
	t.Helper()
	target, routes := out.Dialog()
	id, tags, _ := strings.Cut(out.Replaces(), ";to-tag=")
	other, own, _ := strings.Cut(tags, ";from-tag=")
	route := ""
	for _, r := range routes {
		route += "Route: <" + strings.Trim(r, "<>") + ">\r\n"
	}
	s.Bob.Forget()
	b := fmt.Sprintf("MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.13:5060;branch=z9hG4bK%s\r\n"+
		"%sMax-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <sip:bob@sotto.example>;tag=%s\r\nCall-ID: %s\r\n"+
		"CSeq: %d MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
		target, name, route, proxytest.URI(name), own, other, id, 100+len(name))
	if err := s.Mallory.Send([]byte(b)); err != nil {
		t.Fatal(err)
	}
	s.Wait(time.Second)
	return sipSince(s.Bob, 0)
}
