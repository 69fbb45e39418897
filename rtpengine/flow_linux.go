package rtpengine

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sock is one open socket, and the flow that comes to it: one direction of a
// stream, once it is known where from and where to. A flow is to user space
// what struct entry (kernel/relay.c) is to the kernel's plane. It is installed
// and withdrawn where that is, takes the same packets, counts them as that
// does, and leaves all others to stream.go.
//
// All that a packet needs of it are two lines of memory, of 64 bytes. With
// thousands of streams no line is at hand, and the wait for some of them costs
// as much as everything else that is done between two system calls.
type sock struct {
	to     unix.RawSockaddrInet6 // where the flow goes, as the system reads it
	fd     int32                 // of the poller; -1 over a Wire
	out    int32                 // the descriptor that the flow leaves by; noFlow without one
	from   [16]byte              // where it comes from; of IPv4 the first four
	port   uint16                // as the system writes it
	v6     bool
	plain  bool // neither contributing sources nor extension
	came   arrivals
	wire   *Wire                               // nil: the poller's; by pointer, for the size
	handle func(b []byte, from netip.AddrPort) // for what is not of the flow; nil: closed
}

// Arrivals are what has come of a flow: packets, bytes and failed since that was
// last read, the rest as in counts.
type arrivals struct {
	packets, bytes uint64
	last           int64 // when the last came, ns; 0: none yet
	jitter         uint64
	ssrc           uint32
	max            uint32
	stamp, tick    uint32
	failed         uint32 // packets that the system did not take
	late           uint16 // packets that were dropped (shed_linux.go), or as many as it holds
	payload        uint8
}

// noFlow is no descriptor.
const noFlow = -1

// closed says that the socket is.
func (s *sock) closed() bool { return s.handle == nil }

// install lets the loop relay what comes from there. It does nothing if that
// cannot be sent, or not by system calls: then handle does what there is to do.
func (s *sock) install(from, to netip.AddrPort, out *sock, plain bool, c *counts) {
	if s.wire != nil || out.closed() || from.Addr().Is4() == s.v6 || to.Addr().Is4() == out.v6 {
		return
	}
	var sa unix.RawSockaddrInet6
	rawAddr(&sa, from)
	s.from, s.port = hostOf(&sa), sa.Port
	rawAddr(&s.to, to)
	s.out, s.plain = out.fd, plain
	s.came = arrivals{
		last: c.arrived, jitter: c.jitter, ssrc: c.ssrc, max: c.max, stamp: c.stamp, tick: c.tick,
		payload: c.payload &^ looked,
	}
}

// withdraw leaves all packets to handle.
func (s *sock) withdraw() { s.out = noFlow }

// relay relays a packet if it is of the flow, and says so.
func (s *sock) relay(b []byte, from *unix.RawSockaddrInet6) bool {
	if s.out == noFlow || from.Port != s.port || hostOf(from) != s.from {
		return false
	}
	ahead, ok := s.takes(b)
	if !ok {
		return false
	}
	if !sendRaw(s.out, b, &s.to) {
		s.came.failed++
	}
	s.came.add(b, ahead, time.Now().UnixNano())
	return true
}

// takes says that a packet is one of the flow by its content, and how far its
// sequence number is beyond the highest.
func (s *sock) takes(b []byte) (ahead int16, ok bool) {
	const extension, sources = 0x10, 0x0f
	t := &s.came
	if classify(b) != kindRTP || b[1]&^looked != t.payload || binary.BigEndian.Uint32(b[8:]) != t.ssrc ||
		s.plain && b[0]&(extension|sources) != 0 {
		return 0, false
	}
	ahead = int16(binary.BigEndian.Uint16(b[2:]) - uint16(t.max)) // wraps on purpose
	return ahead, ahead < maxDropout && ahead > -maxMisorder      // else the sequence begins anew
}

// add counts a packet.
func (t *arrivals) add(b []byte, ahead int16, at int64) {
	if ahead > 0 {
		t.max += uint32(ahead)
	}
	stamp := binary.BigEndian.Uint32(b[4:])
	if t.tick != 0 && t.last != 0 {
		t.jitter = shaken(t.jitter, at-t.last, int32(stamp-t.stamp), t.tick)
	}
	t.stamp, t.last = stamp, at
	t.packets++
	t.bytes += uint64(len(b))
}

// take brings the counts up to date with a flow's.
func (c *counts) take(t *arrivals) {
	if t.packets == 0 {
		return
	}
	c.packets += t.packets
	c.received += t.packets
	c.bytes += t.bytes
	c.dropped[dropSend] += uint64(t.failed)
	c.dropped[dropFull] += uint64(t.late)
	c.max, c.jitter = t.max, t.jitter
	if c.tick != 0 {
		c.stamp, c.arrived = t.stamp, t.last
	}
	if heard := time.Unix(0, t.last); heard.After(c.lastHeard) {
		c.lastHeard = heard
	}
	t.packets, t.bytes, t.failed, t.late = 0, 0, 0, 0
}

// hostOf is the address in a socket address; of IPv4 the first four bytes.
func hostOf(sa *unix.RawSockaddrInet6) (a [16]byte) {
	if sa.Family == unix.AF_INET {
		*(*[4]byte)(a[:4]) = (*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr
		return a
	}
	return sa.Addr
}

// addrOf reads a socket address.
func addrOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	a := hostOf(sa)
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
}

// rawAddr writes a socket address.
func rawAddr(sa *unix.RawSockaddrInet6, a netip.AddrPort) {
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6}
	if a.Addr().Is4() {
		sa.Family = unix.AF_INET
		(*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr = a.Addr().As4()
	} else {
		sa.Addr = a.Addr().As16()
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], a.Port())
}

// sendRaw sends one packet, and says if the system took it.
func sendRaw(fd int32, b []byte, to *unix.RawSockaddrInet6) bool {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to)) // of IPv4 the system reads as much as it needs
	return errno == 0
}

// sendTo sends one packet that is of no flow, and says if the system took it.
func sendTo(s *sock, b []byte, to netip.AddrPort) bool {
	if len(b) == 0 || to.Addr().Is4() == s.v6 {
		return false // the other family cannot be reached from here
	}
	var sa unix.RawSockaddrInet6
	rawAddr(&sa, to)
	return sendRaw(s.fd, b, &sa)
}
