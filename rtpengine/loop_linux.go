package rtpengine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller serves the sockets of one loop on one thread: epoll, and raw
// system calls that allocate nothing.
type poller struct {
	epoll, wake int
	socks       map[int32]*sock // by file descriptor; under the loop's lock
	stop        atomic.Bool
	buf         [maxPacket]byte
}

// batch is how many ready sockets are served under one lock, and burst how
// many packets of one of them (ours: fair to the others, and control waits
// for less than a millisecond).
const (
	batch = 128
	burst = 8
)

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{epoll: ep, wake: wake, socks: map[int32]*sock{}}
	if err := p.add(wake); err != nil {
		_ = unix.Close(ep)
		_ = unix.Close(wake)
		return nil, err
	}
	return p, nil
}

// add lets epoll watch a descriptor.
func (p *poller) add(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// run serves packets until close.
func (p *poller) run(mu *sync.Mutex) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, batch)
	for {
		n := p.ready(events)
		if p.stop.Load() {
			break
		}
		mu.Lock()
		for i := range n {
			if s := p.socks[events[i].Fd]; s != nil {
				p.serve(s)
			}
		}
		mu.Unlock()
	}
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wake)
}

// ready asks for ready sockets: at once while there are any, which costs one
// raw system call; else it sleeps, and lets others have the processor.
func (p *poller) ready(events []unix.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno == 0 && n > 0 {
		return int(n)
	}
	runtime.Gosched() // the only preemption point of a busy loop
	woken, err := unix.EpollWait(p.epoll, events, -1)
	if err != nil {
		return 0 // EINTR
	}
	return woken
}

// serve takes what waits at a socket.
func (p *poller) serve(s *sock) {
	for range burst {
		n, from, ok := p.receive(s)
		if !ok || s.closed {
			return
		}
		s.handle(p.buf[:n], from)
		if s.closed {
			return
		}
	}
}

// receive takes one packet.
func (p *poller) receive(s *sock) (int, netip.AddrPort, bool) {
	var sa unix.RawSockaddrInet6 // large enough for both families
	size := uint32(unsafe.Sizeof(sa))
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd),
		uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, netip.AddrPort{}, false // empty, or an ICMP error that belongs to nobody
	}
	return int(n), addrOf(&sa), true
}

// addrOf reads a socket address.
func addrOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
}

// sendTo sends one packet.
func sendTo(s *sock, b []byte, to netip.AddrPort) {
	if len(b) == 0 || to.Addr().Is4() == s.v6 {
		return // the other family cannot be reached from here
	}
	var (
		sa4 unix.RawSockaddrInet4
		sa6 unix.RawSockaddrInet6
		ptr unsafe.Pointer
		n   uintptr
	)
	if s.v6 {
		sa6.Family, sa6.Addr = unix.AF_INET6, to.Addr().As16()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa6.Port))[:], to.Port())
		ptr, n = unsafe.Pointer(&sa6), unsafe.Sizeof(sa6)
	} else {
		sa4.Family, sa4.Addr = unix.AF_INET, to.Addr().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa4.Port))[:], to.Port())
		ptr, n = unsafe.Pointer(&sa4), unsafe.Sizeof(sa4)
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), // lost if it fails
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(ptr), n)
}

// open opens a socket on one address of the host.
func (p *poller) open(addr netip.AddrPort, handle func([]byte, netip.AddrPort)) (*sock, error) {
	var (
		family = unix.AF_INET6
		sa     unix.Sockaddr
	)
	if ip := addr.Addr().Unmap(); ip.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	} else {
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind: %w", err)
	}
	s := &sock{fd: fd, v6: family == unix.AF_INET6, handle: handle}
	if err := p.add(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	p.socks[int32(fd)] = s
	return s, nil
}

// shut closes a socket. It is called under the loop's lock, so that no event
// of the old socket is taken for one of a new socket with its number.
func (p *poller) shut(s *sock) {
	delete(p.socks, int32(s.fd))
	_ = unix.Close(s.fd)
}

// close ends run.
func (p *poller) close() {
	p.stop.Store(true)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:])
}
