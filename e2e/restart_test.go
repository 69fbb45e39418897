package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestRestartInMidCall kills the server in the middle of a protected call and
// starts it again: hold, resume and hanging up still find their way, since the
// dialog is sealed into the messages.
func TestRestartInMidCall(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			restart(t, transport, chosenPlane())
		})
	}
	t.Run("udp", func(t *testing.T) {
		t.Parallel()
		inEachPlane(t, func(t *testing.T, plane string) { restart(t, "udp", plane) })
	})
}

// restart is one call.
func restart(t *testing.T, transport, plane string) {
	l := newLab(t, false)
	l.plane = plane
	s := l.serve(acquainted)
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.linphone("alice", transport), s.linphone("bob", transport)
	from := time.Now()
	rung := bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)
	bob.plays(calleeTone) // without media linphonec gives up after 30 s
	alice.plays(callerTone)
	audible(alice.host)
	audible(bob.host)
	gone := []int{alice.mark(), bob.mark()}
	s.kill()
	s.start()
	if transport != "udp" { // the phones notice, and register again
		alice.comesBack(gone[0])
		bob.comesBack(gone[1])
	}
	alice.holds(bob)
	bob.plays(calleeTone)
	alice.plays(callerTone)
	audible(alice.host)
	audible(bob.host)
	s.relayed()
	bob.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "bob has heard alice", func() bool { return bob.hears(callerTone) })
	eventually(t, "alice has heard bob", func() bool { return alice.hears(calleeTone) })
	bob.noTrace(alice.host, from, bob.heard(rung))
	alice.noTrace(bob.host, from, alice.heard(dialled))
	s.idle()
}

// comesBack waits until the phone has registered again. linphonec tries once
// at once, and if the server is not up yet again after half a minute or one.
func (l *linphone) comesBack(mark int) {
	l.lab.t.Helper()
	for deadline := time.Now().Add(3 * patience); !strings.Contains(l.p.text(mark), "Register refresher [200]"); {
		if time.Now().After(deadline) {
			l.lab.t.Fatalf("%s never comes back:\n%s", l.p.name, tail(l.p.text(mark), 3000))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// holds puts the call with another linphonec on hold and takes it up again.
func (l *linphone) holds(other *linphone) {
	l.lab.t.Helper()
	mark, heard := l.mark(), other.mark()
	l.p.types("pause")
	l.p.says(mark, `to (LinphoneCallPaused)\b`)
	other.p.says(heard, `to (LinphoneCallPausedByRemote)`)
	mark, heard = l.mark(), other.mark()
	l.p.types("resume")
	l.talks(mark)
	other.talks(heard)
}

// TestNoticeOnce has bob be away while mallory calls and the server is killed:
// when he is back his phone shows the notice, and never again.
func TestNoticeOnce(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	bob.p.types("quit")
	bob.p.ends(patience)
	mallory := s.sipp("mallory", "udp")
	mallory.play("giveup", "bob", "-d", "300").succeeds()
	mallory.play("giveup", "bob", "-d", "300").succeeds()
	s.remembers("mallory", 2)
	s.kill()
	s.start()
	back := time.Now()
	bob = s.linphone("bob", "udp")
	bob.p.says(0, `Message received from sip:silenced-calls@`+domain+`: (2 silenced calls:)`)
	bob.p.says(0, `(2 from mallory@`+domain+`, last )`)
	onlyNotices(t, bob.host, back)
	bob.p.types("quit")
	bob.p.ends(patience)
	s.kill()
	s.start()
	again := time.Now()
	bob = s.linphone("bob", "udp")
	noNotice(bob, again)
}
