package rtpengine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sotto/rtpengine/coalesce"
)

// A poller serves the sockets of one loop by epoll, and by raw system calls
// that allocate nothing.
//
// Its round: of each socket that is ready one packet is served (a stream has
// one every 20 ms; to ask for a second would be a system call more). Then it
// pauses, so that many packets share a wake-up (pace.go). What is too late is
// dropped (shed_linux.go).
type poller struct {
	epoll, wake, clock int
	socks              []*sock // by file descriptor; under the loop's lock
	pace               pace
	gathers            *coalesce.Coalescer // nil: packets do not gather at interfaces
	shed               shed
	near               uint32
	stop               atomic.Bool
	from               unix.RawSockaddrInet6 // large enough for both families
	buf                [maxPacket]byte
}

// batch is how many ready sockets are served under one lock (ours: control
// waits for less than a millisecond; the lock, taken once, is 20 ns of it).
const batch = 128

// tick is how often a loop wakes at the least (ours: for so long may Go's
// garbage collector wait where it has no signals).
const tick = 200 * time.Millisecond

func newPoller(pause time.Duration, gathers *coalesce.Coalescer) (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	clock, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		_, _ = unix.Close(ep), unix.Close(wake)
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	p := &poller{epoll: ep, wake: wake, clock: clock, pace: pace{most: pause, pause: pause}, gathers: gathers}
	every := unix.NsecToTimespec(int64(tick))
	if err := errors.Join(
		p.add(wake), p.add(clock),
		unix.TimerfdSettime(clock, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil),
	); err != nil {
		p.free()
		return nil, err
	}
	reserve(1)
	return p, nil
}

// free closes what the poller itself has open.
func (p *poller) free() {
	for _, fd := range []int{p.epoll, p.wake, p.clock} {
		_ = unix.Close(fd) // nothing was written
	}
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

// run serves packets until close. Its goroutine is not bound to a thread: each
// time that Go's scheduler has it wait, a bound one would have a thread of its
// own woken twice.
func (p *poller) run(mu *sync.Mutex) {
	defer reserve(-1)
	events := make([]unix.EpollEvent, batch)
	for !p.stop.Load() {
		n := p.ready(events)
		if n == 0 {
			n = p.sleep(events)
		}
		p.shed.round(n)
		mu.Lock()
		p.reach(events[:n])
		for _, e := range events[:n] {
			p.serve(e.Fd)
		}
		mu.Unlock()
		if p.pace.most > 0 && n > 0 {
			p.rest(n)
		}
	}
	p.free()
}

// ready waits for ready sockets in a raw system call. That keeps Go's scheduler
// from taking the processor away and giving it back, which is 3 µs for each
// packet; and it sets no timer, which is another half. It ends when the
// scheduler wants the thread, which sends it a signal after 10 ms, or if such
// signals are switched off (GODEBUG=asyncpreemptoff=1) with a tick of the clock.
func (p *poller) ready(events []unix.EpollEvent) int {
	const forever = ^uintptr(0)
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), forever, 0, 0)
	if errno != 0 || n == 1 && events[0].Fd == int32(p.clock) {
		return 0 // EINTR, or nothing but the time
	}
	return int(n)
}

// sleep waits until a socket is ready, and costs nobody a processor.
func (p *poller) sleep(events []unix.EpollEvent) int {
	runtime.Gosched()
	n, err := unix.EpollWait(p.epoll, events, -1)
	if err != nil {
		return 0 // EINTR
	}
	return n
}

// rest lets packets gather after a round that has served n, unless they do so
// at the interface. Go's other goroutines have processors of their own
// (reserve); they are let have this one, too, from time to time, not in each pause.
func (p *poller) rest(n int) {
	pause, passed := p.pace.after(n, time.Now())
	if passed {
		runtime.Gosched()
	}
	if pause == 0 || n == batch || p.gathers.Active() { // with a full batch more of them wait
		return
	}
	ts := unix.NsecToTimespec(int64(pause))
	_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0) // EINTR ends it early
}

// reach has the processor fetch both lines of all flows of a batch from memory
// at a time; each for itself would be waited for.
func (p *poller) reach(events []unix.EpollEvent) {
	for _, e := range events {
		if int(e.Fd) < len(p.socks) && p.socks[e.Fd] != nil {
			p.near += uint32(p.socks[e.Fd].out) + p.socks[e.Fd].came.max // the sum is nothing
		}
	}
}

// serve takes one packet that waits at a socket.
func (p *poller) serve(fd int32) {
	if int(fd) >= len(p.socks) || p.socks[fd] == nil {
		if int(fd) == p.clock {
			_, _ = unix.Read(p.clock, p.buf[:8]) // it ticks on when it has been read
		}
		return
	}
	s := p.socks[fd]
	size := uint32(unsafe.Sizeof(p.from))
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&p.from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return // empty, or an ICMP error that belongs to nobody
	}
	if b := p.buf[:n]; !s.relay(b, &p.from) {
		s.handle(b, addrOf(&p.from))
		return
	}
	if n := p.shed.after(fd, len(p.socks)); n > 0 {
		s.came.late = uint16(min(int(s.came.late)+n, math.MaxUint16))
	}
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
	s := &sock{fd: int32(fd), out: noFlow, v6: family == unix.AF_INET6, handle: handle}
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
func drops(fd int32) uint64 {
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
	_ = unix.Close(int(s.fd))
}

// close ends run.
func (p *poller) close() {
	p.stop.Store(true)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:])
}
