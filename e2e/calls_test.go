package e2e

import (
	"testing"
	"time"
)

// A softphone is what linphonec and baresip have in common. A mark is a place
// in what the phone has printed: methods that take one look from there on.
type softphone interface {
	place() *host
	heard(mark int) string
	mark() int
	call(to string) (mark int)
	rings(mark int)
	answers()
	talks(mark int)
	hangsUp()
	over(mark int)
	plays(hz float64)
	hears(hz float64) bool
	forget() // recordings
}

// The tones of the two parties. One is no multiple of the other.
const (
	callerTone = 440
	calleeTone = 620
)

// A mode is who of the two is protected.
type mode struct {
	name           string
	caller, callee string // protect_ip
}

// modes ends with the direct call: what it leaves on the links is behind.
var modes = []mode{
	{"both", "always", "always"},
	{"caller", "always", "never"},
	{"callee", "never", "always"},
	{"neither", "never", "never"},
}

// acquainted makes all users known to one another: calls of strangers are
// protected whatever their settings are.
const acquainted = "known_domains: [" + domain + "]"

// TestCalls is the main job: real phones talk, each hears the other, and a
// protected one leaves no trace at the other end.
func TestCalls(t *testing.T) {
	t.Parallel()
	type pair struct {
		name           string
		caller, callee func(*server, string) softphone
	}
	lin := func(user string) func(*server, string) softphone {
		return func(s *server, transport string) softphone { return s.linphone(user, transport) }
	}
	bare := func(user string, hz float64) func(*server, string) softphone {
		return func(s *server, transport string) softphone { return s.baresip(user, transport, hz) }
	}
	first := pair{"linphone to baresip", lin("alice"), bare("bob", calleeTone)}
	play := func(t *testing.T, p pair, transport, plane string) {
		l := newLab(t, false)
		l.plane = plane
		s := l.serve(acquainted)
		talkInEveryMode(s, p.caller(s, transport), p.callee(s, transport))
	}
	for _, p := range []pair{
		first,
		{"baresip to linphone", bare("alice", callerTone), lin("bob")},
		{"linphone to linphone", lin("alice"), lin("bob")},
	} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			t.Run(p.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				if p.name != first.name {
					play(t, p, transport, chosenPlane())
					return
				}
				inEachPlane(t, func(t *testing.T, plane string) { play(t, p, transport, plane) })
			})
		}
	}
}

// TestCallsIPv6 is the same on a network without IPv4.
func TestCallsIPv6(t *testing.T) {
	t.Parallel()
	inEachPlane(t, func(t *testing.T, plane string) {
		l := newLab(t, true)
		l.plane = plane
		s := l.serve(acquainted)
		talkInEveryMode(s, s.linphone("alice", "udp"), s.linphone("bob", "tcp"))
	})
}

// talkInEveryMode has alice call bob with each combination of their settings.
func talkInEveryMode(s *server, alice, bob softphone) {
	for _, m := range modes {
		s.lab.t.Logf("protected: %s", m.name)
		s.set("alice", "protect_ip", m.caller)
		s.set("bob", "protect_ip", m.callee)
		talk(s, alice, bob, m)
	}
	s.idle()
}

// talk is one call from dialling to hanging up, and what the links showed.
func talk(s *server, alice, bob softphone, m mode) {
	t := s.lab.t
	from := time.Now()
	alice.forget()
	bob.forget()
	rung := bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)
	alice.plays(callerTone)
	bob.plays(calleeTone)
	audible(alice.place())
	audible(bob.place())
	if m.name != "neither" {
		s.relayed()
	}
	if m.caller == "always" {
		bob.hangsUp()
	} else {
		alice.hangsUp()
	}
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "alice has heard bob", func() bool { return alice.hears(calleeTone) })
	eventually(t, "bob has heard alice", func() bool { return bob.hears(callerTone) })
	if m.caller == "always" {
		bob.place().noTrace(alice.place(), from, bob.heard(rung))
	}
	if m.callee == "always" {
		alice.place().noTrace(bob.place(), from, alice.heard(dialled))
	}
	if m.name == "neither" {
		direct(t, alice.place(), bob.place(), from)
	}
}

// audible waits until a second's worth of packets has reached a host: enough
// for its phone to record a tone. The recordings are looked at after the
// call, since linphonec may keep all of one in memory until then.
func audible(h *host) {
	h.lab.t.Helper()
	from := time.Now()
	eventually(h.lab.t, "RTP reaches "+h.name, func() bool {
		time.Sleep(100 * time.Millisecond) // reading a capture takes its time, too
		n := 0
		for _, p := range since(h.capture.packets(), from) {
			if isRTP(p) && p.dst.Addr() == h.ip {
				n++
			}
		}
		return n >= 60
	})
}

// direct fails unless the media of two hosts went from one to the other: that
// is what shows that protection makes the difference.
func direct(t *testing.T, a, b *host, from time.Time) {
	t.Helper()
	seen := since(b.allPackets(), from)
	if n := rtp(seen, a.ip, b.ip); n < 20 {
		t.Errorf("%d RTP packets went directly from %s to %s", n, a.name, b.name)
	}
	if n := rtp(seen, b.ip, a.ip); n < 20 {
		t.Errorf("%d RTP packets went directly from %s to %s", n, b.name, a.name)
	}
}
