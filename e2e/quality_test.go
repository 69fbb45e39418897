package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFirewalledPhone has real phones talk; then a firewall at bob's drops
// the reports that his phone sends, all that it sends over UDP, and then what is
// sent to it. The operator is told so while the call lasts and afterwards, and
// how far alice is at most without reports. Nobody else is.
func TestFirewalledPhone(t *testing.T) {
	t.Parallel()
	inEachPlane(t, func(t *testing.T, plane string) {
		needs(t, "nft")
		l := newLab(t, false)
		l.plane = plane
		s := l.serve(acquainted)
		s.set("alice", "protect_ip", "always")
		s.set("bob", "protect_ip", "always")
		alice, bob := s.linphone("alice", "tcp"), s.baresip("bob", "tcp", calleeTone)
		for _, c := range []struct{ wall, from, said string }{
			{"", "caller", `quality: \S+, lost 0 \(0\.0 %\), jitter \d+\.\d ms, round trip \d+\.\d ms, MOS`},
			{
				"output reports", "caller",
				`quality: \S+, lost 0 \(0\.0 %\), jitter \d+\.\d ms, round trip at most \d+\.\d ms, MOS \d`,
			},
			{"output", "callee", `diagnosis: nothing ever came from the callee's phone: a firewall on its side drops it`},
			{"input", "caller", `diagnosis: the caller's media was sent to ` + bob.ip.String() + `:\d+, but in its reports`},
		} {
			bob.firewall(c.wall)
			told(s, alice, bob, c.from, c.said)
		}
		s.idle()
		s.relayed()
		log := s.proc.text(0)
		for _, h := range []*host{alice.host, bob.host} {
			if strings.Contains(log, h.ip.String()) {
				t.Errorf("the log has %s's address:\n%s", h.name, log)
			}
		}
	})
}

// told is one call. The operator is told a thing of the media from one party.
func told(s *server, caller, callee softphone, from, said string) {
	t := s.lab.t
	t.Helper()
	began := time.Now()
	c := dials(caller, callee)
	caller.plays(callerTone)
	all := lines([]byte(s.sotto("calls")))
	ref, _, _ := strings.Cut(all[len(all)-1], " ")
	what := regexp.MustCompile(said)
	explained := func() bool {
		_, text, _ := strings.Cut(s.sotto("explain", ref), "audio from the "+from)
		text, _, _ = strings.Cut(text, "audio from the")
		return what.MatchString(text)
	}
	eventually(t, "sotto explain says "+said, explained)
	if glance := s.sotto("calls", "--media"); !strings.Contains(glance, "audio from "+from) {
		t.Errorf("sotto calls --media says\n%s", glance)
	}
	caller.hangsUp()
	caller.over(c.dialled)
	callee.over(c.rung)
	eventually(t, "after the call it is said, too", explained)
	t.Log(s.sotto("explain", ref))
	callee.place().firewall("") // the captures' own marks are UDP
	caller.place().noTrace(callee.place(), began, caller.heard(c.dialled))
	callee.place().noTrace(caller.place(), began, callee.heard(c.rung))
}

// firewall drops UDP at a hook of the host's network: all, or reports, which go
// to odd ports; "" drops nothing.
func (h *host) firewall(wall string) {
	h.lab.t.Helper()
	rules := "flush ruleset\n"
	if hook, what, _ := strings.Cut(wall, " "); hook != "" {
		which := map[string]string{"": "meta l4proto udp", "reports": "udp dport & 1 == 1"}[what]
		const all = "table inet wall {\nchain media {\ntype filter hook %s priority 0;\n%s drop;\n}\n}\n"
		rules += fmt.Sprintf(all, hook, which)
	}
	h.lab.in(h.ns, "nft", "-f", h.write("firewall.nft", []byte(rules)))
}
