package rtpengine

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// relayTo starts an engine on the loopback address and relays a call between
// two sockets; it says where the caller sends to.
func relayTo(t testing.TB, ip string, c Config) (e *Engine, caller, callee *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	local := netip.MustParseAddr(ip)
	c.Addresses, c.PortMin, c.PortMax, c.Workers = []Address{{local, local}}, 24000, 24999, 1
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	open := func() *net.UDPConn {
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			t.Skipf("no %s here: %v", ip, err)
		}
		t.Cleanup(func() { _ = u.Close() })
		return u
	}
	caller, callee = open(), open()
	describe(t, e, caller, callee)
	r, _ := e.Query(1)
	return e, caller, callee, r.Streams[0].Caller.Relay
}

// crosses sends one packet and waits until it has crossed.
func crosses(t testing.TB, caller, callee *net.UDPConn, to netip.AddrPort, packet, in []byte) {
	t.Helper()
	if _, err := caller.WriteToUDPAddrPort(packet, to); err != nil {
		t.Fatal(err)
	}
	_ = callee.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := callee.ReadFromUDPAddrPort(in); err != nil {
		t.Fatal(err)
	}
}

// A relayed packet allocates nothing, with and without a pause.
func TestRelayAllocatesNothing(t *testing.T) {
	for _, pause := range []time.Duration{0, time.Millisecond} {
		t.Run(pause.String(), func(t *testing.T) {
			_, caller, callee, to := relayTo(t, "127.0.0.1", Config{Pause: pause})
			packet, in := rtpPacket(1, "media"), make([]byte, 100)
			crosses(t, caller, callee, to, packet, in)
			const packets = 1000
			var before, after runtime.MemStats // testing.AllocsPerRun leaves one processor, which the loop keeps
			runtime.ReadMemStats(&before)
			for range packets {
				crosses(t, caller, callee, to, packet, in)
			}
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > packets/2 { // the test's own timers and the runtime have a few
				t.Errorf("%d allocations for %d packets", n, packets)
			}
		})
	}
}

// What leaves has the engine's hop limit and traffic class, whatever the
// sender's were: neither tells anything of the sender.
func TestRelayedHeaderIsOurs(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			_, caller, callee, to := relayTo(t, ip, Config{})
			option(t, caller, map[string]int{"127.0.0.1": unix.IP_TTL, "::1": unix.IPV6_UNICAST_HOPS}[ip], 33)
			option(t, callee, map[string]int{"127.0.0.1": unix.IP_RECVTTL, "::1": unix.IPV6_RECVHOPLIMIT}[ip], 1)
			option(t, callee, map[string]int{"127.0.0.1": unix.IP_RECVTOS, "::1": unix.IPV6_RECVTCLASS}[ip], 1)
			if _, err := caller.WriteToUDPAddrPort(rtpPacket(1, "media"), to); err != nil {
				t.Fatal(err)
			}
			oob := make([]byte, 200)
			_ = callee.SetReadDeadline(time.Now().Add(patience))
			_, n, _, _, err := callee.ReadMsgUDPAddrPort(make([]byte, 100), oob)
			if err != nil {
				t.Fatal(err)
			}
			if got := headerOf(t, oob[:n]); got != [2]byte{hops, traffic} {
				t.Errorf("hop limit and traffic class are %v", got)
			}
		})
	}
}

// option sets an option of IP of either version.
func option(t *testing.T, c *net.UDPConn, name, value int) {
	t.Helper()
	level := unix.IPPROTO_IPV6
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		level = unix.IPPROTO_IP
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ctl := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, name, value) })
	if err := errors.Join(ctl, err); err != nil {
		t.Fatal(err)
	}
}

// headerOf reads hop limit and traffic class of a packet from its control messages.
func headerOf(t *testing.T, oob []byte) (h [2]byte) {
	t.Helper()
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		switch m.Header.Type {
		case unix.IP_TTL, unix.IPV6_HOPLIMIT:
			h[0] = m.Data[0]
		case unix.IP_TOS, unix.IPV6_TCLASS:
			h[1] = m.Data[0]
		}
	}
	return h
}

// What an overrun socket loses is counted, while the session lives and after.
func TestLateRelayCountsItsLoss(t *testing.T) {
	const sent = 1000
	e, caller, _, to := relayTo(t, "127.0.0.1", Config{})
	loop := e.loops[0]
	loop.mu.Lock() // the engine is busy elsewhere
	for range sent {
		if _, err := caller.WriteToUDPAddrPort(make([]byte, 1000), to); err != nil {
			t.Fatal(err)
		}
	}
	loop.mu.Unlock()
	r, _ := e.Query(1)
	live := r.Streams[0].Caller.Dropped[dropNames[dropFull]]
	r, _ = e.Delete(1)
	if ended := r.Streams[0].Caller.Dropped[dropNames[dropFull]]; live == 0 || ended != live || live > sent {
		t.Errorf("lost of %d: %d, after the call %d", sent, live, ended)
	}
}

// A packet that the system does not take is counted.
func TestRefusedPacketIsCounted(t *testing.T) {
	e, caller, callee, to := relayTo(t, "127.0.0.1", Config{})
	crosses(t, caller, callee, to, rtpPacket(1, "media"), make([]byte, 100))
	s, _, err := e.session(1, false)
	if err != nil {
		t.Fatal(err)
	}
	loop := e.loops[0]
	loop.mu.Lock()
	s.withdraw()
	s.streams[0].faces[Callee].latch.latched = netip.MustParseAddrPort("[2001:db8::1]:4000") // not of our family
	loop.mu.Unlock()
	if _, err := caller.WriteToUDPAddrPort(rtpPacket(2, "media"), to); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if r, _ := e.Query(1); r.Streams[0].Caller.Dropped[dropNames[dropSend]] == 1 {
			return
		}
		if time.Now().After(until) {
			t.Fatal("not counted")
		}
	}
}
