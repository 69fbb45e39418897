package proxy_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/internal/memnet"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// stays lets time pass for somebody whose phone stays registered.
func stays(s *proxytest.Stage, p *proxytest.Phone, d time.Duration) {
	for ; d > 0; d -= 30 * time.Minute {
		p.Registers()
		s.Wait(min(d, 30*time.Minute))
	}
	p.Registers()
}

// counted is of how many calls these notices tell together.
func counted(t *testing.T, texts []string) (calls int) {
	t.Helper()
	for _, text := range texts {
		first, _, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(first)
		if err != nil {
			n = 1
		}
		calls += n
	}
	return calls
}

// A caller who calls all day causes a few notices, and in the end each of the
// calls has been told of once.
func TestNoticesOfOneCallerAreFew(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		const calls = 96
		for range calls {
			tries(s.Mallory, "bob")
			stays(s, s.Bob, 15*time.Minute)
			s.Mallory.Registers()
		}
		if n := len(notices(s, s.Bob)); n < 3 || n > 7 {
			t.Errorf("%d notices in a day", n)
		}
		stays(s, s.Bob, 7*time.Hour)
		if n := counted(t, notices(s, s.Bob)); n != calls {
			t.Errorf("bob was told of %d calls; want %d", n, calls)
		}
	})
}

// Many callers together cause few notices, too, whether somebody vouches for
// them or not.
func TestNoticesOfManyCallersAreFew(t *testing.T) {
	trunk := func(c *configs.Config) {
		c.Peers = []configs.Peer{{Name: "trunk", Trusted: true, Addresses: prefixes("198.51.100.14")}}
	}
	vouched := func(i int) phone.Option {
		return phone.Header("P-Asserted-Identity", fmt.Sprintf("<sip:+1555%04d@pstn.example>", i))
	}
	claimed := func(i int) phone.Option {
		return phone.From(fmt.Sprintf("<sip:caller%d@evil%d.example>", i, i))
	}
	t.Run("vouched for", func(t *testing.T) {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) { manyCall(t, s, "gateway", vouched, 6, 12) }, trunk)
	})
	t.Run("claimed", func(t *testing.T) {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) { manyCall(t, s, "eve", claimed, 3, 4) }, trunk)
	})
}

// manyCall has 72 callers call bob in six hours, and counts his notices in that time.
func manyCall(t *testing.T, s *proxytest.Stage, from string, as func(int) phone.Option, least, most int) {
	t.Helper()
	s.Set("bob", "silence_strangers", "on")
	s.Bob.Registers()
	phones := map[string]*proxytest.Phone{}
	for _, name := range []string{"gateway", "eve"} {
		phones[name] = s.Phone(name, func(p *phone.Config) { p.Domain = name + ".example" })
	}
	const calls = 72
	for i := range calls {
		out := phones[from].Invites("bob", as(i))
		out.HearsProgress(180)
		out.GivesUp()
		stays(s, s.Bob, 5*time.Minute)
	}
	if n := len(notices(s, s.Bob)); n < least || n > most {
		t.Errorf("%d notices in six hours: %q", n, notices(s, s.Bob))
	}
	stays(s, s.Bob, 7*time.Hour)
	if n := counted(t, notices(s, s.Bob)); n != calls {
		t.Errorf("bob was told of %d calls; want %d", n, calls)
	}
}

// While a phone has not answered a notice there is no other one of the same
// calls, whatever the phone and the callers do.
func TestNoticeThatIsNotAnsweredYet(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		deaf := true
		s.Net.Decide(func(d memnet.Datagram) memnet.Fate {
			return memnet.Fate{Lost: deaf && strings.Contains(string(d.Data), " MESSAGE\r\n") &&
				strings.HasPrefix(string(d.Data), "SIP/2.0 200")}
		})
		tries(s.Mallory, "bob")
		s.Bob.Gets("MESSAGE")
		for range 5 {
			s.Bob.Registers()
			tries(s.Carol, "bob")
			s.Wait(5 * time.Second)
		}
		deaf = false
		stays(s, s.Bob, time.Hour)
		ids := map[string]bool{}
		for _, k := range s.Bob.Received(phone.SIP) {
			if strings.HasPrefix(string(k.Data), "MESSAGE ") {
				ids[regexp.MustCompile(`Call-ID: (\S+)`).FindString(string(k.Data))] = true
			}
		}
		texts := slices.Compact(notices(s, s.Bob)) // retransmitted
		if len(ids) != 2 || counted(t, texts) != 6 {
			t.Errorf("%d notices: %q", len(ids), texts)
		}
	})
}

// A server that is started again tells whom it still owes a notice, without
// being asked; whom it has told it tells nothing more.
func TestNoticeAfterARestart(t *testing.T) {
	screened(t, func(_ *testing.T, s *proxytest.Stage) {
		tries(s.Mallory, "bob")
		s.Wait(100 * time.Millisecond)
		s.Bob.Forget()
		s.Restart()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
		s.Restart()
		s.Bob.Registers()
		s.Wait(time.Minute)
		tell(s, s.Bob, "Silenced call from mallory@sotto.example (audio), 2027-01-04 09:00 UTC.")
	})
}

// What was told before a restart counts after it: a server that is started again
// and again is no way to tell somebody more often.
func TestNoticesAreFewOverRestarts(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		const calls = 24
		for range calls {
			tries(s.Mallory, "bob")
			s.Wait(time.Minute)
			s.Restart()
			stays(s, s.Bob, 14*time.Minute)
			s.Mallory.Registers()
		}
		if n := len(notices(s, s.Bob)); n < 3 || n > 4 {
			t.Errorf("%d notices in six hours; want 3, and one more with the sixth hour", n)
		}
		stays(s, s.Bob, 7*time.Hour)
		if n := counted(t, notices(s, s.Bob)); n != calls {
			t.Errorf("bob was told of %d calls; want %d", n, calls)
		}
	})
}

// When a notice comes says nothing of when the call came: the times between
// are spread evenly from 2 to 20 seconds.
func TestNoticeIsNotAlikeInTime(t *testing.T) {
	var waits []float64
	for range 12 {
		screened(t, func(_ *testing.T, s *proxytest.Stage) {
			for range 3 {
				for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol} {
					s.Set(p.User, "silence_strangers", "on")
					from := time.Now()
					tries(s.Mallory, p.User)
					p.Gets("MESSAGE")
					waits = append(waits, time.Since(from).Seconds())
					s.Wait(time.Minute)
				}
			}
		})
	}
	slices.Sort(waits)
	var d float64 // of Kolmogorov and Smirnov
	for i, w := range waits {
		even := (w - 2) / 18
		d = max(d, math.Abs(even-float64(i)/float64(len(waits))), math.Abs(even-float64(i+1)/float64(len(waits))))
	}
	// 0.3 is exceeded by chance once in a hundred million runs of 108.
	if d > 0.3 || waits[0] < 2 || waits[len(waits)-1] > 20.5 {
		t.Errorf("n = %d, D = %.2f, from %.2f to %.2f s", len(waits), d, waits[0], waits[len(waits)-1])
	}
	t.Logf("n = %d, D = %.2f", len(waits), d)
}

// Who asked to be nobody is nobody in a notice, too.
func TestNoticeOfACallerWhoIsAnonymous(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		for _, o := range []phone.Option{
			phone.From(`"Anonymous" <sip:anonymous@` + proxytest.Domain + `>`),
			phone.Header("Privacy", "user"),
			phone.Header("Privacy", "header;id"),
		} {
			out := s.Mallory.Invites("bob", o)
			out.HearsProgress(100)
			out.GivesUp()
		}
		s.Wait(time.Minute)
		tell(s, s.Bob, "3 silenced calls:\n3 from anonymous, last 2027-01-04 09:00 UTC")
		kept, err := s.Store.ListSilenced(proxytest.AOR("bob"), 10)
		if err != nil || len(kept) != 3 || strings.Contains(fmt.Sprint(kept), "mallory") {
			t.Errorf("kept: %+v, %v", kept, err)
		}
	})
}

// What nobody has checked is called so, and no character of it means anything
// but itself: no other script, no direction, no capital I for an l.
func TestNoticeOfAClaimedAddress(t *testing.T) {
	for from, want := range map[string]string{
		"<sip:bank@EviI.example>":                 "bank@evii.example",
		"<sip:р\u0430y\u200bpal@evil.example>":    "??y?pal@evil.example",
		"<sip:\u202egro.knab@evil.example>":       "?gro.knab@evil.example",
		"<sip:%E2%80%AEx%0D%0A@evil.example>":     "?e2?80?aex?0d?0a@evil.example",
		"<sip:https%3A%2F%2Fx.y@evil.example>":    "https?3a?2f?2fx.y@evil.example",
		"<sip:a,b&c=d@evil.example>":              "a?b?c?d@evil.example",
		"<sip:bank@xn--pypal-4ve.example;x=y>":    "bank@xn--pypal-4ve.example",
		`"alice@sotto.example" <sip:e@e.example>`: "e@e.example",
	} {
		screened(t, func(_ *testing.T, s *proxytest.Stage) {
			s.Bob.Forget()
			eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
			eve.Invites("bob", phone.From(from)).IsRefused(480)
			s.Wait(time.Minute)
			tell(s, s.Bob, "Silenced call from "+want+" (not verified) (audio), 2027-01-04 09:00 UTC.")
		})
	}
}
