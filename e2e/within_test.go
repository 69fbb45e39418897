package e2e

import (
	"testing"
	"time"
)

// TestWithinACall has SIPp play what happens inside a protected call and
// around its setup, and checks each time that neither learns of the other.
func TestWithinACall(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newLab(t, false).serve(acquainted)
			s.set("alice", "protect_ip", "always")
			s.set("bob", "protect_ip", "always")
			alice, bob := s.sipp("alice", transport), s.sipp("bob", transport)
			for _, what := range []string{
				"refresh", "move", "callee-asks", "info", "prack", "late-offer", "refer",
				"cancel-early", "cancel-crossed", "busy", "decline",
			} {
				t.Log(what)
				from := time.Now()
				b := bob.awaits(what+"-callee", "-rtp_echo")
				a := alice.play(what+"-caller", "bob")
				a.succeeds()
				b.quits()
				traces(s, alice.host, bob.host, modes[0], from, a.heard(0), b.heard(0))
			}
			s.idle()
		})
	}
}
