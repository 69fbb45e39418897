package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAudioSurvivesTheServer kills the server in the middle of a protected
// call, or has it hand over to another binary. The next process binds the same
// ports, the phones' audio goes on, and the call ends as any other.
func TestAudioSurvivesTheServer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server){
		"kill -9": func(s *server) {
			s.kill()
			time.Sleep(500 * time.Millisecond)
			s.start()
		},
		"hand over": func(s *server) {
			mark := s.proc.mark()
			if err := s.proc.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				s.lab.t.Fatal(err)
			}
			s.proc.says(mark, `handing over to .*; calls go on`)
			s.proc.says(mark, `serving `+domain)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLab(t, false).serve(acquainted)
			s.set("alice", "protect_ip", "always")
			s.set("bob", "protect_ip", "always")
			alice, bob := s.baresip("alice", "udp", callerTone), s.linphone("bob", "udp")
			surviveIn(s, alice, bob, end)
		})
	}
}

// surviveIn is one call during which the server ends and comes back.
func surviveIn(s *server, alice *baresip, bob *linphone, end func(*server)) {
	t := s.lab.t
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

	at := time.Now()
	end(s)
	bob.plays(calleeTone) // and records what is heard from now on
	audible(alice.host)
	audible(bob.host)
	for _, h := range []*host{alice.host, bob.host} {
		t.Logf("%s heard nothing for %v", h.name, longestGap(h, at).Round(time.Millisecond))
	}
	bob.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "bob has heard alice after the restart", func() bool { return bob.hears(callerTone) })
	alice.noTrace(bob.host, from, alice.heard(dialled))
	bob.noTrace(alice.host, from, bob.heard(rung))
	s.idle()
}

// longestGap is the longest time between two RTP packets that reached a host
// from a moment on.
func longestGap(h *host, at time.Time) (longest time.Duration) {
	for _, p := range h.capture.packets() {
		if isRTP(p) && p.dst.Addr() == h.ip && p.at.After(at) {
			longest, at = max(longest, p.at.Sub(at)), p.at
		}
	}
	return longest
}

// TestSilencedCallSurvivesTheServer kills the server two seconds after a call that
// was silenced, while the recipient has no phone: the next process tells of it, once.
func TestSilencedCallSurvivesTheServer(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve("")
	s.set("bob", "silence_strangers", "on")
	mallory := s.sipp("mallory", "udp")
	mallory.play("giveup", "bob", "-d", "300").succeeds()
	time.Sleep(2 * time.Second) // the diary's second, and one for a disk that is busy
	s.kill()
	s.start()
	if list := s.sotto("silenced", "list", "bob@"+domain); strings.Count(list, "mallory@") != 1 {
		t.Errorf("of mallory's call the next process knows:\n%s", list)
	}
	from := time.Now()
	bob := s.linphone("bob", "udp")
	noticed(bob, 0, from, "mallory", mallory.host)
	time.Sleep(4 * time.Second) // longer than a notice waits here
	if n := strings.Count(bob.heard(0), "Message received from sip:silenced-calls@"); n != 1 {
		t.Errorf("bob was told %d times", n)
	}
}
