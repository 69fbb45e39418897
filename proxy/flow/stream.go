package flow

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/guard"
	"sotto/proxy/wire"
)

// A conn is one TCP or TLS connection: a reader, and a writer that empties a
// bounded queue. Whoever fails first closes it for both.
type conn struct {
	mux     *Mux
	flow    *Flow
	key     dialKey // zero if the peer opened it
	counted bool    // in Mux.perAddr
	queue   chan []byte
	closed  chan struct{}
	once    sync.Once
	tls     atomic.Pointer[tls.ConnectionState]
	// stranger: nobody has proved to be a user over it; as of the last message.
	stranger atomic.Bool
}

// listenStream opens a listener and starts to accept.
func (m *Mux) listenStream(transport string, addr netip.AddrPort) (netip.AddrPort, error) {
	l, err := m.cfg.Network.Listen(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	local, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		_ = l.Close()
		return netip.AddrPort{}, err
	}
	m.mu.Lock()
	m.listeners = append(m.listeners, l)
	m.mu.Unlock()
	m.wait.Add(1)
	go m.accept(l, transport)
	return unmap(local), nil
}

// accept takes connections until the listener is closed. A handshake is never
// done here: one silent peer must not keep the others out.
func (m *Mux) accept(l net.Listener, transport string) {
	defer m.wait.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			m.log.Warn("accepting connection", "err", err)
			time.Sleep(10 * time.Millisecond) // out of file descriptors: do not spin
			continue
		}
		if c := m.admit(nc, transport); c != nil {
			go func() {
				defer m.wait.Done()
				if transport == "tls" {
					nc = tls.Server(nc, m.cfg.TLS)
				}
				m.serve(c, nc)
			}()
		}
	}
}

// admit counts a connection in, or closes it if there are too many.
func (m *Mux) admit(nc net.Conn, transport string) *conn {
	local, err1 := netip.ParseAddrPort(nc.LocalAddr().String())
	peer, err2 := netip.ParseAddrPort(nc.RemoteAddr().String())
	local, peer = unmap(local), unmap(peer)
	if g := m.cfg.Guard; g != nil && !g.Connects(peer.Addr(), time.Now()) {
		_ = nc.Close()
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err1 != nil || err2 != nil || m.stopped || len(m.conns) >= m.cfg.Limits.accepted() ||
		m.perAddr[peer.Addr()] >= m.cfg.Limits.PerAddress {
		m.counters.Refused.Add(1)
		_ = nc.Close()
		return nil
	}
	c := m.newConn(transport, local, peer)
	c.counted = true
	m.perAddr[peer.Addr()]++
	m.conns[c.flow.ref.ID] = c
	m.wait.Add(1)
	return c
}

// serve runs a connection until it ends.
func (m *Mux) serve(c *conn, nc net.Conn) {
	defer m.forget(c)
	defer nc.Close()
	var writer sync.WaitGroup
	defer writer.Wait()
	if !c.handshake(nc) {
		return
	}
	writer.Go(func() { c.write(nc) })
	c.close(c.read(nc))
}

// handshake does the TLS handshake within its time.
func (c *conn) handshake(nc net.Conn) bool {
	go func() { // whoever closes c unblocks reader and writer
		<-c.closed
		_ = nc.Close()
	}()
	t, ok := nc.(*tls.Conn)
	if !ok {
		return true
	}
	_ = nc.SetDeadline(time.Now().Add(c.mux.cfg.Limits.Handshake))
	if err := t.Handshake(); err != nil {
		c.offends()
		c.close("handshake: " + err.Error())
		return false
	}
	_ = nc.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.tls.Store(&state)
	return true
}

// read takes messages until the connection ends, and says why it did.
func (c *conn) read(nc net.Conn) string {
	var s wire.Stream
	lim := c.mux.cfg.Limits
	deadline := time.Now().Add(lim.FirstMessage)
	if c.key != (dialKey{}) {
		deadline = time.Now().Add(lim.Idle) // we opened it, and speak first
	}
	buf := make([]byte, 8192)
	for {
		_ = nc.SetReadDeadline(deadline)
		got, err := c.more(nc, &s, buf)
		switch {
		case err != nil && !c.waits(err, &s):
			return err.Error()
		case s.Waiting() == 0:
			deadline = time.Now().Add(lim.Idle)
		case got: // half of the next message: a new one starts its own time
			deadline = time.Now().Add(lim.FirstMessage)
		}
	}
}

// waits says that a connection over which nothing has come in time is kept. If
// its other end is gone for good, the system finds out (TCP keep-alive).
func (c *conn) waits(err error, s *wire.Stream) bool {
	needed := c.mux.cfg.Needed
	return errors.Is(err, os.ErrDeadlineExceeded) && s.Waiting() == 0 && needed != nil && needed(c.flow)
}

// more reads once and hands up what is whole then.
func (c *conn) more(nc net.Conn, s *wire.Stream, buf []byte) (got bool, err error) {
	n, err := nc.Read(buf)
	switch {
	case errors.Is(err, io.EOF):
		return false, errPeerClosed
	case err != nil:
		if s.Waiting() > 0 { // half a message, and no more in time
			c.offends()
		}
		return false, err
	}
	if err = s.Write(buf[:n]); err == nil {
		got, err = c.take(s)
	}
	if errors.Is(err, wire.ErrStream) {
		c.offends()
	}
	return got, err
}

// errPeerClosed is how a connection ends as it should.
var errPeerClosed = errors.New("closed by peer")

// take hands up what is whole in s.
func (c *conn) take(s *wire.Stream) (got bool, err error) {
	m := c.mux
	for {
		if n := s.Pings(); n > 0 {
			got = true
			m.counters.Pings.Add(uint64(n))
			if err := c.send(pong); err != nil { // RFC 5626 §4.4.1; one answers all
				return got, err
			}
		}
		msg, err := s.Next()
		var rej *wire.Reject
		switch {
		case errors.As(err, &rej):
			got = true
			m.counters.Malformed.Add(1)
			c.offends()
			if rej.Answer != nil {
				m.counters.Answered.Add(1)
				_ = c.send(rej.Answer) // a full queue closes the connection soon
			}
			continue
		case err != nil:
			return got, err
		case msg == nil:
			return got, nil
		}
		got = true
		m.counters.Received.Add(1)
		if !c.heard() {
			continue
		}
		if req, ok := msg.(*sip.Request); ok {
			wire.AddReceived(req.Via(), c.flow.ref.Peer)
		}
		m.cfg.Handler.Message(c.flow, msg)
	}
}

// heard says that a message may be handed up. What we opened ourselves is not limited.
func (c *conn) heard() bool {
	g := c.mux.cfg.Guard
	if g == nil || c.key != (dialKey{}) {
		return true
	}
	standing := g.Heard(c.flow.ref.Peer, true, time.Now())
	c.stranger.Store(standing != guard.Known)
	return standing != guard.Dropped
}

// offends notes that what came was no SIP.
func (c *conn) offends() {
	if g := c.mux.cfg.Guard; g != nil && c.key == (dialKey{}) {
		g.Malformed(c.flow.ref.Peer, true, time.Now())
	}
}

var pong = []byte("\r\n")

// send queues a message.
func (c *conn) send(b []byte) error {
	select {
	case <-c.closed:
		return ErrClosed
	default:
	}
	select {
	case c.queue <- bytes.Clone(b):
		return nil
	default:
		return ErrFull
	}
}

// write empties the queue. A message that is not taken in time closes the
// connection, since half of it may be out.
func (c *conn) write(nc net.Conn) {
	for {
		select {
		case <-c.closed:
			c.flush(nc)
			return
		case b := <-c.queue:
			if !c.writeOne(nc, b) {
				return
			}
		}
	}
}

func (c *conn) writeOne(nc net.Conn, b []byte) bool {
	_ = nc.SetWriteDeadline(time.Now().Add(c.mux.cfg.Limits.Write))
	if _, err := nc.Write(b); err != nil {
		c.close("writing: " + err.Error())
		return false
	}
	c.mux.counters.Sent.Add(1)
	return true
}

// flush writes what is queued as far as the socket still takes it.
func (c *conn) flush(nc net.Conn) {
	for {
		select {
		case b := <-c.queue:
			if _, err := nc.Write(b); err != nil {
				return
			}
		default:
			return
		}
	}
}

// close ends the connection once.
func (c *conn) close(why string) {
	c.once.Do(func() {
		c.mux.log.Debug("connection closed", "transport", c.flow.ref.Transport, "why", why)
		close(c.closed)
	})
}
