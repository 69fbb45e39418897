package e2e

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sotto/proxy/hostile"
	"sotto/proxy/phone"
)

// TestFragments sends IP fragments over a real link: a large request whose
// fragments come in the wrong order is taken; overlapping ones, and thousands of
// which the rest never comes, end in the kernel, and known users go on to call.
func TestFragments(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve(acquainted)
	alice, bob := s.lab.host("alice"), s.lab.host("bob")
	caller, callee := alice.phone(s, "alice", domain, "udp"), bob.phone(s, "bob", domain, "udp")
	mallory := s.lab.host("mallory")
	var answers *net.UDPConn
	own := netip.AddrPortFrom(mallory.ip, 5070)
	if err := mallory.within(func() (err error) {
		answers, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(own))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answers.Close() }()
	bombs := hostile.Bombs("UDP", "sip:bob@"+domain)
	large := bombs[slices.IndexFunc(bombs, func(b hostile.Bomb) bool { return b.Name == "lines of 8 KB" })].Text

	whole := fragments(own, s.port("udp"), 1, []byte(large))
	slices.Reverse(whole)
	mallory.sends(whole)
	buf := make([]byte, 65536)
	_ = answers.SetReadDeadline(time.Now().Add(patience))
	if n, err := answers.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 100 ") {
		t.Errorf("a request in %d fragments is answered %q, %v", len(whole), buf[:n], err)
	}

	pieces := torn(own, s.port("udp"), []byte(large))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		mallory.sends(pieces)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := callee.Register(ctx); err != nil {
		t.Fatal(err)
	}
	go answersAll(ctx, callee)
	for range 3 {
		began := time.Now()
		c, err := caller.Call(ctx, "sip:bob@"+domain)
		if err == nil {
			err = c.Bye(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a call took %v", time.Since(began).Round(time.Millisecond))
	}
	<-sent
}

// torn are fragments of 3,000 datagrams, of each the first; a third of them is
// overlapped by another one.
func torn(from, to netip.AddrPort, payload []byte) [][]byte {
	var all [][]byte
	for id := range uint16(3000) {
		f := fragments(from, to, 1000+id, payload)
		all = append(all, f[0])
		if id%3 == 0 { // another one that begins within it
			again := slices.Clone(f[1])
			binary.BigEndian.PutUint16(again[6:], binary.BigEndian.Uint16(again[6:])-20)
			all = append(all, again)
		}
	}
	return all
}

// answersAll answers every call, as long as it may.
func answersAll(ctx context.Context, p *phone.Phone) {
	for {
		in, err := p.Incoming(ctx)
		if err != nil {
			return
		}
		_ = in.Answer(ctx) // the caller's side tells
	}
}

// fragments are the IPv4 packets of a datagram (RFC 791 §3.2). The kernel fills
// in the checksum of the header; that of UDP may be left out (RFC 768).
func fragments(from, to netip.AddrPort, id uint16, payload []byte) (all [][]byte) {
	const size = 1400 // of each, a multiple of 8
	d := binary.BigEndian.AppendUint16(nil, from.Port())
	d = binary.BigEndian.AppendUint16(d, to.Port())
	d = binary.BigEndian.AppendUint16(d, uint16(8+len(payload)))
	d = append(append(d, 0, 0), payload...)
	for at := 0; at < len(d); at += size {
		part, flags := d[at:min(len(d), at+size)], uint16(at/8)
		if at+size < len(d) {
			flags |= 1 << 13 // more fragments
		}
		p := []byte{0x45, 0}
		p = binary.BigEndian.AppendUint16(p, uint16(20+len(part)))
		p = binary.BigEndian.AppendUint16(p, id)
		p = binary.BigEndian.AppendUint16(p, flags)
		p = append(p, 64, unix.IPPROTO_UDP, 0, 0)
		p = append(append(p, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		all = append(all, append(p, part...))
	}
	return all
}

// sends sends IP packets of a host's to the server.
func (h *host) sends(packets [][]byte) {
	err := h.within(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, p := range packets {
			to := unix.SockaddrInet4{Addr: [4]byte(p[16:20])}
			if err := unix.Sendto(fd, p, 0, &to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.lab.t.Error(err)
	}
}
