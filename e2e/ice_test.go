package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// withICE has linphonec do ICE.
const withICE = "[nat_policy_0]\nref=ice\nprotocols=ice\n[net]\nnat_policy_ref=ice"

// TestICE: a phone that offers ICE does it with the engine, and finds its one
// candidate; the other phone does its own, or none. Neither sees a candidate
// of the other's.
func TestICE(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			s := l.serve(acquainted)
			s.set("alice", "protect_ip", "always")
			s.set("bob", "protect_ip", "always")
			l.behind(symmetric, "carol")
			s.set("carol", "protect_ip", "always")
			alice, bob := s.linphone("alice", transport, withICE), s.baresip("bob", transport, calleeTone)
			checks(t, s, alice, bob)
			carol := s.linphone("carol", transport, withICE)
			checks(t, s, alice, carol)
			s.idle()
		})
	}
}

var candidates = regexp.MustCompile(`(?m)^a=candidate:.*$`)

// checks is a call by a phone with ICE.
func checks(t *testing.T, s *server, caller *linphone, callee softphone) {
	t.Helper()
	from := time.Now()
	c := dials(caller, callee)
	caller.p.says(c.dialled, `Finished ICE check list .* processing (successfully)`)
	c.heardBothWays()
	caller.hangsUp()
	c.isOver()
	heard := caller.heard(c.dialled)
	if !strings.Contains(heard, "a=ice-lite") {
		t.Error("the caller was answered without ICE")
	}
	for _, line := range candidates.FindAllString(heard, -1) {
		if strings.Contains(line, callee.place().ip.String()) {
			t.Errorf("the caller has seen %q", line)
		}
	}
	callee.place().noTrace(caller.place(), from, callee.heard(c.rung))
	caller.place().noTrace(callee.place(), from, heard)
}
