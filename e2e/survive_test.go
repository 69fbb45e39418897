package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAudioSurvivesTheServer kills the server in the middle of a protected
// call, or has it hand over to another binary. The next process binds the same
// ports, the phones' audio goes on, and the call ends as any other. With the
// kernel's plane no packet is lost meanwhile.
func TestAudioSurvivesTheServer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server) (begun time.Time){
		"kill -9": func(s *server) time.Time {
			s.kill()
			time.Sleep(500 * time.Millisecond)
			begun := time.Now()
			s.start()
			return begun
		},
		"hand over": func(s *server) time.Time {
			begun, mark := time.Now(), s.proc.mark()
			s.install(s.bin)
			if err := s.proc.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				s.lab.t.Fatal(err)
			}
			s.proc.says(mark, `handing over to .*; calls go on`)
			s.proc.says(mark, `serving `+domain)
			s.runs()
			return begun
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEachPlane(t, func(t *testing.T, plane string) {
				l := newLab(t, false)
				l.plane, l.installed = plane, true
				s := l.serve(acquainted)
				s.set("alice", "protect_ip", "always")
				s.set("bob", "protect_ip", "always")
				alice, bob := s.baresip("alice", "udp", callerTone), s.linphone("bob", "udp")
				surviveIn(s, alice, bob, end)
			})
		})
	}
}

// install puts a program where the server's is, as a package manager does: a
// new file. That it is another one its last byte says, which nobody reads.
func (s *server) install(from string) {
	t := s.lab.t
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(s.bin+".new", append(text, 'x'), 0o700)
	}
	if err == nil {
		err = os.Rename(s.bin+".new", s.bin)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runs fails unless the process runs the program that is installed now.
func (s *server) runs() {
	t := s.lab.t
	t.Helper()
	now, err1 := os.Stat(s.bin)
	runs, err2 := os.Stat(fmt.Sprintf("/proc/%d/exe", s.proc.cmd.Process.Pid))
	if err1 != nil || err2 != nil || !os.SameFile(now, runs) {
		t.Errorf("the process does not run what was installed: %v, %v", err1, err2)
	}
}

// surviveIn is one call during which the server ends and comes back.
func surviveIn(s *server, alice *baresip, bob *linphone, end func(*server) time.Time) {
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

	r := outage{at: time.Now()}
	r.begun = end(s)
	r.away = time.Since(r.at)
	bob.plays(calleeTone) // and records what is heard from now on
	audible(alice.host)
	audible(bob.host)
	s.gap(r, bob.host, alice.host)
	s.gap(r, alice.host, bob.host)
	s.relayed()
	bob.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "bob has heard alice after the restart", func() bool { return bob.hears(callerTone) })
	alice.noTrace(bob.host, from, alice.heard(dialled))
	bob.noTrace(alice.host, from, bob.heard(rung))
	s.idle()
}

// An outage is when a server ended, when the next one was started, and how
// long nobody could have answered.
type outage struct {
	at, begun time.Time
	away      time.Duration
}

// lease is how long the kernel relays on for a process that is away, at least.
const lease = 1500 * time.Millisecond

// gap says what a restart took of what one phone sent to another: the longest
// time in which nothing came, and the packets that were lost. If the kernel
// relayed there are none, unless the machine was so busy that a lease ended.
func (s *server) gap(r outage, from, to *host) {
	t := s.lab.t
	t.Helper()
	sent := streamOf(from, true)
	to.allPackets() // all that came before is captured
	came := streamOf(to, false)
	lost, last := 0, r.at
	for id, when := range sent {
		_, ok := came[id]
		if !ok && when.After(r.at) && time.Since(when) > onItsWay {
			lost++
			last = later(last, when)
		}
	}
	t.Logf("plane %s, away for %v: %s heard nothing for %v, until %v after the start; lost %d packets of %s, "+
		"who paused for %v at most", s.lab.plane, ms(r.away), to.name, ms(longestGap(to, r.at, false)),
		ms(last.Sub(r.begun)), lost, from.name, ms(longestGap(from, r.at, true)))
	if s.lab.plane == kernelPlane && r.away < lease && lost > 0 {
		t.Errorf("%d packets were lost, the last of them %v after the server's end", lost, last.Sub(r.at))
	}
}

func ms(d time.Duration) time.Duration { return max(0, d.Round(time.Millisecond)) }

// onItsWay is how long a packet may take.
const onItsWay = 2 * time.Second

// streamOf are the RTP packets that a host sent, or got.
func streamOf(h *host, out bool) map[[6]byte]time.Time {
	found := map[[6]byte]time.Time{}
	for _, p := range h.capture.packets() {
		if isRTP(p) && (p.src.Addr() == h.ip) == out {
			var id [6]byte // SSRC and sequence number, which the relay leaves as they are
			copy(id[:4], p.payload[8:12])
			copy(id[4:], p.payload[2:4])
			found[id] = p.at
		}
	}
	return found
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// longestGap is the longest time between two RTP packets that a host sent, or
// got, from a moment on.
func longestGap(h *host, at time.Time, out bool) (longest time.Duration) {
	for _, p := range h.capture.packets() {
		if isRTP(p) && (p.src.Addr() == h.ip) == out && p.at.After(at) {
			longest, at = max(longest, p.at.Sub(at)), p.at
		}
	}
	return longest
}

// remembers waits until so many silenced calls of a caller's to bob are on disk:
// the diary is written within a second, if the disk is not busy.
func (s *server) remembers(caller string, calls int) {
	s.lab.t.Helper()
	eventually(s.lab.t, "silenced calls are on disk", func() bool {
		return strings.Count(s.sotto("silenced", "list", "bob@"+domain), caller+"@") == calls
	})
}

// TestSilencedCallSurvivesTheServer kills the server soon after a call that was
// silenced, while the recipient has no phone: the next process tells of it, once.
func TestSilencedCallSurvivesTheServer(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve("")
	s.set("bob", "silence_strangers", "on")
	mallory := s.sipp("mallory", "udp")
	mallory.play("giveup", "bob", "-d", "300").succeeds()
	s.remembers("mallory", 1)
	s.kill()
	s.start()
	s.remembers("mallory", 1)
	from := time.Now()
	bob := s.linphone("bob", "udp")
	noticed(bob, 0, from, "mallory", mallory.host)
	time.Sleep(4 * time.Second) // longer than a notice waits here
	if n := strings.Count(bob.heard(0), "Message received from sip:silenced-calls@"); n != 1 {
		t.Errorf("bob was told %d times", n)
	}
}
