package proxy_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

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
		opensNothing(t, "always", func(s *proxytest.Stage, in *proxytest.Call) {
			ask, asked := s.Bob.Connect(s.Carol)
			to := proxytest.URI("mallory") + "?Replaces=" + url.QueryEscape(c.dialog(in))
			ask.Does(func(ctx context.Context) error { return ask.Refer(ctx, to) })
			_, query, _ := strings.Cut(referTo(asked), "?Replaces=")
			replaces, err := url.PathUnescape(query)
			if err != nil || replaces == "" {
				t.Fatalf("%s: %q, %v", c.name, query, err)
			}
			if c.restart { // and forgets whose call it is
				s.Wait(15 * time.Second)
				s.Restart()
			}
			s.Carol.Invites("mallory", phone.Header("Replaces", replaces)).IsRefused(481)
			ask.HangsUp()
			asked.IsHungUp()
		})
	}
}

// The other party is told, and finds its own dialog, also after a restart.
func TestDialogIsOpenedForItsParty(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
				s.Set(p.User, "protect_ip", protect)
				p.Registers()
			}
			out, in := s.Alice.Connect(s.Bob)
			for _, c := range []struct{ from, to *proxytest.Call }{{out, in}, {in, out}} {
				next := c.from.Phone.Invites(c.to.Phone.User, phone.Header("Replaces", c.from.Replaces()))
				asked := c.to.Phone.IsCalled()
				if got := replacing(asked); !same(got, c.to) {
					t.Errorf("protect %s: %s is to replace %s, not %s", protect, c.to.Phone.User, got, c.to.Replaces())
				}
				asked.Refuses(486)
				next.IsRefused(486)
			}
			ask, asked := s.Bob.Connect(s.Carol)
			to := proxytest.URI("alice") + "?Replaces=" + url.QueryEscape(in.Replaces())
			ask.Does(func(ctx context.Context) error { return ask.Refer(ctx, to) })
			_, query, _ := strings.Cut(referTo(asked), "?Replaces=")
			replaces, err := url.PathUnescape(query)
			if err != nil || replaces == "" {
				t.Fatalf("%q, %v", query, err)
			}
			s.Wait(15 * time.Second)
			s.Restart()
			next := s.Carol.Invites("alice", phone.Header("Replaces", replaces))
			taken := s.Alice.IsCalled()
			if got := replacing(taken); !same(got, out) {
				t.Errorf("protect %s: alice is to replace %s, not %s", protect, got, out.Replaces())
			}
			taken.Refuses(486)
			next.IsRefused(486)
			for _, c := range []*proxytest.Call{ask, out} {
				c.HangsUp()
			}
			asked.IsHungUp()
			in.IsHungUp()
		}, proxytest.Colleagues)
	}
}
