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
		nat       nat
	}{
		{"TLS and SRTP", "tls", "srtp", false, noNAT},
		{"TLS and SRTP, behind NATs", "tls", "srtp", false, portRestricted},
		{"TLS and RTP", "tls", "none", true, noNAT}, // the phone's name is in its RTCP
		{"TCP and RTP", "tcp", "none", true, noNAT},
		{"TCP and RTP, behind NATs", "tcp", "none", true, symmetric},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			s := l.serve(acquainted)
			s.set("alice", "protect_ip", "always")
			lines := [2]*host{l.behind(c.nat, "alice"), l.behind(c.nat, "bob")}
			encryption := "media_encryption=" + c.media
			alice, bob := s.linphone("alice", c.transport, encryption), s.linphone("bob", c.transport, encryption)
			if c.nat != noNAT { // the provider's line begins at the NAT
				lines = [2]*host{l.hosts["alice-nat"], l.hosts["bob-nat"]}
			}
			from := time.Now()
			talkOnce(alice, bob)
			seenOnLine(t, s, lines[0], alice.host, from, c.names)
			seenOnLine(t, s, lines[1], bob.host, from, c.names)
			for _, p := range since(s.allPackets(), from) {
				ends := []netip.Addr{p.src.Addr(), p.dst.Addr()}
				if slices.Contains(ends, alice.public) && slices.Contains(ends, bob.public) {
					t.Errorf("a packet with both addresses: %s", p)
				}
			}
			if n := linked(lines[0], lines[1], from); n < 20 {
				t.Errorf("%d packets are the same on both lines: docs/privacy.md says that providers can link them", n)
			}
		})
	}
}

// linked is how many packets of media pass both lines as they are: by their
// sizes, times and here even their bytes providers that compare notes find the
// two halves of a call, which a relay of one hop cannot help.
func linked(a, b *host, from time.Time) int {
	sent := map[string]bool{}
	for _, p := range since(a.allPackets(), from) {
		if isRTP(p) && p.src.Addr() == a.ip {
			sent[string(p.payload)] = true
		}
	}
	n := 0
	for _, p := range since(b.allPackets(), from) {
		if p.dst.Addr() == b.ip && sent[string(p.payload)] {
			n++
		}
	}
	return n
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

// seenOnLine checks what a host's provider sees on its line: its own customer,
// that this one talks to Sotto, and, where names is true, under which name.
func seenOnLine(t *testing.T, s *server, line, h *host, from time.Time, names bool) {
	t.Helper()
	seen := since(line.allPackets(), from)
	want := []netip.Addr{h.public, s.ip}
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
