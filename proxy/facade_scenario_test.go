package proxy_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// states are those of a recipient that no stranger can tell apart.
var states = []struct {
	name string
	make func(s *proxytest.Stage)
}{
	{"rings", func(s *proxytest.Stage) { s.Bob.Registers() }},
	{"silences", func(s *proxytest.Stage) {
		s.Bob.Registers()
		s.Set("bob", "silence_strangers", "on")
	}},
	{"blocked", func(s *proxytest.Stage) {
		s.Bob.Registers()
		s.Block("bob", "mallory")
	}},
	{"offline", func(*proxytest.Stage) {}},
	{"offline and silences", func(s *proxytest.Stage) { s.Set("bob", "silence_strangers", "on") }},
	{"busy", func(s *proxytest.Stage) { registersAndRefuses(s, 486) }},
	{"declines", func(s *proxytest.Stage) { registersAndRefuses(s, 603) }},
	{"moved", func(s *proxytest.Stage) { registersAndRefuses(s, 302) }},
	{"does not exist", func(s *proxytest.Stage) {
		if err := s.Store.DeleteUser(proxytest.AOR("bob")); err != nil {
			s.T().Fatal(err)
		}
	}},
}

func registersAndRefuses(s *proxytest.Stage, code int) {
	s.Bob.Registers()
	s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("INVITE", code) })
}

// stranger plays what mallory does in each state of bob. All that she hears,
// without what differs by chance, must be the same.
func stranger(t *testing.T, does func(t *testing.T, s *proxytest.Stage), opts ...proxytest.Option) {
	t.Helper()
	heard, first := "", ""
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				state.make(s)
				does(t, s)
				s.Wait(time.Second)
				switch now := masked(s.Mallory); {
				case first == "":
					heard, first = now, state.name
				case now != heard:
					t.Errorf("mallory hears:\n%s\nbut when bob %s:\n%s", now, first, heard)
				}
			}, opts...)
		})
	}
}

// around says that moments are one, and between lo and hi, with 20 ms for the
// network and the resolution of timers.
func around(t *testing.T, what string, at []time.Duration, lo, hi time.Duration) {
	t.Helper()
	if len(at) != 1 || at[0] < lo || at[0] > hi+20*time.Millisecond {
		t.Errorf("%s came at %v; want once between %v and %v", what, at, lo, hi)
	}
}

func TestStrangerHearsTheSameInEveryState(t *testing.T) {
	stranger(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Registers()
		out := s.Mallory.Invites("bob")
		out.HearsProgress(100)
		began := time.Now()
		out.IsRefused(480)
		around(t, "100", s.Mallory.HeardAt(100, began.Add(-20*time.Millisecond)), 0, 20*time.Millisecond)
		around(t, "180", s.Mallory.HeardAt(180, began), 800*time.Millisecond, 2500*time.Millisecond)
		around(t, "480", s.Mallory.HeardAt(480, began), 26500*time.Millisecond, 29500*time.Millisecond)
	})
}

func TestStrangerWithoutAnAccountHearsTheSame(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		s.Mallory = eve
		eve.Invites("bob").IsRefused(480)
	})
}

func TestStrangerWithReliableProvisionals(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Mallory.Invites("bob", phone.Header("Require", "100rel"))
		res := out.HearsProgress(180)
		if res.GetHeader("RSeq") == nil {
			s.T().Error("the 180 is not reliable")
		}
		s.Wait(2 * time.Second)
		if code := out.Asks("UPDATE"); code != 500 {
			s.T().Errorf("UPDATE was answered %d", code)
		}
		for _, method := range []string{"INFO", "OPTIONS"} {
			if code := out.Asks(method); code != 200 {
				s.T().Errorf("%s was answered %d", method, code)
			}
		}
		out.IsRefused(480)
	})
}

func TestStrangerWithALateOffer(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Mallory.Invites("bob", phone.LateOffer()).IsRefused(480)
	})
}

func TestStrangerSendsTheInviteAgain(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		var invite []byte
		s.Net.Watch(func(from, _ string, b []byte) {
			if strings.HasPrefix(from, "mallory") && strings.HasPrefix(string(b), "INVITE ") {
				invite = b
			}
		})
		out := s.Mallory.Invites("bob")
		for _, code := range []int{100, 180} {
			out.HearsProgress(code)
			s.Mallory.Does(func(context.Context) error { return s.Mallory.Send(invite) })
		}
		out.IsRefused(480)
	})
}

func TestStrangersOtherRequestsInEveryState(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("OPTIONS", 486) })
		for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "INFO", "REFER", "PUBLISH"} {
			s.Mallory.Asks(method, "bob", phone.Header("Event", "presence"))
		}
		s.Bob.HearsNothing()
	})
}

func TestStrangerGivesUp(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			stranger(t, func(t *testing.T, s *proxytest.Stage) {
				out := s.Mallory.Invites("bob")
				s.Wait(after)
				began := time.Now()
				out.GivesUp()
				around(t, "487", s.Mallory.HeardAt(487, began), 5*time.Millisecond, 20*time.Millisecond)
				if s.Bob.Heeds("BYE") {
					t.Error("bob got a BYE")
				}
			})
		})
	}
}

func TestOnlyTheAnswerCrossesTheFacade(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings(phone.EarlyMedia())
		s.Wait(10 * time.Second)
		in.Answers()
		out.IsAnswered()
		for _, l := range s.Mallory.Heard() {
			if strings.HasPrefix(l, "SIP/2.0 183") {
				t.Error("bob's 183 reached a stranger")
			}
		}
		proxytest.Talk(out, in)
		for _, c := range []*proxytest.Call{out, in} {
			c.Does(c.Hold)
			c.Does(c.Resume)
		}
		in.HangsUp()
		out.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

func TestAnswerAfterTheFacadeGaveUp(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		out.IsRefused(480)
		in.IsGivenUp()
		s.Bob.KnowsNothingOf(s.Mallory)
	})
}

// calls is how many calls each state gets in the comparison of times.
const calls = 400

func TestTimesTellNoState(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of calls")
	}
	samples := map[int][][]time.Duration{180: nil, 480: nil}
	for _, state := range states {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			state.make(s)
			began := time.Now()
			callOften(s.Mallory, "bob")
			for code := range samples {
				at := s.Mallory.HeardAt(code, began)
				if len(at) != calls {
					t.Errorf("%d was heard %d times in %d calls", code, len(at), calls)
				}
				samples[code] = append(samples[code], at)
			}
		})
	}
	for code, all := range samples {
		for i := range all {
			alike(t, code, all[:i], all[i])
		}
	}
}

// alike fails the test if a sample of times differs from one of others, as
// Kolmogorov and Smirnov measure it, by more than chance does in one of a million.
func alike(t *testing.T, code int, others [][]time.Duration, sample []time.Duration) {
	t.Helper()
	for i, other := range others {
		if d, limit := distance(other, sample), 2.69*math.Sqrt(2.0/calls); d > limit {
			t.Errorf("%d tells %q from %q: distance %.3f; want at most %.3f",
				code, states[i].name, states[len(others)].name, d, limit)
		}
	}
}

// callOften makes many calls at once and waits for their end.
func callOften(caller *proxytest.Phone, to string) {
	var all []*proxytest.Call
	for range calls {
		all = append(all, caller.Invites(to))
	}
	for _, c := range all {
		c.IsRefused(480)
	}
}

// distance is the largest distance between the distributions of two samples.
func distance(a, b []time.Duration) float64 {
	slices.Sort(a)
	slices.Sort(b)
	most, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		at := min(a[i], b[j])
		for i < len(a) && a[i] <= at {
			i++
		}
		for j < len(b) && b[j] <= at {
			j++
		}
		most = max(most, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return most
}

// An answer that cannot be made safe leaves the facade at its work: the
// stranger hears it to its end, as if nobody had answered.
func TestFacadeSurvivesAnUnsafeAnswer(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("bob", "silence_strangers", "off")
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		if err := in.Answer(t.Context(), phone.Body("application/sdp", "no description")); err != nil {
			t.Logf("bob's answer: %v", err)
		}
		out.IsRefused(480)
		in.IsOver()
	})
}
