package proxy_test

import (
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// unusable are Contacts of a redirection to which nobody can be sent on.
var unusable = []string{
	"<sip:carol@sotto.example:0>", "<sip:carol@sotto.example:65536>", "<sip:carol@sotto.example:x>",
	"<sip:carol@:5060>", "<sip:carol@198.51.100.66:0>", "<sip:carol@no.such.example>", "<sip:nobody@sotto.example>",
	"<sip:@sotto.example>", "<sip:>", "<>", "<sip:carol@sotto.example", "<sip:a:b:c@sotto.example>", "*",
	"<tel:+4930123456>", "<mailto:carol@sotto.example>", "<https://sotto.example/>", "carol",
	`"carol" <sip:carol@sotto.example>;q="`, "<sip:carol@sotto.example;transport=pigeon>",
}

// Whatever is in a redirection, its call goes on at once.
func TestRedirectToAnUnusableTargetWaitsForNothing(t *testing.T) {
	for _, to := range unusable {
		for _, protect := range []string{"never", "always"} {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				s.Set("bob", "protect_ip", protect)
				s.Alice.Registers()
				s.Bob.Registers()
				out := s.Alice.Invites("bob")
				in := s.Bob.IsCalled()
				in.Rings()
				out.HearsProgress(180)
				began := time.Now()
				in.Refuses(302, phone.Header("Contact", to))
				out.IsRefused(480)
				if d := time.Since(began); d > time.Second {
					t.Errorf("%s, protect %s: the caller waited %v", to, protect, d)
				}
			}, proxytest.Colleagues)
		}
	}
}

// Beside one that can be reached, the others do not count.
func TestRedirectToUsableAndUnusableTargets(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
			p.Registers()
		}
		out := s.Alice.Invites("bob")
		s.Bob.IsCalled().Refuses(302, phone.Header("Contact",
			"<sip:trap@198.51.100.66:0>, <"+proxytest.URI("carol")+">, <sip:x@y:z>"))
		in := s.Carol.IsCalled()
		in.Answers()
		out.IsAnswered()
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}

// A final with anything else that cannot be read ends its branch all the same.
func TestUnreadableFinalEndsItsBranch(t *testing.T) {
	for _, header := range []phone.Field{
		{Name: "Max-Forwards", Value: "many"},
		{Name: "Record-Route", Value: "<sip:a:0;lr>"},
		{Name: "Content-Type", Value: ""},
		{Name: "Route", Value: "<sip:x@y:0>"},
		{Name: "Refer-To", Value: "<sip:a>, <sip:b>"},
	} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			s.Alice.Registers()
			s.Bob.Registers()
			out := s.Alice.Invites("bob")
			began := time.Now()
			s.Bob.IsCalled().Refuses(486, phone.Headers(header))
			out.IsRefused(486)
			if d := time.Since(began); d > time.Second {
				t.Errorf("%s: %s: the caller waited %v", header.Name, header.Value, d)
			}
		}, proxytest.Colleagues, proxytest.Protect("always"))
	}
}

// An answer that says no place to send the ACK to is none: the caller hears so
// at once, and the phone that gave it is hung up.
func TestAnswerWithoutAUsableContactIsHungUp(t *testing.T) {
	for _, protect := range []string{"", "always"} {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			for _, name := range []string{"alice", "bob"} {
				s.Set(name, "protect_ip", "never")
			}
			s.Alice.Registers()
			s.Bob.Registers()
			out := s.Alice.Invites("bob")
			in := s.Bob.IsCalled()
			in.Rings()
			began := time.Now()
			in.Answers(phone.Contact("<sip:bob@198.51.100.11:0>"))
			out.IsRefused(500)
			in.IsHungUp()
			if d := time.Since(began); d > time.Second {
				t.Errorf("protect %q: it took %v", protect, d)
			}
		}, proxytest.Colleagues, proxytest.Protect(protect))
	}
}

// Requests that name an unusable place are refused where they come from.
func TestRequestWithAnUnusableTargetIsRefused(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		for _, c := range []struct{ method, line string }{
			{"INVITE", "Route: <sip:192.0.2.1:0;lr>"},
			{"INVITE", "Contact: <sip:m@198.51.100.13:0>"},
			{"REGISTER", "Contact: <sip:m@198.51.100.13:0>"},
			{"REFER", "Refer-To: <sip:carol@sotto.example:0>"},
		} {
			began := time.Now()
			got := answerTo(t, s, raw(c.method, proxytest.URI("bob"), "Max-Forwards: 70", c.line))
			if !strings.HasPrefix(got, "SIP/2.0 400") || time.Since(began) > time.Second {
				t.Errorf("%s with %s was answered %q", c.method, c.line, got)
			}
		}
	}, proxytest.Colleagues)
}
