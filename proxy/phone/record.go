package phone

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/leak"
	"sotto/proxy/wire"
)

// Kind is what a packet belongs to.
type Kind string

// The kinds. What comes to a media port is RTCP if RFC 5761 §4 says so.
const (
	SIP  Kind = "SIP"
	RTP  Kind = "RTP"
	RTCP Kind = "RTCP"
)

// A Packet is something that the phone received, byte for byte: a datagram, or
// what one read of a TCP connection brought. Of TLS it is the message inside,
// written anew.
type Packet struct {
	At       time.Time
	Kind     Kind
	From, To netip.AddrPort
	Data     []byte
}

// keep is how many octets a phone remembers; older ones go (ours: an hour of
// a call).
const keep = 64 << 20

// A recorder keeps packets. Safe for concurrent use.
type recorder struct {
	mu      sync.Mutex
	packets []Packet
	size    int
}

func newRecorder() *recorder { return &recorder{} }

func (r *recorder) add(k Kind, from, to netip.AddrPort, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, Packet{time.Now(), k, from, to, slices.Clone(data)})
	r.size += len(data)
	for r.size > keep {
		r.size -= len(r.packets[0].Data)
		r.packets = r.packets[1:]
	}
}

func (r *recorder) message(f *flow.Flow, m sip.Message) {
	r.add(SIP, f.Peer(), f.Local(), wire.Bytes(m))
}

// Received returns what the phone has received so far, in its order; of the
// given kinds only, if any are given.
func (p *Phone) Received(kinds ...Kind) []Packet {
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	var out []Packet
	for _, k := range p.rec.packets {
		if len(kinds) == 0 || slices.Contains(kinds, k.Kind) {
			out = append(out, k)
		}
	}
	return out
}

// Forget forgets what was received so far.
func (p *Phone) Forget() {
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	p.rec.packets, p.rec.size = nil, 0
}

// Leaks searches everything received, and where it came from, for every form
// of the markers. What several packets hold together is found as well if they
// came over one connection.
func (p *Phone) Leaks(markers ...string) []leak.Leak {
	s := leak.NewSearch(markers...)
	var found []leak.Leak
	for _, f := range sources(p.Received(), markers) {
		found = append(found, f.Leak)
	}
	for _, way := range ways(p.Received()) {
		found = append(found, s.Find(way.Data)...)
	}
	return found
}

// Findings is Leaks, with the place of each: header by header, SDP line by
// line, RTCP item by item.
func (p *Phone) Findings(markers ...string) []leak.Finding {
	s := leak.NewSearch(markers...)
	found := sources(p.Received(), markers)
	for _, way := range ways(p.Received(SIP)) {
		found = append(found, s.SIP(way.Data)...)
	}
	for _, k := range p.Received(RTCP) {
		found = append(found, s.RTCP(k.Data)...)
	}
	for _, k := range p.Received(RTP) {
		for _, l := range s.Find(k.Data) {
			found = append(found, leak.Finding{Leak: l, In: string(RTP), Where: "a packet"})
		}
	}
	return found
}

// sources are the markers that packets came from.
func sources(packets []Packet, markers []string) []leak.Finding {
	var found []leak.Finding
	for _, k := range packets {
		for _, m := range markers {
			if a, err := netip.ParseAddr(m); err == nil && a.Unmap() == k.From.Addr() {
				l := leak.Leak{Marker: m, Form: string(k.Kind) + " packet's source"}
				found = append(found, leak.Finding{Leak: l, In: string(k.Kind), Where: "source address"})
			}
		}
	}
	return found
}

// ways joins what came from one address to another, in the order in which
// each first appeared.
func ways(packets []Packet) []Packet {
	var all []Packet
	at := map[[2]netip.AddrPort]int{}
	for _, k := range packets {
		way := [2]netip.AddrPort{k.From, k.To}
		i, ok := at[way]
		if !ok {
			i, at[way] = len(all), len(all)
			all = append(all, Packet{From: k.From, To: k.To, Kind: k.Kind})
		}
		all[i].Data = append(all[i].Data, k.Data...)
	}
	return all
}

// tapNetwork notes everything that comes from a network.
type tapNetwork struct {
	inner  flow.Network // nil: the real one
	rec    *recorder
	opaque bool // streams carry TLS
}

// ListenPacket implements flow.Network.
func (n *tapNetwork) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	c, err := n.packets(a)
	if err != nil {
		return nil, err
	}
	return tapPackets{c, n.rec, SIP}, nil
}

// packets opens a socket without a tap.
func (n *tapNetwork) packets(a netip.AddrPort) (flow.PacketConn, error) {
	if n.inner != nil {
		return n.inner.ListenPacket(a)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Listen implements flow.Network.
func (n *tapNetwork) Listen(a netip.AddrPort) (net.Listener, error) {
	var l net.Listener
	var err error
	if n.inner != nil {
		l, err = n.inner.Listen(a)
	} else {
		l, err = net.Listen("tcp", a.String())
	}
	if err != nil {
		return nil, err
	}
	return tapListener{l, n}, nil
}

// Dial implements flow.Network.
func (n *tapNetwork) Dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	if n.inner == nil {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", a.String())
		if err != nil {
			return nil, err
		}
		return n.tap(c), nil
	}
	c, err := n.inner.Dial(ctx, a)
	if err != nil {
		return nil, err
	}
	return n.tap(c), nil
}

func (n *tapNetwork) tap(c net.Conn) net.Conn {
	if n.opaque {
		return c
	}
	return tapConn{c, n.rec}
}

type tapPackets struct {
	flow.PacketConn
	rec  *recorder
	kind Kind
}

// ReadFromUDPAddrPort implements flow.PacketConn.
func (c tapPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.PacketConn.ReadFromUDPAddrPort(b)
	if err == nil {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		c.rec.add(c.kind, from, addrPort(c.LocalAddr()), b[:n])
	}
	return n, from, err
}

type tapListener struct {
	net.Listener
	net *tapNetwork
}

// Accept implements net.Listener.
func (l tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.net.tap(c), nil
}

type tapConn struct {
	net.Conn
	rec *recorder
}

// Read implements net.Conn.
func (c tapConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.rec.add(SIP, addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()), b[:n])
	}
	return n, err
}

// addrPort reads the address of a socket; zero if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
