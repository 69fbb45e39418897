package e2e

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestProviders says what each party's provider sees of a protected call, and
// what it does see all the same: a relay hides two parties from one another,
// not from who carries their packets (leaks.md §6).
func TestProviders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		transport string
		media     string // linphonec's media_encryption
		names     bool   // who calls whom can be read on the line
	}{
		{"TLS and SRTP", "tls", "srtp", false},
		{"TLS and RTP", "tls", "none", true}, // the phone's name is in its RTCP
		{"TCP and RTP", "tcp", "none", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newLab(t, false).serve(acquainted)
			s.set("alice", "protect_ip", "always")
			encryption := "media_encryption=" + c.media
			alice, bob := s.linphone("alice", c.transport, encryption), s.linphone("bob", c.transport, encryption)
			from := time.Now()
			talkOnce(alice, bob)
			seenOnLine(t, s, alice.host, from, c.names)
			seenOnLine(t, s, bob.host, from, c.names)
			for _, p := range since(s.allPackets(), from) {
				ends := []netip.Addr{p.src.Addr(), p.dst.Addr()}
				if slices.Contains(ends, alice.ip) && slices.Contains(ends, bob.ip) {
					t.Errorf("a packet with both addresses: %s", p)
				}
			}
		})
	}
}

// talkOnce is one call in which both are heard.
func talkOnce(caller, callee *linphone) {
	rung := callee.mark()
	dialled := caller.call("sip:" + callee.user + "@" + domain)
	callee.rings(rung)
	callee.answers()
	caller.talks(dialled)
	callee.talks(rung)
	caller.plays(callerTone)
	callee.plays(calleeTone)
	audible(caller.host)
	audible(callee.host)
	caller.hangsUp()
	caller.over(dialled)
	callee.over(rung)
}

// seenOnLine checks what a host's provider sees: its own customer, that this
// one talks to Sotto, and, where names is true, under which name.
func seenOnLine(t *testing.T, s *server, h *host, from time.Time, names bool) {
	t.Helper()
	seen := since(h.allPackets(), from)
	want := []netip.Addr{h.ip, s.ip}
	slices.SortFunc(want, netip.Addr.Compare)
	if got := addresses(seen); !slices.Equal(got, want) {
		t.Errorf("on %s's line are %v, want %v", h.name, got, want)
	}
	if got := contains(seen, h.name+"@"+domain); got != names {
		t.Errorf("%s's name can be read on the line: %v, want %v", h.name, got, names)
	}
}

// addresses are those of the packets' ends, in order.
func addresses(all []packet) []netip.Addr {
	var found []netip.Addr
	for _, p := range all {
		found = append(found, p.src.Addr(), p.dst.Addr())
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}

// contains says that a packet has a text.
func contains(all []packet, text string) bool {
	return slices.ContainsFunc(all, func(p packet) bool { return bytes.Contains(p.payload, []byte(text)) })
}
