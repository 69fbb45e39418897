package e2e

import (
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"

	"sotto/proxy/phone"
)

// TestCallsSIPp is TestCalls with SIPp at one end, or at both.
func TestCallsSIPp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		talk func(*server, string) func(mode)
	}{
		{"SIPp to linphone", sippToLinphone},
		{"linphone to SIPp", linphoneToSIPp},
		{"SIPp to SIPp", sippToSIPp},
	} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			t.Run(c.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				s := newLab(t, false).serve(acquainted)
				talk := c.talk(s, transport)
				for _, m := range modes {
					t.Logf("protected: %s", m.name)
					s.set("alice", "protect_ip", m.caller)
					s.set("bob", "protect_ip", m.callee)
					talk(m)
				}
				s.idle()
			})
		}
	}
}

// sippToLinphone has SIPp play a tone, and hang up.
func sippToLinphone(s *server, transport string) func(mode) {
	alice, bob := s.sipp("alice", transport), s.linphone("bob", transport)
	return func(m mode) {
		from, rung := time.Now(), bob.mark()
		r := alice.play("tone", "bob", "-d", "4000")
		bob.rings(rung)
		bob.answers()
		bob.talks(rung)
		bob.plays(calleeTone)
		r.succeeds()
		bob.over(rung)
		eventually(s.lab.t, "bob has heard alice", func() bool { return bob.hears(callerTone) })
		eventually(s.lab.t, "alice has heard bob", func() bool { return onLine(alice.host, from, calleeTone) })
		traces(s, alice.host, bob.host, m, from, r.heard(0), bob.heard(rung))
	}
}

// linphoneToSIPp has SIPp send back what it hears.
func linphoneToSIPp(s *server, transport string) func(mode) {
	alice, bob := s.linphone("alice", transport), s.sipp("bob", transport)
	b := bob.awaits("answer", "-rtp_echo")
	return func(m mode) {
		from, dialled, rung := time.Now(), alice.mark(), b.mark()
		alice.call("sip:bob@" + domain)
		alice.talks(dialled)
		alice.plays(callerTone)
		audible(alice.host)
		alice.hangsUp()
		alice.over(dialled)
		b.sees(rung, `BYE sip:`)
		eventually(s.lab.t, "alice has heard the echo", func() bool { return alice.hears(callerTone) })
		eventually(s.lab.t, "bob has heard alice", func() bool { return onLine(bob.host, from, callerTone) })
		traces(s, alice.host, bob.host, m, from, alice.heard(dialled), b.heard(rung))
	}
}

// sippToSIPp has the callee send back the caller's tone.
func sippToSIPp(s *server, transport string) func(mode) {
	alice, bob := s.sipp("alice", transport), s.sipp("bob", transport)
	b := bob.awaits("answer", "-rtp_echo")
	return func(m mode) {
		from, rung := time.Now(), b.mark()
		r := alice.play("tone", "bob", "-d", "2500")
		r.succeeds()
		b.sees(rung, `BYE sip:`)
		eventually(s.lab.t, "bob has heard alice", func() bool { return onLine(bob.host, from, callerTone) })
		eventually(s.lab.t, "alice has heard the echo", func() bool { return onLine(alice.host, from, callerTone) })
		traces(s, alice.host, bob.host, m, from, r.heard(0), b.heard(rung))
	}
}

// traces checks what each party's line and phone had of the other.
func traces(s *server, caller, callee *host, m mode, from time.Time, callerHeard, calleeHeard string) {
	s.lab.t.Helper()
	if m.caller == "always" {
		callee.noTrace(caller, from, calleeHeard)
	}
	if m.callee == "always" {
		caller.noTrace(callee, from, callerHeard)
	}
	if m.name == "neither" {
		direct(s.lab.t, caller, callee, from)
	}
}

// onLine tells whether the G.711 µ-law audio that has reached a host since
// from has a tone.
func onLine(h *host, from time.Time, hz float64) bool {
	var samples []int16
	for _, p := range since(h.capture.packets(), from) {
		var r pionrtp.Packet
		if !isRTP(p) || p.dst.Addr() != h.ip || r.Unmarshal(p.payload) != nil || r.PayloadType != 0 {
			continue
		}
		for _, v := range r.Payload {
			samples = append(samples, phone.Expand(v))
		}
	}
	return has(samples, wavRate, hz)
}
