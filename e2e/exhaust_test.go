package e2e

import (
	"bytes"
	"testing"
	"time"
)

// TestExhaustedEngine gives the media engine ports for one call. The second
// protected call fails closed: a known caller hears 503, the callee's line
// carries nothing of it. When the ports have rested, calls go through again.
func TestExhaustedEngine(t *testing.T) {
	t.Parallel()
	l := newLab(t, false)
	l.media = ", ports: 20000-20003, rest: 1s"
	s := l.serve(acquainted)
	for _, u := range []string{"alice", "bob", "carol", "mallory"} {
		s.set(u, "protect_ip", "always")
	}
	alice, bob, carol := s.linphone("alice", "udp"), s.linphone("bob", "udp"), s.linphone("carol", "udp")
	rung := bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)

	from := time.Now()
	mallory := s.sipp("mallory", "udp")
	r := mallory.play("unavailable", "carol")
	r.succeeds()
	for _, p := range since(carol.allPackets(), from) {
		if p.dst.Addr() == carol.ip && len(bytes.TrimSpace(p.payload)) > 0 {
			t.Errorf("something of the call that failed is on the callee's line: %s", p)
		}
	}

	alice.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "the ports have rested", func() bool { return s.status("resting ports") == 0 })
	from, rung = time.Now(), carol.mark()
	r = mallory.play("giveup", "carol", "-d", "300")
	rang(carol, rung, from)
	r.succeeds()
	carol.noTrace(mallory.host, from, carol.heard(rung))
	s.idle()
}
