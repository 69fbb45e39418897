package bench

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sotto/proxy/flow"
)

// stamps is a network whose sockets have the kernel note when a datagram came.
// What a program then takes to read it, in competition with the server's work,
// does not count: that is not on the wire. Safe for concurrent use.
type stamps struct {
	mu    sync.Mutex
	sent  map[string]time.Time                // requests, by Call-ID and CSeq
	heard map[string]map[string]time.Duration // answers since then, by Call-ID and code
}

func newStamps() *stamps {
	return &stamps{sent: map[string]time.Time{}, heard: map[string]map[string]time.Duration{}}
}

// ListenPacket implements flow.Network.
func (s *stamps) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	if err == nil {
		err = failed
	}
	return stampedConn{c, s}, err
}

// Listen implements flow.Network.
func (s *stamps) Listen(a netip.AddrPort) (net.Listener, error) { return net.Listen("tcp", a.String()) }

// Dial implements flow.Network.
func (s *stamps) Dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", a.String())
}

// of is when an answer came, since its request.
func (s *stamps) of(callID, code string) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.heard[callID][code]
	return d, ok
}

// stampedConn is one of its sockets.
type stampedConn struct {
	*net.UDPConn
	s *stamps
}

// WriteToUDPAddrPort implements flow.PacketConn.
func (c stampedConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.s.mu.Lock()
	c.s.sent[header(b, "Call-ID")+header(b, "CSeq")] = time.Now()
	c.s.mu.Unlock()
	return c.UDPConn.WriteToUDPAddrPort(b, to)
}

// ReadFromUDPAddrPort implements flow.PacketConn.
func (c stampedConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	var oob [64]byte
	n, noob, _, from, err := c.ReadMsgUDPAddrPort(b, oob[:])
	if err == nil && noob >= unix.CmsgLen(16) {
		at := unix.CmsgLen(0)
		sec := binary.NativeEndian.Uint64(oob[at:])
		nsec := binary.NativeEndian.Uint64(oob[at+8:])
		c.s.note(b[:n], time.Unix(int64(sec), int64(nsec)))
	}
	return n, from, err
}

// note keeps when the first answer with a code came.
func (s *stamps) note(b []byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := header(b, "Call-ID")
	sent, ok := s.sent[id+header(b, "CSeq")]
	if !ok || len(b) < 11 {
		return
	}
	if s.heard[id] == nil {
		s.heard[id] = map[string]time.Duration{}
	}
	if code := string(b[8:11]); s.heard[id][code] == 0 {
		s.heard[id][code] = at.Sub(sent)
	}
}

// header is the value of a header.
func header(b []byte, name string) string {
	_, v, _ := strings.Cut(string(b), "\r\n"+name+": ")
	v, _, _ = strings.Cut(v, "\r\n")
	return v
}
