package memnet

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// PacketConn is what ListenPacket returns; the same as flow.PacketConn.
type PacketConn = interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// A Socket is a UDP socket. Its methods are safe for concurrent use.
type Socket struct {
	host  *Host
	local netip.AddrPort

	mu      sync.Mutex
	waiting []arrival // by time of arrival
	lost    uint64
	closed  bool
	change  signal
}

// arrival is a datagram that has arrived, or will.
type arrival struct {
	at   time.Time
	from netip.AddrPort
	data []byte
}

// ListenPacket opens a UDP socket. The unspecified address stands for all
// addresses of its family, that of IPv6 for all of both; port 0 picks one.
func (h *Host) ListenPacket(addr netip.AddrPort) (PacketConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	local, err := h.bind("listen", addr, func(a netip.AddrPort) bool { return h.sockets[a] != nil })
	if err != nil {
		return nil, err
	}
	s := &Socket{host: h, local: local, change: newSignal()}
	h.sockets[local] = s
	return s, nil
}

// LocalAddr is where the socket is bound.
func (s *Socket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local) }

// WriteToUDPAddrPort sends a datagram. It never waits.
func (s *Socket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	to = unmap(to)
	from := s.local
	switch {
	case closed:
		return 0, failed("write", to, net.ErrClosed)
	case len(b) > maxDatagram:
		return 0, failed("write", to, syscall.EMSGSIZE)
	case from.Addr().Is4() != to.Addr().Is4() && from.Addr() != netip.IPv6Unspecified():
		return 0, failed("write", to, syscall.EAFNOSUPPORT)
	}
	if from.Addr().IsUnspecified() {
		a, ok := s.host.from(to.Addr())
		if !ok {
			return 0, failed("write", to, syscall.ENETUNREACH)
		}
		from = netip.AddrPortFrom(a, from.Port())
	}
	if h, f := s.host.net.judge(from, to, b); h != nil && !f.Lost {
		for range f.Copies + 1 {
			h.deliver(to, arrival{time.Now().Add(f.Delay), from, bytes.Clone(b)})
		}
	}
	return len(b), nil
}

// deliver gives a datagram to the socket that wants it.
func (h *Host) deliver(to netip.AddrPort, d arrival) {
	h.mu.Lock()
	var s *Socket
	for _, a := range wanted(to) {
		if s = h.sockets[a]; s != nil {
			break
		}
	}
	h.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= maxWaiting {
		s.lost++
		return
	}
	i := len(s.waiting)
	for i > 0 && d.at.Before(s.waiting[i-1].at) {
		i--
	}
	s.waiting = slices.Insert(s.waiting, i, d)
	s.change.broadcast()
}

// ReadFromUDPAddrPort waits for the next datagram. What does not fit into b
// is cut off.
func (s *Socket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	var (
		size [1]int
		from [1]netip.AddrPort
	)
	_, err := s.ReadBatch([][]byte{b}, size[:], from[:], true)
	return size[0], from[0], err
}

// ReadBatch takes the datagrams that have arrived, as many as there are bufs.
// If there are none it waits for the first, or not.
func (s *Socket) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort, wait bool) (int, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return 0, failed("read", s.local, net.ErrClosed)
		}
		n, now := 0, time.Now()
		for n < len(bufs) && n < len(s.waiting) && !now.Before(s.waiting[n].at) {
			sizes[n], from[n] = copy(bufs[n], s.waiting[n].data), seen(s.local, s.waiting[n].from)
			n++
		}
		s.waiting = s.waiting[n:]
		var next time.Time
		if len(s.waiting) > 0 {
			next = s.waiting[0].at
		}
		changed := s.change.wait()
		s.mu.Unlock()
		if n > 0 || !wait {
			return n, nil
		}
		sleep(changed, next)
	}
}

// Lost is how many datagrams came while the socket was full.
func (s *Socket) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Close closes the socket; a waiting reader gets net.ErrClosed.
func (s *Socket) Close() error {
	s.host.mu.Lock()
	if s.host.sockets[s.local] == s {
		delete(s.host.sockets, s.local)
	}
	s.host.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return failed("close", s.local, net.ErrClosed)
	}
	s.closed = true
	s.change.broadcast()
	return nil
}

// A signal wakes whoever waits for a change. It is used under the lock of
// what changes.
type signal struct{ ch chan struct{} }

func newSignal() signal { return signal{make(chan struct{})} }

// wait returns a channel that the next change closes.
func (s *signal) wait() <-chan struct{} { return s.ch }

func (s *signal) broadcast() {
	close(s.ch)
	s.ch = make(chan struct{})
}

// sleep waits for a change, or until a time; the zero time never comes.
func sleep(changed <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}
