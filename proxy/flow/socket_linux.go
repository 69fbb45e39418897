package flow

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ListenPacket implements Network.
func (n realNetwork) ListenPacket(addr netip.AddrPort) (PacketConn, error) {
	c, err := net.ListenUDP(Family("udp", addr.Addr()), net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s := &socket{UDPConn: c, raw: raw}
	s.receive = s.tryReceive
	s.grow(n.buffer)
	if addr.Addr().IsUnspecified() {
		s.askWhere()
	}
	return s, nil
}

// A socket is a UDP socket that gives all that waits in it by one call. It has
// one reader.
type socket struct {
	*net.UDPConn
	raw syscall.RawConn

	where bool // the kernel says of each datagram to which address it came
	six   bool // an IPv6 socket, which may take IPv4 as well

	// Of the call under way:
	receive  func(fd uintptr) bool // tryReceive
	messages []message
	vectors  []unix.Iovec
	names    []unix.RawSockaddrInet6 // room enough for both families
	infos    [][infoSize]byte        // what the kernel says of each
	wait     bool
	got      int
	errno    syscall.Errno
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	head unix.Msghdr
	size uint32
}

// infoSize is room for one control message with an in6_pktinfo, the larger one.
const infoSize = 40

// askWhere has the kernel say to which address each datagram came.
func (s *socket) askWhere() {
	_ = s.raw.Control(func(fd uintptr) { // the socket is open
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if s.six = domain == unix.AF_INET6; err != nil {
			return
		}
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if s.six { // of IPv4 it says the mapped address (ipv6(7))
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		s.where = unix.SetsockoptInt(int(fd), level, option, 1) == nil
	})
}

// To implements sourced.
func (s *socket) To(place int) netip.Addr {
	h := &s.messages[place].head
	if !s.where || int(h.Controllen) < unix.CmsgLen(unix.SizeofInet4Pktinfo) {
		return netip.Addr{}
	}
	info := s.infos[place][:]
	data := info[unix.CmsgLen(0):]
	switch c := (*unix.Cmsghdr)(unsafe.Pointer(&info[0])); {
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO:
		return sendable(netip.AddrFrom16([16]byte(data)).Unmap())
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO: // interface, our address, destination
		return sendable(netip.AddrFrom4([4]byte(data[4:])))
	}
	return netip.Addr{}
}

// sendable is an address if a datagram can be sent from it alone.
func sendable(a netip.Addr) netip.Addr {
	if a.IsMulticast() || a.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	return a
}

// WriteFrom implements sourced.
func (s *socket) WriteFrom(b []byte, from netip.Addr, to netip.AddrPort) (int, error) {
	if !s.where {
		return s.WriteToUDPAddrPort(b, to)
	}
	var info [infoSize]byte
	c := (*unix.Cmsghdr)(unsafe.Pointer(&info[0]))
	size := unix.SizeofInet4Pktinfo
	if s.six {
		size = unix.SizeofInet6Pktinfo
		c.Level, c.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		source := from.As16()
		copy(info[unix.CmsgLen(0):], source[:])
	} else {
		c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		copy(info[unix.CmsgLen(4):], from.AsSlice())
	}
	c.SetLen(unix.CmsgLen(size))
	n, _, err := s.WriteMsgUDPAddrPort(b, info[:unix.CmsgSpace(size)], to)
	return n, err
}

// grow asks for a receive queue of n bytes. The system gives as much to a
// server that may administer the network, and net.core.rmem_max to others.
func (s *socket) grow(n int) {
	err := unix.EPERM
	_ = s.raw.Control(func(fd uintptr) { // the socket is open
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
			err = 0
		}
	})
	if err != 0 {
		_ = s.SetReadBuffer(n)
	}
}

// Buffer is how many bytes a UDP socket of this process holds if it asks for n; 0
// is not known.
func Buffer(n int) int {
	c, err := realNetwork{buffer: n}.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return 0
	}
	s := c.(*socket)
	got := 0
	_ = s.raw.Control(func(fd uintptr) { // the socket is open
		got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	_ = s.Close()
	return got / 2 // the kernel doubles it, for what it needs itself (socket(7))
}

// ReadBatch implements BatchConn.
func (s *socket) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort, wait bool) (int, error) {
	s.prepare(bufs)
	s.wait, s.got, s.errno = wait, 0, 0
	if err := s.raw.Read(s.receive); err != nil {
		return 0, err
	}
	if s.errno != 0 {
		return 0, &net.OpError{Op: "read", Net: "udp", Err: s.errno}
	}
	for i := range s.got {
		sizes[i], from[i] = int(s.messages[i].size), addrOf(&s.names[i])
	}
	return s.got, nil
}

// prepare points the messages at the buffers.
func (s *socket) prepare(bufs [][]byte) {
	if len(s.messages) < len(bufs) {
		s.messages = make([]message, len(bufs))
		s.vectors = make([]unix.Iovec, len(bufs))
		s.names = make([]unix.RawSockaddrInet6, len(bufs))
		s.infos = make([][infoSize]byte, len(bufs))
	}
	s.messages = s.messages[:len(bufs)]
	for i, b := range bufs {
		s.vectors[i].Base = &b[0]
		s.vectors[i].SetLen(len(b))
		h := &s.messages[i].head
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.names[i])), unix.SizeofSockaddrInet6
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
		if s.where {
			h.Control = &s.infos[i][0]
			h.SetControllen(infoSize)
		}
	}
}

// tryReceive takes what has come; it is false if it is to be called again when
// there is something. The call is raw: it never waits, and Go's scheduler need
// not be told of it.
func (s *socket) tryReceive(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.messages[0])),
			uintptr(len(s.messages)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			s.got = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return !s.wait
		default:
			s.errno = errno
			return true
		}
	}
}

// addrOf is the address in a name that the kernel wrote.
func addrOf(n *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&n.Port))[:])
	if n.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	a := netip.AddrFrom16(n.Addr)
	if n.Scope_id != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(n.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, port)
}

// memDrops is the place of the drops in what SO_MEMINFO says (linux/sock_diag.h).
const memDrops = 8

// Lost implements BatchConn.
func (s *socket) Lost() uint64 {
	var info [memDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_ = s.raw.Control(func(fd uintptr) { // of a closed socket nothing is known
		_, _, _ = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return uint64(info[memDrops])
}
