package memnet

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Listener takes TCP connections. Its methods are safe for concurrent use.
type Listener struct {
	host   *Host
	local  netip.AddrPort
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen opens a TCP listener, with addresses as in ListenPacket.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	local, err := h.bind("listen", addr, func(a netip.AddrPort) bool { return h.listeners[a] != nil })
	if err != nil {
		return nil, err
	}
	l := &Listener{host: h, local: local, queue: make(chan net.Conn, maxBacklog), closed: make(chan struct{})}
	h.listeners[local] = l
	return l, nil
}

// Addr is where the listener is bound.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, failed("accept", l.local, net.ErrClosed)
	case c := <-l.queue:
		return c, nil
	}
}

// Close closes the listener, and the connections that it has not accepted.
func (l *Listener) Close() error {
	l.host.mu.Lock()
	if l.host.listeners[l.local] == l {
		delete(l.host.listeners, l.local)
	}
	l.host.mu.Unlock()
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Dial opens a TCP connection, which takes a round trip.
func (h *Host) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	to := unmap(addr)
	ip, ok := h.from(to.Addr())
	if !ok {
		return nil, failed("dial", to, syscall.ENETUNREACH)
	}
	peer, delay := h.net.at(to.Addr())
	if peer == nil {
		<-ctx.Done()
		return nil, failed("dial", to, ctx.Err())
	}
	select {
	case <-ctx.Done():
		return nil, failed("dial", to, ctx.Err())
	case <-time.After(2 * delay):
	}
	h.mu.Lock()
	from, err := h.bind("dial", netip.AddrPortFrom(ip, 0), func(netip.AddrPort) bool { return false })
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return peer.connect(from, to, delay)
}

// connect makes both ends of a connection and queues one.
func (h *Host) connect(from, to netip.AddrPort, delay time.Duration) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var l *Listener
	for _, a := range wanted(to) {
		if l = h.listeners[a]; l != nil {
			break
		}
	}
	if l == nil {
		return nil, failed("dial", to, syscall.ECONNREFUSED)
	}
	there, back := newPipe(delay), newPipe(delay)
	select {
	case l.queue <- &conn{in: there, out: back, local: seen(l.local, to), peer: seen(l.local, from)}:
		return &conn{in: back, out: there, local: from, peer: to}, nil
	default:
		return nil, failed("dial", to, syscall.ECONNREFUSED)
	}
}

// conn is one end of a TCP connection.
type conn struct {
	in, out     *pipe
	local, peer netip.AddrPort
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer) }

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && err != io.EOF {
		err = failed("read", c.peer, err)
	}
	return n, err
}

// Write implements net.Conn. It waits while the peer has a window full to read.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	if err != nil {
		err = failed("write", c.peer, err)
	}
	return n, err
}

// Close implements net.Conn: what was written still arrives, what the peer
// writes from now on is lost and fails.
func (c *conn) Close() error {
	c.out.end(false)
	c.in.end(true)
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.deadline(&c.in.readBy, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.deadline(&c.out.writeBy, t)
	return nil
}

// A pipe is one direction of a connection.
type pipe struct {
	delay time.Duration

	mu              sync.Mutex
	segments        []arrival // in the order they were written
	size            int       // bytes in them
	ended           bool      // the writer has closed
	endAt           time.Time // when the reader learns that
	gone            bool      // the reader has closed
	readBy, writeBy time.Time
	change          signal
}

func newPipe(delay time.Duration) *pipe { return &pipe{delay: delay, change: newSignal()} }

// read waits for bytes.
func (p *pipe) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n, until, err := p.take(b)
		changed := p.change.wait()
		p.mu.Unlock()
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		sleep(changed, until)
	}
}

// take reads what has arrived, and says until when to wait if that is nothing.
func (p *pipe) take(b []byte) (n int, until time.Time, err error) {
	now := time.Now()
	switch {
	case p.gone:
		return 0, until, net.ErrClosed
	case over(p.readBy, now):
		return 0, until, os.ErrDeadlineExceeded
	case len(p.segments) == 0 && p.ended && !now.Before(p.endAt):
		return 0, until, io.EOF
	}
	until = p.readBy
	if p.ended && len(p.segments) == 0 {
		until = sooner(until, p.endAt)
	}
	for n < len(b) && len(p.segments) > 0 {
		s := &p.segments[0]
		if now.Before(s.at) {
			until = sooner(until, s.at)
			break
		}
		k := copy(b[n:], s.data)
		n, p.size, s.data = n+k, p.size-k, s.data[k:]
		if len(s.data) == 0 {
			p.segments = p.segments[1:]
		}
	}
	if n > 0 {
		p.change.broadcast() // there is room again
	}
	return n, until, nil
}

// write waits until all of b has room.
func (p *pipe) write(b []byte) (n int, err error) {
	for {
		p.mu.Lock()
		k, err := p.put(b[n:])
		n += k
		changed, until := p.change.wait(), p.writeBy
		p.mu.Unlock()
		if n == len(b) || err != nil {
			return n, err
		}
		sleep(changed, until)
	}
}

// put writes what has room.
func (p *pipe) put(b []byte) (int, error) {
	switch {
	case p.ended:
		return 0, net.ErrClosed
	case p.gone:
		return 0, syscall.EPIPE
	case over(p.writeBy, time.Now()):
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(b), window-p.size)
	if n > 0 {
		p.segments = append(p.segments, arrival{at: time.Now().Add(p.delay), data: bytes.Clone(b[:n])})
		p.size += n
		p.change.broadcast()
	}
	return n, nil
}

// end closes the pipe for its writer, or for its reader.
func (p *pipe) end(reader bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reader {
		p.gone, p.segments = true, nil
	} else if !p.ended {
		p.ended, p.endAt = true, time.Now().Add(p.delay)
	}
	p.change.broadcast()
}

// deadline sets one of the two deadlines and wakes who waits for the old one.
func (p *pipe) deadline(which *time.Time, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = t
	p.change.broadcast()
}

// over says that a deadline has passed.
func over(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// sooner is the earlier of a deadline, which may be zero, and a time.
func sooner(deadline, t time.Time) time.Time {
	if deadline.IsZero() || t.Before(deadline) {
		return t
	}
	return deadline
}
