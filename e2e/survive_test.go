package e2e

import (
	"testing"
	"time"
)

// TestAudioSurvivesTheServer kills the server in the middle of a protected
// call. The next one binds the same ports, the phones' audio goes on, and the
// call ends as any other.
func TestAudioSurvivesTheServer(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve(acquainted)
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.baresip("alice", "udp", callerTone), s.linphone("bob", "udp")
	from := time.Now()
	rung := bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)
	bob.plays(calleeTone)
	audible(alice.host)
	audible(bob.host)
	time.Sleep(2 * time.Second) // what packets teach is kept within one

	killed := time.Now()
	s.kill()
	time.Sleep(500 * time.Millisecond)
	starting := time.Now()
	s.start()
	bob.plays(calleeTone) // a recording of what is heard from now on
	audible(alice.host)
	audible(bob.host)
	for _, h := range []*host{alice.host, bob.host} {
		before, after := aroundGap(h, killed)
		t.Logf("%s heard nothing for %v, of which %v were after the start", h.name,
			after.Sub(before).Round(time.Millisecond), after.Sub(starting).Round(time.Millisecond))
	}
	bob.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "bob has heard alice after the restart", func() bool { return bob.hears(callerTone) })
	alice.noTrace(bob.host, from, alice.heard(dialled))
	bob.noTrace(alice.host, from, bob.heard(rung))
	s.idle()
}

// aroundGap is when the last RTP packet before a moment and the first one after
// it reached a host.
func aroundGap(h *host, at time.Time) (before, after time.Time) {
	for _, p := range h.capture.packets() {
		switch {
		case !isRTP(p) || p.dst.Addr() != h.ip:
		case p.at.Before(at):
			before = p.at
		default:
			return before, p.at
		}
	}
	return before, after
}
