package proxy_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/proxy/wire"
)

// Pickup (RFC 3891, RFC 4235): a phone watches another one, is told of a call
// that rings there or goes on there, and takes its place.

// watches has a phone watch the calls of another one.
func watches(by, of *proxytest.Phone) *phone.Watcher {
	var w *phone.Watcher
	of.Does(func(context.Context) error { return of.Tells("dialog") })
	by.Does(func(ctx context.Context) error {
		_, err := by.Subscribe(ctx, proxytest.URI(of.User), "dialog")
		return err
	})
	of.Does(func(ctx context.Context) (err error) {
		w, err = of.Watched(ctx)
		return err
	})
	return w
}

// telling is all that a phone could write about a call, with the names by
// which it knows the dialog: Call-ID, own and other tag.
func telling(c *proxytest.Call, state string) string {
	id, tags, _ := strings.Cut(c.Replaces(), ";to-tag=")
	other, own, _ := strings.Cut(tags, ";from-tag=")
	if own == "" {
		id, own, other = c.ID(), wire.Header(c.Responses()[0], "From"), "none"
		_, own, _ = strings.Cut(own, ";tag=")
	}
	host := c.Phone.Local().String()
	return strings.NewReplacer("HOST", host, "ID", id, "OWN", own, "OTHER", other, "STATE", state).Replace(
		`<?xml version="1.0"?><!-- HOST -->
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="full" entity="sip:x@HOST">
 <dialog id="HOST" call-id="ID" local-tag="OWN" remote-tag="OTHER" direction="recipient" x="HOST">
  <state event="HOST" code="180">STATE</state><duration>12</duration><sdp type="application/sdp">c=HOST</sdp>
  <replaces call-id="ID" local-tag="OWN" remote-tag="OTHER"/><referred-by>sip:x@HOST</referred-by>
  <local><identity display="HOST">sip:x@HOST</identity>
   <target uri="sip:x@HOST"><param pname="HOST" pval="HOST"/></target></local>
  <remote><identity>sip:x@HOST</identity><target uri="sip:x@HOST"/></remote>
 </dialog>
 <dialog id="2"><state>HOST</state></dialog>
</dialog-info>`)
}

// reference is the call that a watcher was told of, as a Replaces header names it.
func reference(t *testing.T, by *proxytest.Phone, w *phone.Watcher, c *proxytest.Call, state string) string {
	t.Helper()
	c.Does(func(ctx context.Context) error {
		_, err := w.Notify(ctx, "application/dialog-info+xml", telling(c, state))
		return err
	})
	body := string(by.Gets("NOTIFY").Body())
	m := regexp.MustCompile(`<dialog id="[^"]+" call-id="([^"]+)" local-tag="([^"]+)" remote-tag="([^"]+)"`).
		FindStringSubmatch(body)
	if m == nil || !strings.Contains(body, ">"+state+"</state>") || strings.Count(body, "<dialog ") != 1 ||
		!strings.Contains(body, `<target uri="`+proxytest.URI(c.Phone.User)+`"/>`) {
		t.Fatalf("the watcher was told:\n%s", body)
	}
	return m[1] + ";to-tag=" + m[3] + ";from-tag=" + m[2]
}

// names is how the phone of an outgoing call that rings names it, its own tag first.
func names(c *proxytest.Call) string {
	res := c.HearsProgress(180)
	own, _ := wire.Param(res.From().Params, "tag")
	other, _ := wire.Param(res.To().Params, "tag")
	return c.ID() + ";to-tag=" + own + ";from-tag=" + other
}

// replacing is what an INVITE asks a phone to replace.
func replacing(c *proxytest.Call) string { return wire.Header(c.Invite, "Replaces") }

// ringsAt is a call of a to b that rings there.
func ringsAt(a, b *proxytest.Phone) (out, in *proxytest.Call) {
	out = a.Invites(b.User)
	in = b.IsCalled()
	in.Rings()
	out.HearsProgress(180)
	return out, in
}

// picksUp has a third phone take the call of alice's that rings at bob's.
func picksUp(t *testing.T, alice, bob, third *proxytest.Phone) {
	t.Helper()
	w := watches(third, bob)
	out, in := ringsAt(alice, bob)
	ref := reference(t, third, w, in, "early")
	next := third.Invites("bob", phone.Header("Replaces", ref+";early-only"))
	taken := alice.IsCalled()
	if got, want := replacing(taken), names(out)+";early-only"; got != want {
		t.Errorf("alice is to replace %s, not %s", got, want)
	}
	taken.Answers()
	next.IsAnswered()
	out.GivesUp()
	in.IsGivenUp()
	proxytest.Talk(next, taken)
	next.HangsUp()
	taken.IsHungUp()
}

// takesOver has a third phone take bob's place in his call with alice.
func takesOver(t *testing.T, alice, bob, third *proxytest.Phone) {
	t.Helper()
	w := watches(third, bob)
	out, in := alice.Connect(bob)
	ref := reference(t, third, w, in, "confirmed")
	third.Invites("bob", phone.Header("Replaces", ref+";early-only")).IsRefused(486)
	next := third.Invites("bob", phone.Header("Replaces", ref))
	taken := alice.IsCalled()
	if got := replacing(taken); !same(got, out) {
		t.Errorf("alice is to replace %s, not %s", got, out.Replaces())
	}
	taken.Answers()
	next.IsAnswered()
	out.HangsUp()
	in.IsHungUp()
	proxytest.Talk(next, taken)
	taken.HangsUp()
	next.IsHungUp()
}

func TestPickup(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		for name, script := range map[string]func(*testing.T, *proxytest.Phone, *proxytest.Phone, *proxytest.Phone){
			"ringing": picksUp, "answered": takesOver,
		} {
			t.Run(name+", protect "+protect, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
						s.Set(p.User, "protect_ip", protect)
						p.Registers()
					}
					script(t, s.Alice, s.Bob, s.Carol)
				}, proxytest.Colleagues)
			})
		}
	}
}

// A call of a stranger's, who meets the facade, is picked up under the tag that
// the facade has shown; and one that the watched phone itself has made is taken
// over at the device that has it.
func TestPickupOfAStrangersCall(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Mallory, s.Bob, s.Carol} {
			p.Registers()
		}
		s.Set("bob", "silence_strangers", "off")
		s.Set("mallory", "silence_strangers", "on")
		tok := s.Bob.Token(proxytest.Grant{To: "carol"})
		s.Bob.Does(func(context.Context) error { return s.Bob.Tells("dialog") })
		var w *phone.Watcher
		s.Carol.Does(func(ctx context.Context) error {
			_, err := s.Carol.Subscribe(ctx, proxytest.URI("bob"), "dialog", phone.Header("Privacy-Token", tok.String()))
			return err
		})
		s.Bob.Does(func(ctx context.Context) (err error) {
			w, err = s.Bob.Watched(ctx)
			return err
		})
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		out.HearsProgress(180)
		ref := reference(t, s.Carol, w, in, "early")
		next := s.Carol.Invites("bob", phone.Header("Replaces", ref))
		taken := s.Mallory.IsCalled() // who silences carol, but has called
		if got, want := replacing(taken), names(out); got != want {
			t.Errorf("mallory is to replace %s, not %s", got, want)
		}
		taken.Answers()
		next.IsAnswered()
		out.GivesUp()
		in.IsGivenUp()
		proxytest.Talk(next, taken)
		next.HangsUp()
		taken.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Carol)
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Carol.KnowsNothingOf(s.Mallory)
	})
}

func TestTakingOverWhatTheWatchedPhoneHasCalled(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		desk := s.Phone("alice")
		for _, p := range []*proxytest.Phone{s.Alice, desk, s.Bob, s.Carol} {
			p.Registers()
		}
		w := watches(s.Carol, s.Bob)
		out := s.Bob.Invites("alice")
		one, two := s.Alice.IsCalled(), desk.IsCalled()
		one.Rings()
		ref := reference(t, s.Carol, w, out, "proceeding")
		s.Carol.Invites("bob", phone.Header("Replaces", ref)).IsRefused(481) // alice has not sent that INVITE
		two.Answers()
		out.IsAnswered()
		one.IsGivenUp()
		ref = reference(t, s.Carol, w, out, "confirmed")
		next := s.Carol.Invites("bob", phone.Header("Replaces", ref))
		taken := desk.IsCalled()
		if got := replacing(taken); !same(got, two) {
			t.Errorf("alice's desk is to replace %s, not %s", got, two.Replaces())
		}
		taken.Answers()
		next.IsAnswered()
		two.HangsUp()
		out.IsHungUp()
		proxytest.Talk(next, taken)
		next.HangsUp()
		taken.IsHungUp()
		if n := strings.Count(sipSince(s.Alice, 0), "\r\nReplaces:"); n != 0 {
			t.Errorf("alice's other phone was asked %d times", n)
		}
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// The errors of RFC 3891 §3.
func TestPickupErrors(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
			p.Registers()
		}
		w := watches(s.Carol, s.Bob)
		out, in := ringsAt(s.Alice, s.Bob)
		ref := reference(t, s.Carol, w, in, "early")
		begins := func(code int, opts ...phone.Option) {
			t.Helper()
			s.Carol.Invites("bob", opts...).IsRefused(code)
		}
		id, tags, _ := strings.Cut(ref, ";")
		forged := id[:len(id)-1] + string(id[len(id)-1]^1)
		begins(481, phone.Header("Replaces", forged+";"+tags))
		begins(400, phone.Header("Replaces", ref), phone.Header("Replaces", ref))
		begins(400, phone.Header("Replaces", ref), phone.Header("Join", ref))
		begins(400, phone.Header("Join", ref), phone.Header("Join", ref))
		begins(400, phone.Header("Replaces", ref+", "+ref))
		begins(400, phone.Header("Replaces", id))
		if code := s.Carol.Asks("MESSAGE", "bob", phone.Body("text/plain", "x"), phone.Header("Replaces", ref)); code != 400 {
			t.Errorf("a MESSAGE with Replaces was answered %d", code)
		}
		in.Answers()
		out.IsAnswered()
		begins(486, phone.Header("Replaces", ref+";early-only"))
		out.HangsUp()
		in.IsHungUp()
		begins(603, phone.Header("Replaces", ref))
		begins(603, phone.Header("Join", ref))
		if n := strings.Count(sipSince(s.Alice, 0)+sipSince(s.Bob, 0), "\r\nReplaces:"); n != 0 {
			t.Errorf("a phone was asked %d times", n)
		}
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// A reference is worth nothing to who is nobody, to who is blocked by the other
// party, and after a restart to anybody: what rang then rings no more.
func TestWhoMayNotPickUp(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
			p.Registers()
		}
		w := watches(s.Carol, s.Bob)
		out, in := ringsAt(s.Alice, s.Bob)
		ref := reference(t, s.Carol, w, in, "early")
		for _, from := range []string{"<sip:mallory@elsewhere.example>", "<sip:bob@elsewhere.example>"} {
			s.Mallory.Invites("bob", phone.From(from), phone.Header("Replaces", ref)).IsRefused(480)
		}
		s.Block("alice", "carol")
		s.Carol.Invites("bob", phone.Header("Replaces", ref)).IsRefused(603)
		out.GivesUp()
		in.IsGivenUp()
		if n := strings.Count(sipSince(s.Alice, 0)+sipSince(s.Bob, 0), "\r\nReplaces:"); n != 0 {
			t.Errorf("a phone was asked %d times", n)
		}
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

func TestPickupAfterARestart(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
			p.Registers()
		}
		w := watches(s.Carol, s.Bob)
		out, in := s.Alice.Connect(s.Bob)
		ref := reference(t, s.Carol, w, in, "confirmed")
		s.Wait(15 * time.Second) // bindings are saved
		s.Restart()
		s.Carol.Invites("bob", phone.Header("Replaces", ref)).IsRefused(481)
		transferred(t, s.Alice, s.Bob, s.Carol, out, in) // what a party asks for needs no record
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// With honest domains a stranger is told; the device hears nothing either way.
func TestStrangersTakeNothingOver(t *testing.T) {
	for _, strangers := range []string{"uniform", "honest"} {
		t.Run(strangers, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Mallory} {
					s.Set(p.User, "silence_strangers", "off")
					p.Registers()
				}
				out, in := s.Alice.Connect(s.Bob)
				want := map[string]int{"uniform": 480, "honest": 481}[strangers]
				// Not a reference: what a party of the call would write, which a stranger has guessed.
				s.Mallory.Invites("bob", phone.Header("Replaces", in.Replaces())).IsRefused(want)
				out.HangsUp()
				in.IsHungUp()
				if n := strings.Count(sipSince(s.Bob, 0), "INVITE sip:"); n != 1 {
					t.Errorf("bob was called %d times", n)
				}
			}, func(c *configs.Config) { c.Strangers = strangers })
		})
	}
}
