package proxy_test

import (
	"context"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// grounds are the transports and families on which the harness is played.
var grounds = []struct {
	name, transport string
	six             bool
}{
	{"UDP, IPv4", "udp", false},
	{"TCP, IPv4", "tcp", false},
	{"TLS, IPv4", "tls", false},
	{"UDP, IPv6", "udp", true},
	{"TCP, IPv6", "tcp", true},
	{"TLS, IPv6", "tls", true},
}

// onEveryGround plays a script with two phones that tell all they know.
func onEveryGround(t *testing.T, protect string, script func(t *testing.T, w *leakStage)) {
	t.Helper()
	for _, g := range grounds {
		t.Run(g.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				open := s.Phone
				if g.six {
					open = s.Phone6
				}
				over := func(c *phone.Config) { c.Transport = g.transport }
				w := &leakStage{Stage: s, alice: open("alice", over, phone.TellAll), bob: open("bob", over, phone.TellAll)}
				script(t, w)
			}, proxytest.Colleagues, proxytest.Protect(protect))
		})
	}
}

// begins waits until ports have rested, and registers everybody anew.
func (w *leakStage) begins() {
	w.Wait(time.Minute)
	for _, p := range []*proxytest.Phone{w.alice, w.bob, w.Carol} {
		p.Registers()
	}
	w.alice.Forget()
	w.bob.Forget()
}

// clean searches what both got since the last time.
func (w *leakStage) clean(t *testing.T, name string) {
	t.Helper()
	w.Wait(time.Second)
	for _, p := range [][2]*proxytest.Phone{{w.alice, w.bob}, {w.bob, w.alice}} {
		for _, l := range p[0].Knows(p[1]) {
			t.Errorf("%s: %s received of %s: %v", name, p[0].User, p[1].User, l)
		}
	}
}

func TestLeaksWithinACall(t *testing.T) {
	onEveryGround(t, "always", func(t *testing.T, w *leakStage) {
		for _, sc := range leakScenarios {
			for _, by := range []string{"caller", "callee"} {
				w.begins()
				out, in := w.alice.Connect(w.bob)
				a, b := out, in
				if by == "callee" {
					a, b = in, out
				}
				sc.play(w, a, b)
				a.HangsUp()
				b.IsHungUp()
				w.clean(t, sc.name+", by the "+by)
			}
		}
	})
}

// A beginning is what may happen before a call is answered, or without one; a is the caller.
var beginnings = []struct {
	name string
	play func(w *leakStage)
}{
	{"refused as busy", refused(486)},
	{"refused as unknown", refused(404)},
	{"declined", refused(603)},
	{"not implemented", refused(501)},
	{"extension not known", refused(420)},
	{"interval too brief", refused(422, phone.Header("Min-SE", "90"))},
	{"redirected to an own address", func(w *leakStage) {
		out := w.alice.Invites("bob")
		in := w.bob.IsCalled()
		in.Refuses(302, phone.Header("Contact", "<sip:bob@"+w.bob.Local().String()+">"))
		out.Does(func(ctx context.Context) error {
			if code := phone.Status(out.Answered(ctx)); code < 400 {
				w.T().Errorf("a redirection to an address arrived as %d", code)
			}
			return nil
		})
	}},
	{"given up", func(w *leakStage) {
		out := w.alice.Invites("bob")
		in := w.bob.IsCalled()
		in.Rings()
		out.HearsProgress(180)
		out.GivesUp(phone.Field{Name: "Reason", Value: `SIP;cause=200;text="` + w.alice.Local().String() + `"`})
		in.IsGivenUp()
	}},
	{"early media", answered(nil, phone.EarlyMedia())},
	{"reliable provisional", answered(nil, phone.Reliable())},
	{"reliable early media", answered(nil, phone.Reliable(), phone.EarlyMedia())},
	{"late offer", answered([]phone.Option{phone.LateOffer()})},
	{"late offer, answered in PRACK", answered([]phone.Option{phone.LateOffer()}, phone.Reliable(), phone.EarlyMedia())},
	{"OPTIONS without a call", asks("OPTIONS")},
	{"MESSAGE without a call", asks("MESSAGE", phone.Body("text/plain", "hello"))},
	{"CPIM without a call", asks("MESSAGE", phone.Body("message/cpim", "From: <sip:x@h>\r\n\r\nhello"))},
	{"SUBSCRIBE to presence", asks("SUBSCRIBE", phone.Header("Event", "presence"))},
	{"SUBSCRIBE to dialogs", asks("SUBSCRIBE", phone.Header("Event", "dialog"))},
	{"SUBSCRIBE to messages", asks("SUBSCRIBE", phone.Header("Event", "message-summary"))},
	{"SUBSCRIBE to registrations", asks("SUBSCRIBE", phone.Header("Event", "reg"))},
	{"NOTIFY that nobody wants", asks("NOTIFY", state("message-summary")...)},
	{"PUBLISH without a call", asks("PUBLISH", phone.Header("Event", "presence"))},
	{"INFO without a call", asks("INFO", phone.Body("application/dtmf", "5"))},
	{"REFER without a call", asks("REFER", phone.Header("Refer-To", "<"+proxytest.URI("carol")+">"))},
}

// refused is a call that the callee refuses.
func refused(code int, opts ...phone.Option) func(*leakStage) {
	return func(w *leakStage) {
		out := w.alice.Invites("bob")
		in := w.bob.IsCalled()
		in.Rings()
		in.Refuses(code, opts...)
		out.Does(func(ctx context.Context) error {
			if phone.Status(out.Answered(ctx)) < 400 {
				w.T().Errorf("a call that was refused with %d was not", code)
			}
			return nil
		})
	}
}

// answered is a call that begins in a way of its own.
func answered(invite []phone.Option, ring ...phone.Option) func(*leakStage) {
	return func(w *leakStage) {
		out := w.alice.Invites("bob", invite...)
		in := w.bob.IsCalled()
		in.Rings(ring...)
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		in.HangsUp()
		out.IsHungUp()
	}
}

// asks is a request outside of any call, whatever becomes of it.
func asks(method string, opts ...phone.Option) func(*leakStage) {
	return func(w *leakStage) { w.alice.Asks(method, "bob", opts...) }
}

func TestLeaksBeforeAndWithoutACall(t *testing.T) {
	onEveryGround(t, "always", func(t *testing.T, w *leakStage) {
		for _, b := range beginnings {
			w.begins()
			b.play(w)
			w.clean(t, b.name)
		}
	})
}

// The harness is worth something only if it finds what is not hidden: the same
// phones in a call that nobody protects.
func TestHarnessFindsWhatIsNotHidden(t *testing.T) {
	onEveryGround(t, "", func(t *testing.T, w *leakStage) {
		for _, who := range []string{"alice", "bob"} {
			w.Set(who, "protect_ip", "never")
		}
		w.begins()
		out, in := w.alice.Connect(w.bob)
		out.HangsUp()
		in.IsHungUp()
		if len(w.alice.Knows(w.bob)) < 5 || len(w.bob.Knows(w.alice)) < 5 {
			t.Errorf("of a call that is not protected %v and %v were found", w.alice.Knows(w.bob), w.bob.Knows(w.alice))
		}
	})
}

func TestEnoughLeakScenarios(t *testing.T) {
	names := map[string]bool{}
	for _, s := range leakScenarios {
		names[s.name] = true
	}
	for _, b := range beginnings {
		names[b.name] = true
	}
	if len(names) < 60 || len(names) != len(leakScenarios)+len(beginnings) {
		t.Errorf("%d names of %d scenarios", len(names), len(leakScenarios)+len(beginnings))
	}
	t.Logf("%d scenarios, %d of them by both parties, on %d grounds", len(names), len(leakScenarios), len(grounds))
}
