package rtpengine

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"sotto/rtpengine/coalesce"
)

// A loop owns the sockets of its sessions. Its lock guards those sessions: it
// is taken once for a batch of packets, and by whoever changes a session.
//
// Over the network of the system one thread serves all sockets of a loop
// (loop_linux.go). Over a Wire, which is what tests have, each socket has a
// goroutine.
type loop struct {
	mu     sync.Mutex
	listen func(netip.AddrPort) (Wire, error)
	log    *slog.Logger
	poll   *poller // nil over Wires
	wait   sync.WaitGroup
}

// maxPacket is the largest packet that is relayed (ours: an Ethernet jumbo
// frame; media is cut to 1,500).
const maxPacket = 9000

// newLoop starts a loop.
func newLoop(
	listen func(netip.AddrPort) (Wire, error), pause time.Duration, gathers *coalesce.Coalescer, log *slog.Logger,
) (*loop, error) {
	l := &loop{listen: listen, log: log}
	if listen != nil {
		return l, nil
	}
	p, err := newPoller(pause, gathers)
	if err != nil {
		return nil, err
	}
	l.poll = p
	l.wait.Go(func() { p.run(&l.mu) })
	return l, nil
}

// close ends the loop; its sockets must be shut before.
func (l *loop) close() {
	if l.poll != nil {
		l.poll.close()
	}
	l.wait.Wait()
}

// open opens a socket; handle is called for each packet, under the lock.
func (l *loop) open(addr netip.AddrPort, handle func([]byte, netip.AddrPort)) (*sock, error) {
	if l.poll != nil {
		return l.poll.open(addr, handle)
	}
	w, err := l.listen(addr)
	if err != nil {
		return nil, err
	}
	s := &sock{wire: &w, fd: -1, out: noFlow, handle: handle}
	l.wait.Go(func() { l.read(s) })
	return s, nil
}

// read serves one Wire.
func (l *loop) read(s *sock) {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := (*s.wire).ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		if !s.closed() {
			s.handle(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
		l.mu.Unlock()
	}
}

// shut closes a socket. It is called under the lock.
func (l *loop) shut(s *sock) {
	if s.closed() {
		return
	}
	s.withdraw()
	s.handle = nil
	if l.poll != nil {
		l.poll.shut(s)
		return
	}
	_ = (*s.wire).Close() // its reader ends
}

// send sends one packet, and says if the system took it; else it is lost, as
// on any link.
func (s *sock) send(b []byte, to netip.AddrPort) bool {
	if s.closed() {
		return false
	}
	if s.wire != nil {
		_, err := (*s.wire).WriteToUDPAddrPort(b, to)
		return err == nil
	}
	return sendTo(s, b, to)
}

// drops is how many packets the socket lost because nobody read it in time.
func (s *sock) drops() uint64 {
	if s == nil || s.closed() || s.wire != nil {
		return 0
	}
	return drops(s.fd)
}
