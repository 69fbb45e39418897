package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// A recipientState is one that no stranger can tell from the others.
type recipientState struct {
	name  string
	make  func(s *proxytest.Stage)
	quiet bool // no stranger's message reaches the phone
}

var states = []recipientState{
	{"rings", func(s *proxytest.Stage) { s.Bob.Registers() }, false},
	{"silences", func(s *proxytest.Stage) {
		s.Bob.Registers()
		s.Set("bob", "silence_strangers", "on")
	}, true},
	{"blocked", func(s *proxytest.Stage) {
		s.Bob.Registers()
		s.Block("bob", "mallory")
	}, true},
	{"offline", func(*proxytest.Stage) {}, true},
	{"offline and silences", func(s *proxytest.Stage) { s.Set("bob", "silence_strangers", "on") }, true},
	{"busy", func(s *proxytest.Stage) { registersAndRefuses(s, 486) }, false},
	{"declines", func(s *proxytest.Stage) { registersAndRefuses(s, 603) }, false},
	{"moved", func(s *proxytest.Stage) { registersAndRefuses(s, 302) }, false},
	{"does not exist", func(s *proxytest.Stage) {
		if err := s.Store.DeleteUser(proxytest.AOR("bob")); err != nil {
			s.T().Fatal(err)
		}
	}, true},
}

func registersAndRefuses(s *proxytest.Stage, code int) {
	s.Bob.Registers()
	s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("INVITE", code) })
}

// A hearing is one message that came to a stranger: when, since the script
// began, and its text without what differs by chance.
type hearing struct {
	at   time.Duration
	text string
}

// hearings are what packets say. A TCP connection may bring several at once.
func hearings(packets []phone.Packet, began time.Time) []hearing {
	var all []hearing
	for _, k := range packets {
		all = append(all, hearing{k.At.Sub(began), mask(string(k.Data))})
	}
	return all
}

// tellsApart says what tells two states apart of which one stranger heard the one
// and another the other, while chance played the same to both; "" if nothing.
func tellsApart(one, other []hearing) string {
	for i := range max(len(one), len(other)) {
		switch {
		case i >= len(one):
			return fmt.Sprintf("only the second hears, at %v:\n%s", other[i].at, other[i].text)
		case i >= len(other):
			return fmt.Sprintf("only the first hears, at %v:\n%s", one[i].at, one[i].text)
		case one[i].text != other[i].text:
			return fmt.Sprintf("message %d is to the first:\n%s\nand to the second:\n%s", i, one[i].text, other[i].text)
		case one[i].at != other[i].at:
			line, _, _ := strings.Cut(one[i].text, "\r\n")
			return fmt.Sprintf("message %d, %s, comes to the first at %v, to the second at %v",
				i, line, one[i].at, other[i].at)
		}
	}
	return ""
}

// settled is how long it takes until nothing of a registration is left.
const settled = time.Minute

// stranger plays what mallory does in each state of bob, and each time the same
// moments by chance. What she hears, without what is random, must be the same,
// to the microsecond; and where bob is quiet, no packet may reach his phone but
// the notice.
func stranger(t *testing.T, does func(t *testing.T, s *proxytest.Stage), opts ...proxytest.Option) {
	t.Helper()
	var heard []hearing
	for i, state := range states {
		t.Run(state.name, func(t *testing.T) {
			proxytest.RunAgain(t, t.Name()[:strings.LastIndex(t.Name(), "/")], func(t *testing.T, s *proxytest.Stage) {
				now := listen(t, s, state, does)
				if i == 0 {
					heard = now
				}
				if d := tellsApart(heard, now); d != "" {
					t.Errorf("mallory tells %q (first) from %q (second): %s", states[0].name, state.name, d)
				}
			}, opts...)
		})
	}
}

// listen plays what mallory does to bob in one state and returns what she hears.
func listen(t *testing.T, s *proxytest.Stage, state recipientState, does func(*testing.T, *proxytest.Stage)) []hearing {
	t.Helper()
	state.make(s)
	s.Wait(time.Until(time.Now().Truncate(time.Minute).Add(2 * time.Minute))) // the same within a tick
	s.Bob.Forget()
	began := time.Now()
	does(t, s)
	s.Wait(time.Second)
	if state.quiet && (state.name != "blocked" || s.Mallory.User == "mallory") {
		onlyNotices(t, s.Bob)
	}
	return hearings(s.Mallory.Received(phone.SIP), began)
}

// onlyNotices fails the test if a packet reached a phone that is not the notice.
func onlyNotices(t *testing.T, p *proxytest.Phone) {
	t.Helper()
	for _, k := range p.Received() {
		if text := string(k.Data); !strings.HasPrefix(text, "MESSAGE ") || !strings.Contains(text, "sip:silenced-calls@") {
			t.Errorf("a stranger's doing reached %s:\n%s", p.User, text)
		}
	}
}
