package proxytest

import (
	"net"
	"net/netip"

	"sotto/internal/memnet"
	"sotto/proxy/flow"
	"sotto/proxy/phone"
)

// NATted puts a phone behind a NAT of its own: it has a private address, which
// it writes everywhere, and its packets come from a public one.
func NATted(c *phone.Config) {
	host, ok := c.Network.(*memnet.Host)
	if !ok {
		panic("a phone of no stage") // of a script
	}
	public := c.Local.Addr()
	private := netip.AddrFrom4([4]byte{10, 77, 3, public.As4()[3]})
	c.Network, c.Local = nat{host, public}, netip.AddrPortFrom(private, c.Local.Port())
}

// nat maps each port of the private address to the same one of the public.
type nat struct {
	*memnet.Host
	public netip.Addr
}

// ListenPacket implements flow.Network.
func (n nat) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	c, err := n.Host.ListenPacket(netip.AddrPortFrom(n.public, a.Port()))
	if err != nil {
		return nil, err
	}
	return inside{c, net.UDPAddrFromAddrPort(a)}, nil
}

// Listen implements flow.Network.
func (n nat) Listen(a netip.AddrPort) (net.Listener, error) {
	l, err := n.Host.Listen(netip.AddrPortFrom(n.public, a.Port()))
	if err != nil {
		return nil, err
	}
	return insideListener{l, net.TCPAddrFromAddrPort(a)}, nil
}

// insideListener is a listener as the phone sees it.
type insideListener struct {
	net.Listener
	local net.Addr
}

// Addr implements net.Listener.
func (i insideListener) Addr() net.Addr { return i.local }

// inside is a socket as the phone sees it.
type inside struct {
	flow.PacketConn
	local net.Addr
}

// LocalAddr implements flow.PacketConn.
func (i inside) LocalAddr() net.Addr { return i.local }
