package flow

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sotto/proxy/guard"
)

// Network opens sockets. *net.Dialer and net.ListenConfig stand behind the
// real one; tests have one in memory.
type Network interface {
	ListenPacket(addr netip.AddrPort) (PacketConn, error)
	Listen(addr netip.AddrPort) (net.Listener, error)
	Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// PacketConn is the part of *net.UDPConn that is used. It is an alias so that a
// network need not import this package.
type PacketConn = interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// BatchConn is a PacketConn that gives all that waits in it by one call. It has
// one reader. An alias, as PacketConn is.
type BatchConn = interface {
	PacketConn
	// ReadBatch puts datagrams that have come into bufs, their sizes and
	// senders beside them, and returns how many; it waits for the first or not.
	ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort, wait bool) (int, error)
	// Lost is how many datagrams nobody read in time, since the queue was full.
	Lost() uint64
}

// Config is what a Mux is made of.
type Config struct {
	Network Network      // nil: the real one
	TLS     *tls.Config  // of the server; as a client its RootCAs and client certificates count
	Limits  Limits       // zeros: the defaults
	Log     *slog.Logger // nil: none
	Handler Handler      // must be set
	Guard   *guard.Guard // nil: everybody is heard

	// Needed says that a connection is kept although nothing has come over it for
	// long: whoever is at its other end is reached over it alone (RFC 5626). nil:
	// none is.
	Needed func(*Flow) bool
}

// Mux holds the listeners and connections of one server. Safe for concurrent use.
type Mux struct {
	cfg      Config
	log      *slog.Logger
	counters Counters

	mu        sync.Mutex
	udp       []*udpListener
	listeners []net.Listener
	conns     map[uint64]*conn
	dialled   map[dialKey]*conn
	perAddr   map[netip.Addr]int
	stopped   bool
	wait      sync.WaitGroup
}

// dialKey tells the connections apart that we opened.
type dialKey struct {
	transport string
	peer      netip.AddrPort
	name      string
}

// New makes a Mux without listeners.
func New(c Config) *Mux {
	c.Limits = c.Limits.filled()
	if c.Network == nil {
		c.Network = realNetwork{buffer: c.Limits.SocketBuffer}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Mux{
		cfg: c, log: c.Log, conns: map[uint64]*conn{}, dialled: map[dialKey]*conn{},
		perAddr: map[netip.Addr]int{},
	}
}

// Counters returns the live counters.
func (m *Mux) Counters() *Counters { return &m.counters }

// Listen opens a listener and returns the address it got. Port 0 picks one.
func (m *Mux) Listen(transport string, addr netip.AddrPort) (netip.AddrPort, error) {
	switch transport {
	case "udp":
		return m.listenUDP(addr)
	case "tcp":
		return m.listenStream("tcp", addr)
	case "tls":
		if m.cfg.TLS == nil {
			return netip.AddrPort{}, errors.New("TLS needs a certificate")
		}
		return m.listenStream("tls", addr)
	}
	return netip.AddrPort{}, fmt.Errorf("transport %q is not supported", transport)
}

// Find returns the flow of a reference: a live connection, or for UDP the way
// through the listener that has the reference's local address; nil if it is gone.
func (m *Mux) Find(r Ref) *Flow {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Transport == "udp" {
		for _, l := range m.udp {
			if l.has(r.Local) {
				return &Flow{ref: r, udp: l}
			}
		}
		return nil
	}
	c := m.conns[r.ID]
	if c == nil || c.flow.ref != r {
		return nil
	}
	return c.flow
}

// To returns a flow to an address: over UDP from a listener of its family; a
// connection that we opened before, or a new one, which is dialled in the
// background while Send queues. serverName is checked in its certificate.
func (m *Mux) To(transport string, peer netip.AddrPort, serverName string) (*Flow, error) {
	peer = unmap(peer)
	switch transport {
	case "udp":
		return m.udpTo(peer)
	case "tcp", "tls":
		return m.connectionTo(dialKey{transport, peer, serverName})
	}
	return nil, errors.New("transport is not supported") // its name is somebody else's, and this is logged
}

// udpTo picks the listener to send from: where there are several, the one at the
// address that the system would send from. From another one nothing might come back.
func (m *Mux) udpTo(peer netip.AddrPort) (*Flow, error) {
	m.mu.Lock()
	stopped := m.stopped
	var fit []*udpListener
	for _, l := range m.udp {
		local := l.local.Addr()
		if local.Is4() == peer.Addr().Is4() || local == netip.IPv6Unspecified() {
			fit = append(fit, l)
		}
	}
	m.mu.Unlock()
	switch {
	case stopped:
		return nil, ErrClosed
	case len(fit) == 0:
		return nil, fmt.Errorf("no UDP listener of the family of %s", peer.Addr())
	}
	best := fit[0]
	if len(fit) > 1 {
		source := LocalToward(peer)
		i := slices.IndexFunc(fit, func(l *udpListener) bool { return l.local.Addr() == source })
		if i < 0 {
			i = slices.IndexFunc(fit, func(l *udpListener) bool { return l.local.Addr().IsUnspecified() })
		}
		best = fit[max(i, 0)]
	}
	return &Flow{ref: Ref{Transport: "udp", Local: best.local, Peer: peer}, udp: best}, nil
}

// LocalToward is the address that the system would send from to peer, the
// peer's own where it knows no way. No packet is sent.
func LocalToward(peer netip.AddrPort) netip.Addr {
	c, err := net.Dial("udp", peer.String())
	if err != nil {
		return peer.Addr()
	}
	defer c.Close()
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return peer.Addr()
	}
	return a.Addr().Unmap()
}

// connectionTo returns the connection for key, opening it if need be.
func (m *Mux) connectionTo(key dialKey) (*Flow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, ErrClosed
	}
	if c := m.dialled[key]; c != nil {
		return c.flow, nil
	}
	if n := len(m.conns); n >= m.cfg.Limits.Connections {
		return nil, fmt.Errorf("%d connections are open already", n)
	}
	c := m.newConn(key.transport, netip.AddrPort{}, key.peer)
	c.key = key
	m.dialled[key] = c
	m.conns[c.flow.ref.ID] = c
	m.wait.Add(1)
	go m.dial(c)
	return c.flow, nil
}

// dial opens a connection and then serves it.
func (m *Mux) dial(c *conn) {
	defer m.wait.Done()
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Limits.Dial)
	defer cancel()
	go func() {
		select {
		case <-c.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	nc, err := m.cfg.Network.Dial(ctx, c.key.peer)
	if err != nil {
		c.close("dialling: " + err.Error())
		m.forget(c)
		return
	}
	if c.key.transport == "tls" {
		nc = tls.Client(nc, m.clientTLS(c.key.name))
	}
	cancel()
	m.serve(c, nc)
}

// clientTLS is how we check a server's certificate (RFC 5922 §7.3).
func (m *Mux) clientTLS(name string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if m.cfg.TLS != nil {
		c.RootCAs, c.Certificates = m.cfg.TLS.RootCAs, m.cfg.TLS.Certificates
		c.GetClientCertificate = m.cfg.TLS.GetClientCertificate
	}
	return c
}

// newConn makes a connection that has no socket yet.
func (m *Mux) newConn(transport string, local, peer netip.AddrPort) *conn {
	c := &conn{
		mux: m, queue: make(chan []byte, m.cfg.Limits.Queue), closed: make(chan struct{}),
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	id := max(binary.BigEndian.Uint64(b[:]), 1)
	c.flow = &Flow{ref: Ref{Transport: transport, Local: local, Peer: peer, ID: id}, conn: c}
	return c
}

// forget removes a connection from the tables and tells the handler.
func (m *Mux) forget(c *conn) {
	m.mu.Lock()
	delete(m.conns, c.flow.ref.ID)
	if m.dialled[c.key] == c {
		delete(m.dialled, c.key)
	}
	if c.counted {
		peer := c.flow.ref.Peer.Addr()
		if m.perAddr[peer]--; m.perAddr[peer] <= 0 {
			delete(m.perAddr, peer)
		}
	}
	m.mu.Unlock()
	m.cfg.Handler.Closed(c.flow)
}

// Lost is how many datagrams the system lost since nobody read them in time.
func (m *Mux) Lost() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n uint64
	for _, l := range m.udp {
		n += l.conn.Lost()
	}
	return n
}

// Connections is the number of open stream connections.
func (m *Mux) Connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

// Close closes all listeners and connections and waits for their goroutines.
func (m *Mux) Close() {
	m.mu.Lock()
	m.stopped = true
	for _, l := range m.udp {
		_ = l.conn.Close() // its reader ends
	}
	for _, l := range m.listeners {
		_ = l.Close()
	}
	all := make([]*conn, 0, len(m.conns))
	for _, c := range m.conns {
		all = append(all, c)
	}
	m.mu.Unlock()
	for _, c := range all {
		c.close("server stops")
	}
	m.wait.Wait()
}

// unmap makes an IPv4 address of an IPv4-mapped one: a dual-stack socket says
// ::ffff:192.0.2.1, which equals nothing we store.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// realNetwork is the operating system's.
type realNetwork struct{ buffer int }

// Listen implements Network.
func (realNetwork) Listen(addr netip.AddrPort) (net.Listener, error) {
	return net.Listen(Family("tcp", addr.Addr()), addr.String())
}

// Family is the network for package net on which to listen at an address:
// 0.0.0.0 is IPv4 alone, which to that package would be IPv6, too; :: is both.
func Family(network string, a netip.Addr) string {
	if a == netip.IPv4Unspecified() {
		return network + "4"
	}
	return network
}

// Dial implements Network.
func (realNetwork) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: time.Minute}).DialContext(ctx, "tcp", addr.String())
}
