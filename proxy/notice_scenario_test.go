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

// notices are the texts of the notices that a phone has received so far.
func notices(s *proxytest.Stage, p *proxytest.Phone) []string {
	var all []string
	for _, k := range p.Received(phone.SIP) {
		if head, body, _ := strings.Cut(string(k.Data), "\r\n\r\n"); strings.HasPrefix(head, "MESSAGE ") {
			if !strings.Contains(head, "From: <sip:silenced-calls@"+proxytest.Domain+">") {
				s.T().Errorf("a notice does not come from the service:\n%s", k.Data)
			}
			all = append(all, body)
		}
	}
	return all
}

// tell fails the test if the notices are others than these.
func tell(s *proxytest.Stage, p *proxytest.Phone, want ...string) {
	s.T().Helper()
	got := notices(s, p)
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		s.T().Errorf("%s was told %q; want %q", p.User, got, want)
	}
}

func TestNoticeTellsOfASilencedCallAfterAWhile(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		began := time.Now()
		out := s.Mallory.Invites("bob")
		req := s.Bob.Gets("MESSAGE")
		if took := time.Since(began); took < 2*time.Second || took > 21*time.Second {
			t.Errorf("the notice came after %v", took)
		}
		if h := req.GetHeader("Contact"); h != nil {
			t.Errorf("the notice has a contact: %v", h)
		}
		out.IsRefused(480)
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

func TestNoticeCountsCallsThatComeTogether(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		for range 3 {
			tries(s.Mallory, "bob")
		}
		tries(s.Carol, "bob")
		s.Wait(time.Minute)
		tell(s, s.Bob, "4 silenced calls:\n3 from mallory@sotto.example, last 2027-01-04 09:00 UTC\n"+
			"1 from carol@sotto.example, last 2027-01-04 09:00 UTC")
		s.Wait(time.Hour)
		if got := len(notices(s, s.Bob)); got != 1 {
			t.Errorf("%d notices", got)
		}
	})
}

// tries calls and gives up soon.
func tries(caller *proxytest.Phone, to string) {
	out := caller.Invites(to)
	out.HearsProgress(100)
	out.GivesUp()
}

func TestNoticeWaitsForAnOfflineUser(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "on")
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Hour)
		s.Bob.Registers()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
		s.Bob.Registers()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
	})
}

func TestNoticeThatNoPhoneTakesIsToldAgain(t *testing.T) {
	screened(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("MESSAGE", 480) })
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Minute)
		s.Bob.Forget()
		s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("MESSAGE", 0) })
		s.Bob.Registers()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
	})
}

func TestNoticeSurvivesARestart(t *testing.T) {
	screened(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Mallory.Invites("bob")
		out.HearsProgress(100)
		s.Wait(100 * time.Millisecond)
		s.Restart()
		s.Bob.Forget()
		s.Bob.Registers()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
	})
}

func TestNoticesThatAreSwitchedOff(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "notices", "off")
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Minute)
		tell(s, s.Bob)
		kept, err := s.Store.ListSilenced(proxytest.AOR("bob"), 10)
		if err != nil || len(kept) != 1 || kept[0].Caller != "mallory@sotto.example" {
			t.Errorf("kept %+v, %v", kept, err)
		}
	})
}

func TestNoticeNamesACallerAsAnAddressOnly(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) {
			c.Domain, c.Display = "evil.example", "Your bank, http://evil.example/"
		})
		eve.Invites("bob", phone.From(`"Bank" <sip:http%3A%2F%2Fevil@evil.example>`)).IsRefused(480)
		s.Wait(time.Minute)
		for _, n := range notices(s, s.Bob) {
			if strings.Contains(n, "http:") || strings.Contains(n, "Bank") || strings.Contains(n, "/") {
				t.Errorf("bob was told %q", n)
			}
		}
		if len(notices(s, s.Bob)) != 1 {
			t.Error("bob was told nothing")
		}
	})
}

func TestNoticeGoesToEveryDevice(t *testing.T) {
	screened(t, func(_ *testing.T, s *proxytest.Stage) {
		desk := s.Phone("bob")
		desk.Registers()
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Minute)
		for _, p := range []*proxytest.Phone{s.Bob, desk} {
			tell(s, p, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
		}
	})
}
