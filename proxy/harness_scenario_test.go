package proxy_test

import (
	"cmp"
	"context"
	"flag"
	"regexp"
	"slices"
	"testing"
	"time"

	"sotto/proxy/leak"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// carded is a phone that tells the address of its network card, too.
func carded(c *phone.Config) {
	mac := proxytest.MAC(c)
	c.Instance = "urn:uuid:6f1d0c40-77aa-11ee-8000-" + mac // RFC 9562 §5.1: the node is a MAC address
	c.Contact = "sip:" + c.User + "." + mac + "@" + c.Local.String() + ";transport=" + cmp.Or(c.Transport, "udp") +
		";ob;device=" + mac
	c.Headers = append(c.Headers,
		phone.Field{Name: "X-MAC", Value: mac}, phone.Field{Name: "User-Agent", Value: "Desk " + mac})
	c.SDES = append(c.SDES, phone.SDESItem{Type: 7, Text: mac})
	c.SDP.Session = append(c.SDP.Session, "a=x-mac:"+mac)
}

// natted is a phone behind a NAT that has RTP and RTCP on one port.
func natted(c *phone.Config) {
	proxytest.NATted(c)
	c.RTCPMux = true
}

// asItIs is a phone with an address that everybody reaches.
func asItIs(*phone.Config) {}

// A ground is a transport, a family and a network.
type ground struct {
	name, transport string
	six             bool
	net             func(*phone.Config)
}

// grounds are those on which the harness is played.
var grounds = []ground{
	{"UDP, IPv4", "udp", false, asItIs},
	{"TCP, IPv4", "tcp", false, asItIs},
	{"TLS, IPv4", "tls", false, asItIs},
	{"UDP, IPv6", "udp", true, asItIs},
	{"TCP, IPv6", "tcp", true, asItIs},
	{"TLS, IPv6", "tls", true, asItIs},
	{"UDP, NAT", "udp", false, natted},
	{"TCP, NAT", "tcp", false, natted},
	{"TLS, NAT", "tls", false, natted},
}

// onEveryGround plays a script with two phones that tell all they know.
func onEveryGround(t *testing.T, protect string, script func(t *testing.T, w *leakStage)) {
	t.Helper()
	for _, g := range grounds {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			g.plays(t, protect, script)
		})
	}
}

// plays plays a script on a stage of its own.
func (g ground) plays(t *testing.T, protect string, script func(t *testing.T, w *leakStage)) {
	t.Helper()
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		open := s.Phone
		if g.six {
			open = s.Phone6
		}
		over := func(c *phone.Config) { c.Transport = g.transport }
		tell := func(c *phone.Config) { phone.TellAll(c); carded(c) }
		more := func(name string) *proxytest.Phone { return open(name, over, g.net, tell) }
		w := &leakStage{Stage: s, alice: more("alice"), bob: more("bob"), more: more}
		script(t, w)
	}, proxytest.Colleagues, proxytest.Protect(protect))
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

// shows plays a scenario and searches what both got. Four octets of an address are found in noise
// about once in two hundred runs of all scenarios: they count if they are found when the scenario
// is played once more.
func (w *leakStage) shows(t *testing.T, name string, play func()) {
	t.Helper()
	found := w.found(play)
	if !slices.ContainsFunc(found, func(l learned) bool { return !l.Noise }) && len(found) > 0 {
		t.Logf("%s: is it noise? %v", name, found)
		again := w.found(play)
		found = slices.DeleteFunc(found, func(l learned) bool { return !slices.ContainsFunc(again, l.is) })
	}
	for _, l := range found {
		t.Errorf("%s: %v", name, l)
	}
}

// learned is what one party received of the other.
type learned struct {
	by, of string
	leak.Leak
}

func (l learned) String() string { return l.by + " received of " + l.of + ": " + l.Leak.String() }

// is says that the same was learned by the same.
func (l learned) is(m learned) bool { return l.by == m.by && l.Marker == m.Marker && l.Form == m.Form }

// found plays, from the beginning, and returns what both got.
func (w *leakStage) found(play func()) (all []learned) {
	w.begins()
	play()
	w.Wait(time.Second)
	for _, p := range [][2]*proxytest.Phone{{w.alice, w.bob}, {w.bob, w.alice}} {
		for _, l := range p[0].Knows(p[1]) {
			all = append(all, learned{p[0].User, p[1].User, l})
		}
	}
	return all
}

// scenario picks the scenarios to be played; see the mutants.
var scenario = flag.String("scenario", ".*", "play the leak scenarios whose name matches")

func TestLeaksWithinACall(t *testing.T) {
	picked := regexp.MustCompile(*scenario)
	onEveryGround(t, "always", func(t *testing.T, w *leakStage) {
		for _, sc := range leakScenarios {
			if !picked.MatchString(sc.name) {
				continue
			}
			for _, by := range []string{"caller", "callee"} {
				w.shows(t, sc.name+", by the "+by, func() {
					out, in := w.alice.Connect(w.bob)
					a, b := out, in
					if by == "callee" {
						a, b = in, out
					}
					w.plays(sc, a, b)
					a.HangsUp()
					b.IsHungUp()
				})
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
	{"OPTIONS without a call", asks("OPTIONS", 200, `OPTIONS sip:`+bare)},
	{"MESSAGE without a call", asks("MESSAGE", 200, `MESSAGE sip:[^~]*hello$`, phone.Body("text/plain", "hello"))},
	{
		"CPIM without a call",
		asks("MESSAGE", 415, "", phone.Body("message/cpim", "From: <sip:x@h>\r\n\r\nhello")),
	},
	{
		"SUBSCRIBE to presence",
		asks("SUBSCRIBE", 501, `SUBSCRIBE sip:[^~]*Event: presence`, phone.Header("Event", "presence")),
	},
	{"SUBSCRIBE to dialogs", asks("SUBSCRIBE", 501, `SUBSCRIBE sip:[^~]*Event: dialog`, phone.Header("Event", "dialog"))},
	{
		"SUBSCRIBE to messages",
		asks("SUBSCRIBE", 501, `SUBSCRIBE sip:[^~]*Event: message-summary`, phone.Header("Event", "message-summary")),
	},
	{"SUBSCRIBE to registrations", asks("SUBSCRIBE", 501, `SUBSCRIBE sip:`+bare, phone.Header("Event", "reg"))},
	{
		"NOTIFY that nobody wants",
		asks("NOTIFY", 200, `NOTIFY sip:[^~]*Event: message-summary`, state("message-summary")...),
	},
	{"PUBLISH without a call", asks("PUBLISH", 405, "", phone.Header("Event", "presence"))},
	{"INFO without a call", asks("INFO", 481, `INFO sip:[^~]*\r\n\r\n5$`, phone.Body("application/dtmf", "5"))},
	{"REFER without a call", asks("REFER", 501, `REFER sip:[^~]*Refer-To: <sip:carol@sotto.example>`,
		phone.Header("Refer-To", "<"+proxytest.URI("carol")+">"))},
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

// asks is a request outside of any call, what it is answered and what of it arrives.
func asks(method string, code int, gets string, opts ...phone.Option) func(*leakStage) {
	return func(w *leakStage) {
		got := w.alice.Asks(method, "bob", opts...)
		w.Wait(time.Second)
		text := sipSince(w.bob, 0)
		if got != code || gets == "" && text != "" || !regexp.MustCompile(gets).MatchString(text) {
			w.T().Errorf("%s was answered %d; want %d; %q should arrive in\n%s", method, got, code, gets, text)
		}
	}
}

func TestLeaksBeforeAndWithoutACall(t *testing.T) {
	picked := regexp.MustCompile(*scenario)
	onEveryGround(t, "always", func(t *testing.T, w *leakStage) {
		for _, b := range beginnings {
			if !picked.MatchString(b.name) {
				continue
			}
			w.shows(t, b.name, func() { b.play(w) })
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
	for _, c := range chains {
		names[c.name] = true
	}
	all := len(leakScenarios) + len(beginnings) + len(chains)
	if len(names) < 60 || len(names) != all {
		t.Errorf("%d names of %d scenarios", len(names), all)
	}
	plays := all + len(leakScenarios)
	t.Logf("%d scenarios, %d of them by both parties: %d plays on %d grounds, %d in all",
		all, len(leakScenarios), plays, len(grounds), plays*len(grounds))
}
