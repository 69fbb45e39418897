package rtpengine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller serves the sockets of one loop on one thread: epoll, and raw
// system calls that allocate nothing.
//
// Its round: what is ready is served until nothing is, one packet of a socket
// at a time (a stream has one every 20 ms; to ask for a second would double
// the system calls). Then it pauses for the rest of media.pause, so that many
// packets share a wake-up; under a load that fills the pause there is none.
// When a pause has brought nothing it sleeps until there is something.
type poller struct {
	epoll, wake int
	pause       time.Duration
	socks       []*sock   // by file descriptor; under the loop's lock
	shared      time.Time // when others were last let have the processor
	stop        atomic.Bool
	buf         [maxPacket]byte
}

// batch is how many ready sockets are served under one lock (ours: control
// waits for less than a millisecond; the lock, taken once, is 20 ns of it).
const batch = 128

// spin is how long a poller without a pause waits in a raw system call (ours:
// as long as Go lets a goroutine run). A raw call keeps Go's scheduler from
// taking its processor away and giving it back, which is 3 µs for each packet.
const spin = 10 * time.Millisecond

func newPoller(pause time.Duration) (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{epoll: ep, wake: wake, pause: pause}
	if err := p.add(wake); err != nil {
		_ = unix.Close(ep)
		_ = unix.Close(wake)
		return nil, err
	}
	reserve(1)
	return p, nil
}

// processors guards Go's number of them, which has no way to add to it.
var processors sync.Mutex

// reserve gives Go so many processors more, or less. A poller that waits in a
// raw call keeps one; on a machine with one core all else would wait with it.
func reserve(n int) {
	processors.Lock()
	defer processors.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
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
	defer reserve(-1)
	events := make([]unix.EpollEvent, batch)
	for !p.stop.Load() {
		began := time.Now()
		n := 0
		if p.pause > 0 { // else it has just been looked
			n = p.ready(events, 0)
		}
		if n == 0 {
			n = p.sleep(events)
		}
		for ; n > 0 && !p.stop.Load(); n = p.ready(events, 0) {
			mu.Lock()
			for _, e := range events[:n] {
				p.serve(e.Fd)
			}
			mu.Unlock()
		}
		p.rest(began)
	}
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wake)
}

// ready asks for ready sockets by one raw system call.
func (p *poller) ready(events []unix.EpollEvent, wait time.Duration) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(wait.Milliseconds()), 0, 0)
	if errno != 0 {
		return 0 // EINTR: the scheduler wants the thread
	}
	return int(n)
}

// sleep waits until a socket is ready. Without a pause the wait begins in a
// raw call; a longer one costs nobody a processor.
func (p *poller) sleep(events []unix.EpollEvent) int {
	if p.pause == 0 {
		if n := p.ready(events, spin); n > 0 {
			return n
		}
	}
	runtime.Gosched()
	n, err := unix.EpollWait(p.epoll, events, -1)
	if err != nil {
		return 0 // EINTR
	}
	return n
}

// rest lets packets gather for what is left of the pause. Go's other goroutines
// have processors of their own (reserve): to let them have this one, too, takes
// two changes of threads, so that is done as often as Go would, not each time.
func (p *poller) rest(began time.Time) {
	d := p.pause - time.Since(began)
	if d <= 0 {
		return
	}
	if began.Sub(p.shared) > spin {
		runtime.Gosched()
		p.shared = began
	}
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0) // EINTR ends it early
}

// serve takes one packet that waits at a socket.
func (p *poller) serve(fd int32) {
	if int(fd) >= len(p.socks) || p.socks[fd] == nil {
		return
	}
	s := p.socks[fd]
	if n, from, ok := p.receive(s); ok {
		s.handle(p.buf[:n], from)
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

// sendTo sends one packet, and says if the system took it.
func sendTo(s *sock, b []byte, to netip.AddrPort) bool {
	if len(b) == 0 || to.Addr().Is4() == s.v6 {
		return false // the other family cannot be reached from here
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
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(ptr), n)
	return errno == 0
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
	if err := prepare(fd, family); err != nil {
		_ = unix.Close(fd)
		return nil, err
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
	for len(p.socks) <= fd {
		p.socks = append(p.socks, nil)
	}
	p.socks[fd] = s
	return s, nil
}

// What a relayed packet looks like, whichever party it is of: nothing in its
// header tells how far away, or what, its sender is.
const (
	hops    = 64   // RFC 1700
	traffic = 0xb8 // expedited forwarding (RFC 3246), as telephony has it (RFC 4594 §4.1)
)

// receiveBuffer bounds what waits at a socket (ours: a second of video at
// 500 kbit/s; the system doubles it for its own part).
const receiveBuffer = 64 << 10

// prepare sets the options of a socket. DF is not set and what ICMP says of a
// path's MTU is not believed (IP_PMTUDISC_OMIT): anybody can send such a
// message, and no phone learns from it. ICMP errors are not asked for.
func prepare(fd, family int) error {
	opts := [][3]int{
		{unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer},
		{unix.IPPROTO_IP, unix.IP_TTL, hops},
		{unix.IPPROTO_IP, unix.IP_TOS, traffic},
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
	}
	if family == unix.AF_INET6 {
		opts = [][3]int{
			{unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer},
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops},
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, traffic},
			{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		}
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("socket option %d: %w", o[1], err)
		}
	}
	return nil
}

// memDrops is the place of the drops in what SO_MEMINFO says (linux/sock_diag.h).
const memDrops = 8

// drops is how many packets a socket lost because its buffer was full.
func drops(fd int) uint64 {
	var info [memDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return uint64(info[memDrops])
}

// shut closes a socket. It is called under the loop's lock, so that no event
// of the old socket is taken for one of a new socket with its number.
func (p *poller) shut(s *sock) {
	p.socks[s.fd] = nil
	_ = unix.Close(s.fd)
}

// close ends run.
func (p *poller) close() {
	p.stop.Store(true)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:])
}
