package e2e

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// TestEncryption has two linphonecs encrypt from end to end, in each of three
// ways, through both planes. Each hears the other, no line carries the sound in
// the clear, and nobody learns where the other is.
func TestEncryption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line string
		agreed     func(packet) bool // says that a packet agrees on keys; nil: SIP does
	}{
		{"ZRTP", "media_encryption=zrtp", isZRTP},
		{"DTLS-SRTP", "media_encryption=dtls", isDTLS},
		{"SRTP", "media_encryption=srtp", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inEachPlane(t, func(t *testing.T, plane string) {
				l := newLab(t, false)
				l.plane = plane
				encrypted(l.serve(acquainted), c.line, c.agreed)
			})
		})
	}
}

// encrypted is a call of two linphonecs that encrypt.
func encrypted(s *server, line string, agreed func(packet) bool) {
	t := s.lab.t
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.linphone("alice", "tls", line), s.linphone("bob", "tls", line)
	from, rung := time.Now(), bob.mark()
	dialled := alice.call("sip:bob@" + domain)
	bob.rings(rung)
	bob.answers()
	alice.talks(dialled)
	bob.talks(rung)
	alice.plays(callerTone)
	bob.plays(calleeTone)
	audible(alice.host)
	audible(bob.host)
	s.relayed()
	alice.hangsUp()
	alice.over(dialled)
	bob.over(rung)
	eventually(t, "alice has heard bob", func() bool { return alice.hears(calleeTone) })
	eventually(t, "bob has heard alice", func() bool { return bob.hears(callerTone) })
	for _, h := range []*host{alice.host, bob.host} {
		if onLine(h, from, callerTone) || onLine(h, from, calleeTone) {
			t.Errorf("%s's line has carried the sound in the clear", h.name)
		}
		if agreed != nil && !slices.ContainsFunc(since(h.allPackets(), from), agreed) {
			t.Errorf("%s's line has carried no agreement on keys", h.name)
		}
	}
	bob.noTrace(alice.host, from, bob.heard(rung))
	alice.noTrace(bob.host, from, alice.heard(dialled))
	s.idle()
}

// isZRTP tells ZRTP by its cookie (RFC 6189 §5).
func isZRTP(p packet) bool {
	return p.kind == "udp" && len(p.payload) > 12 && bytes.Equal(p.payload[4:8], []byte("ZRTP"))
}

// isDTLS tells a DTLS handshake (RFC 7983 §7, RFC 6347 §4.1).
func isDTLS(p packet) bool {
	return p.kind == "udp" && len(p.payload) > 13 && p.payload[0] == 22 && p.payload[1] == 0xfe
}
