package proxy_test

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/internal/ks"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// calls is how many calls each state gets in the comparison of times (facade.md).
const calls = 500

// An observation is what many calls to a recipient in one state tell a stranger.
type observation struct {
	texts  map[string]int             // messages, without what is random
	times  map[string][]time.Duration // of answers, by their first lines, since the INVITE
	random map[string][]time.Duration // parts that are random: their lengths, and characters
}

// randomParts are what masks hide.
var randomParts = map[string]*regexp.Regexp{
	"tag":     regexp.MustCompile(`To: [^\r]*;tag=([^;\r]*)`),
	"contact": regexp.MustCompile(`Contact: <sip:([^@]*)@`),
}

// observe gathers what packets tell.
func observe(packets []phone.Packet) observation {
	o := observation{map[string]int{}, map[string][]time.Duration{}, map[string][]time.Duration{}}
	for _, k := range packets {
		text := string(k.Data)
		o.texts[mask(text)]++
		line, _, _ := strings.Cut(text, "\r\n")
		o.times[line] = append(o.times[line], k.At.Sub(time.Time{}))
		for name, part := range randomParts {
			if m := part.FindStringSubmatch(text); m != nil {
				o.random["length of "+name] = append(o.random["length of "+name], time.Duration(len(m[1])))
				for _, c := range m[1] {
					o.random["characters of "+name] = append(o.random["characters of "+name], time.Duration(c))
				}
			}
		}
	}
	return o
}

// Limits of p. Times are drawn from seeds, so that each run gives the same p. What
// is random in the texts is not, so that a run may fail by chance in one of a million.
const (
	leastTimes = 0.01
	leastTexts = 1e-7
)

// differs says in what two states tell themselves apart; p has the p-value of
// each comparison of times.
func (o observation) differs(from observation) (what []string, p map[string]float64) {
	if !maps.Equal(o.texts, from.texts) {
		what = append(what, "the messages")
	}
	p = map[string]float64{}
	for line := range o.times {
		_, p[line] = ks.Test(o.times[line], from.times[line])
		if p[line] <= leastTimes {
			what = append(what, fmt.Sprintf("times of %s: p = %.3g", line, p[line]))
		}
	}
	for part := range o.random {
		if _, v := ks.Test(o.random[part], from.random[part]); v <= leastTexts {
			what = append(what, fmt.Sprintf("%s: p = %.3g", part, v))
		}
	}
	return what, p
}

// shifted says that of two states whose times chance made the same one is later.
func (o observation) shifted(from observation) []string {
	var what []string
	for line, all := range o.times {
		a, b := slices.Sorted(slices.Values(all)), slices.Sorted(slices.Values(from.times[line]))
		for i := range min(len(a), len(b)) {
			if d := a[i] - b[i]; d < -time.Millisecond || d > time.Millisecond {
				what = append(what, fmt.Sprintf("%s comes %v later", line, d))
				break
			}
		}
	}
	return what
}

// observed is what a stranger gets who calls a recipient in one state often, with
// moments drawn from a seed. Its packets have the time since their INVITE.
func observed(t *testing.T, state recipientState, seed string) (all []phone.Packet) {
	t.Helper()
	proxytest.RunAgain(t, seed, func(t *testing.T, s *proxytest.Stage) {
		state.make(s)
		s.Wait(settled)
		s.Mallory.Asks("MESSAGE", "bob")                                          // no call is challenged
		s.Wait(time.Until(time.Now().Truncate(time.Second).Add(2 * time.Second))) // the same within a tick
		s.Mallory.Forget()
		s.Bob.Forget()
		began := callOften(s, calls)
		for _, k := range s.Mallory.Received(phone.SIP) {
			id := callIDOf.FindSubmatch(k.Data)
			if id == nil {
				t.Fatalf("no Call-ID in:\n%s", k.Data)
			}
			k.At = time.Time{}.Add(k.At.Sub(began[string(id[1])]))
			all = append(all, k)
		}
		if state.quiet {
			onlyNotices(t, s.Bob)
		}
	})
	return all
}

var callIDOf = regexp.MustCompile(`\r\nCall-ID: ([^\r]*)\r`)

// callOften makes many calls, waits for their end and returns when each began. They
// are so far apart that no two race, and a whole number of ticks.
func callOften(s *proxytest.Stage, n int) map[string]time.Time {
	var all []*proxytest.Call
	began := map[string]time.Time{}
	for range n {
		c := s.Mallory.Invites("bob")
		all, began[c.ID()] = append(all, c), time.Now()
		s.Wait(20 * time.Millisecond)
	}
	for _, c := range all {
		c.IsRefused(480)
	}
	return began
}

// TestTimesTellNoState draws the moments of each state anew: their distributions
// must be one.
func TestTimesTellNoState(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of calls")
	}
	var all []observation
	least, pairs := math.Inf(1), 0
	for i, state := range states {
		now := observe(observed(t, state, "times of "+state.name))
		for j, other := range all {
			what, p := now.differs(other)
			for _, w := range what {
				t.Errorf("a stranger tells %q from %q by %s", states[j].name, states[i].name, w)
			}
			for line, v := range p {
				least, pairs = min(least, v), pairs+1
				t.Logf("%s, %q and %q: p = %.3f", line, states[j].name, states[i].name, v)
			}
		}
		for _, code := range []string{"SIP/2.0 180 Ringing", "SIP/2.0 480 Temporarily Unavailable"} {
			if n := len(now.times[code]); n != calls {
				t.Errorf("%s was heard %d times in %d calls", code, n, calls)
			}
		}
		all = append(all, now)
	}
	t.Logf("%d comparisons of %d answers each; the least p is %.4f", pairs, calls, least)
}
