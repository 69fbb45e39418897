package e2e

import (
	"bytes"
	"testing"
	"time"
)

// A pair is two phones of protected users in a lab of their own.
type pair struct {
	s          *server
	alice, bob *linphone
	from       time.Time
	dialled    int // what alice's phone, and bob's, had said when she dialled
	rung       int
}

// newPair starts two phones; more is for bob's.
func newPair(t *testing.T, plane string, more ...string) *pair {
	t.Helper()
	return newLab(t, false).pair(plane, more...)
}

// pair is newPair in a lab that is there.
func (l *lab) pair(plane string, more ...string) *pair {
	l.t.Helper()
	l.plane = plane
	s := l.serve(acquainted)
	for _, u := range []string{"alice", "bob", "carol"} {
		s.set(u, "protect_ip", "always")
	}
	return &pair{s: s, alice: s.linphone("alice", "udp"), bob: s.linphone("bob", "udp", more...)}
}

// rings has alice call bob, whose phone rings.
func (p *pair) rings() {
	p.from, p.rung = time.Now(), p.bob.mark()
	p.dialled = p.alice.call("sip:bob@" + domain)
	p.bob.rings(p.rung)
	p.alice.p.says(p.dialled, `to (LinphoneCallOutgoingRinging)`)
}

// talks has bob answer; each plays a tone.
func (p *pair) talks() {
	p.rings()
	p.bob.answers()
	p.alice.talks(p.dialled)
	p.bob.talks(p.rung)
	p.bob.plays(calleeTone)
	p.alice.plays(callerTone)
	audible(p.alice.host)
	audible(p.bob.host)
}

// ends waits for the end at both phones, and checks what each knows of the other.
func (p *pair) ends() {
	p.s.lab.t.Helper()
	p.alice.over(p.dialled)
	p.bob.over(p.rung)
	p.bob.noTrace(p.alice.host, p.from, p.bob.heard(p.rung))
	p.alice.noTrace(p.bob.host, p.from, p.alice.heard(p.dialled))
	p.s.idle()
}

// TestHold puts a protected call on hold from each side; afterwards both are
// heard again.
func TestHold(t *testing.T) {
	t.Parallel()
	inEachPlane(t, hold)
}

func hold(t *testing.T, plane string) {
	p := newPair(t, plane)
	p.talks()
	p.alice.holds(p.bob)
	p.bob.holds(p.alice)
	p.bob.plays(calleeTone)
	p.alice.plays(callerTone)
	audible(p.alice.host)
	audible(p.bob.host)
	p.s.relayed()
	p.bob.hangsUp()
	p.ends()
	eventually(t, "bob has heard alice", func() bool { return p.bob.hears(callerTone) })
	eventually(t, "alice has heard bob", func() bool { return p.alice.hears(calleeTone) })
}

// TestRefusals are a caller who gives up, a callee who declines, and one who
// does not answer.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newPair(t, chosenPlane(), "inc_timeout=3")
	t.Log("the caller gives up")
	p.rings()
	p.alice.hangsUp()
	p.ends()
	t.Log("the callee declines")
	p.rings()
	p.bob.hangsUp()
	p.alice.p.says(p.dialled, `SIP/2.0 (603) `)
	p.ends()
	t.Log("the callee does not answer")
	p.rings()
	p.ends()
}

// TestTwoDevices rings two phones of one user. One answers, the other stops
// ringing and is told that the call was answered elsewhere.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	p := newPair(t, chosenPlane())
	tablet := p.s.linphoneOn("tablet", "bob", "udp")
	rung := tablet.mark()
	p.rings()
	tablet.rings(rung)
	tablet.answers()
	p.alice.talks(p.dialled)
	tablet.talks(rung)
	p.bob.over(p.rung)
	told := false
	for _, x := range since(p.bob.allPackets(), p.from) {
		told = told || bytes.HasPrefix(x.payload, []byte("CANCEL ")) && bytes.Contains(x.payload, []byte("SIP;cause=200"))
	}
	if !told {
		t.Error("the phone that lost is not told that the call was answered elsewhere")
	}
	p.alice.plays(callerTone)
	tablet.plays(calleeTone)
	audible(tablet.host)
	audible(p.alice.host)
	tablet.hangsUp()
	tablet.over(rung)
	p.ends()
	tablet.noTrace(p.alice.host, p.from, tablet.heard(rung))
	p.alice.noTrace(tablet.host, p.from, p.alice.heard(p.dialled))
	eventually(t, "the tablet has heard alice", func() bool { return tablet.hears(callerTone) })
}

// TestDigits sends digits as RFC 4733 has them, from baresip to linphonec.
func TestDigits(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve(acquainted)
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.baresip("alice", "udp", callerTone), s.linphone("bob", "udp")
	from, rung := time.Now(), bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)
	bob.plays(calleeTone)
	audible(bob.host)
	for _, key := range []string{"5", "#"} {
		mark := bob.mark()
		alice.does("sndcode", key)
		alice.does("sndcode", "\x04") // the key is released
		bob.p.says(mark, `Receiving tone \Q`+key+`\E`)
	}
	alice.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	bob.noTrace(alice.host, from, bob.heard(rung))
	alice.noTrace(bob.host, from, alice.heard(dialled))
}

// TestTransfer has alice pass bob on to carol, without asking her and after
// having asked. All three are protected, and stay so.
func TestTransfer(t *testing.T) {
	t.Parallel()
	t.Run("blind", func(t *testing.T) {
		t.Parallel()
		inEachPlane(t, blindTransfer)
	})
	t.Run("attended", func(t *testing.T) {
		t.Parallel()
		inEachPlane(t, attendedTransfer)
	})
}

func blindTransfer(t *testing.T, plane string) {
	p := newPair(t, plane)
	carol := p.s.linphone("carol", "udp")
	p.talks()
	rung, bobs := carol.mark(), p.bob.mark()
	p.alice.p.types("transfer sip:carol@" + domain)
	carol.rings(rung)
	carol.answers()
	carol.talks(rung)
	p.connected(carol, rung, bobs)
}

func attendedTransfer(t *testing.T, plane string) {
	p := newPair(t, plane)
	carol := p.s.linphone("carol", "udp")
	p.talks()
	p.alice.p.types("pause")
	p.alice.p.says(p.dialled, `to (LinphoneCallPaused)\b`)
	asked, rung := p.alice.mark(), carol.mark()
	p.alice.call("sip:carol@" + domain)
	carol.rings(rung)
	carol.answers()
	p.alice.talks(asked)
	carol.talks(rung)
	bobs := p.bob.mark()
	p.alice.p.types("transfer 1 --to-call 2")
	p.connected(carol, rung, bobs)
}

// connected waits until bob and carol hear one another and alice is out of it,
// and checks that none of the three knows where another is.
func (p *pair) connected(carol *linphone, rung, bobs int) {
	t := p.s.lab.t
	t.Helper()
	p.alice.over(p.dialled)
	p.bob.talks(bobs)
	mark := carol.mark()
	carol.plays(calleeTone)
	p.bob.plays(callerTone)
	audible(carol.host)
	audible(p.bob.host)
	p.s.relayed()
	p.bob.hangsUp()
	carol.over(mark)
	eventually(t, "carol has heard bob", func() bool { return carol.hears(callerTone) })
	eventually(t, "bob has heard carol", func() bool { return p.bob.hears(calleeTone) })
	all := map[*linphone]int{p.alice: p.dialled, p.bob: p.rung, carol: rung}
	for l, mark := range all {
		for other := range all {
			if l != other {
				l.noTrace(other.host, p.from, l.heard(mark))
			}
		}
	}
	p.s.idle()
}
