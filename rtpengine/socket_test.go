package rtpengine

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// patience bounds a wait for a packet on loopback.
const patience = 10 * time.Second

// A udp is a phone's socket on loopback.
type udp struct {
	*net.UDPConn
	t *testing.T
}

func listen(t *testing.T, ip string) udp {
	t.Helper()
	c, err := net.ListenUDP(
		"udp",
		net.UDPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(ip, "0"))),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return udp{c, t}
}

func (u udp) send(b []byte, to netip.AddrPort) {
	u.t.Helper()
	if _, err := u.WriteToUDPAddrPort(b, to); err != nil {
		u.t.Fatal(err)
	}
}

// gets waits for a packet and checks it.
func (u udp) gets(want []byte, from netip.AddrPort) {
	u.t.Helper()
	b := make([]byte, 2000)
	_ = u.SetReadDeadline(time.Now().Add(patience))
	n, src, err := u.ReadFromUDPAddrPort(b)
	if err != nil || !bytes.Equal(b[:n], want) || netip.AddrPortFrom(src.Addr().Unmap(), src.Port()) != from {
		u.t.Fatalf("got %x from %v (%v), want %x from %v", b[:n], src, err, want, from)
	}
}

// fds is how many descriptors the process has open.
func fds(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(all)
}

// A call over real sockets: media crosses in both directions from the relay's
// own ports, a thief gets nothing and nothing in, and afterwards no descriptor
// is left.
func TestRelayOverSockets(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			before := fds(t)
			local := netip.MustParseAddr(ip)
			e, err := New(Config{Addresses: []Address{{local, local}}, PortMin: 22000, PortMax: 22999})
			if err != nil {
				t.Fatal(err)
			}
			// The thief is at another address where there is one; at ::1 it is another
			// port of the same host, which only the signalled address keeps out.
			caller, callee, thief := listen(t, ip), listen(t, ip), listen(t, thiefOf(ip))
			describe(t, e, caller.UDPConn, callee.UDPConn)
			relayBetween(t, e, caller, callee, thief)
			e.Close()
			_, _, _ = caller.Close(), callee.Close(), thief.Close()
			if after := fds(t); after > before {
				t.Errorf("%d descriptors before, %d afterwards", before, after)
			}
		})
	}
}

// describe makes session 1 of two sockets.
func describe(t testing.TB, e *Engine, caller, callee *net.UDPConn) {
	t.Helper()
	for side, u := range []*net.UDPConn{caller, callee} {
		local, port := u.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), u.LocalAddr().(*net.UDPAddr).Port
		sdp := bytes.ReplaceAll(audio(local, port), []byte("IP4 :"), []byte("IP6 :"))
		tell := e.Offer
		if Side(side) == Callee {
			tell = e.Answer
		}
		if _, err := tell(1, Body{From: Side(side), SDP: sdp, Toward: familyOf(local)}); err != nil {
			t.Fatal(err)
		}
	}
}

// relayBetween has both talk while the thief sends into every port.
func relayBetween(t *testing.T, e *Engine, caller, callee, thief udp) {
	t.Helper()
	r, _ := e.Query(1)
	toCaller, toCallee := r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay
	for seq := range byte(3) {
		thief.send(rtpPacket(seq, "mine"), toCaller)
		thief.send(rtpPacket(seq, "mine"), toCallee)
		caller.send(rtpPacket(seq, "from the caller"), toCaller)
		callee.gets(rtpPacket(seq, "from the caller"), toCallee)
		callee.send(rtpPacket(seq, "from the callee"), toCallee)
		caller.gets(rtpPacket(seq, "from the callee"), toCaller)
	}
	caller.send([]byte("not media"), toCaller)
	caller.send(rtpPacket(9, "end"), toCaller)
	callee.gets(rtpPacket(9, "end"), toCallee) // the next that comes, so nothing else crossed
	_ = thief.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := thief.ReadFromUDPAddrPort(make([]byte, 100)); err == nil {
		t.Errorf("the thief gets %d bytes", n)
	}
	r, _ = e.Delete(1)
	if s := r.Streams[0].Caller; s.Packets != 4 || len(s.Dropped) != 2 {
		t.Errorf("%+v", s)
	}
}

// thiefOf is an address that is not the party's, where loopback has one.
func thiefOf(ip string) string {
	if ip == "127.0.0.1" {
		return "127.0.0.66"
	}
	return ip
}

// BenchmarkRelay is one packet through the relay over real sockets of loopback.
func BenchmarkRelay(b *testing.B) {
	local := netip.MustParseAddr("127.0.0.1")
	e, err := New(Config{Addresses: []Address{{local, local}}, PortMin: 23000, PortMax: 23999, Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	open := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	caller, callee := open(), open()
	defer func() { _, _ = caller.Close(), callee.Close() }()
	port := func(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }
	if _, err := e.Offer(1, Body{From: Caller, SDP: audio(local, port(caller)), Source: local, Toward: V4}); err != nil {
		b.Fatal(err)
	}
	if _, err := e.Answer(1, Body{From: Callee, SDP: audio(local, port(callee)), Source: local, Toward: V4}); err != nil {
		b.Fatal(err)
	}
	r, _ := e.Query(1)
	to := r.Streams[0].Caller.Relay
	packet, in := rtpPacket(1, string(make([]byte, 160))), make([]byte, 2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caller.WriteToUDPAddrPort(packet, to); err != nil {
			b.Fatal(err)
		}
		if _, _, err := callee.ReadFromUDPAddrPort(in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPacket is the way of a packet without the system: classify, latch,
// count, and out.
func BenchmarkPacket(b *testing.B) {
	e := deafEngine(b)
	call(b, e, 1)
	s, _, err := e.session(1, false)
	if err != nil {
		b.Fatal(err)
	}
	from := netip.AddrPortFrom(callerIP, 4000)
	packet := rtpPacket(1, string(make([]byte, 160)))
	b.ReportAllocs()
	for b.Loop() {
		s.streams[0].packet(Caller, false, packet, from)
	}
}

// BenchmarkCall is a session from offer to its end.
func BenchmarkCall(b *testing.B) {
	e := deafEngine(b)
	b.ReportAllocs()
	for b.Loop() {
		call(b, e, 1)
		e.Delete(1)
	}
}
