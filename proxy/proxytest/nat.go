package proxytest

import (
	"net"
	"net/netip"

	"sotto/internal/memnet"
	"sotto/proxy/flow"
	"sotto/proxy/phone"
)

// Private is where phones behind a NAT believe they are.
var Private = netip.MustParseAddr("10.77.3.20")

// NATted puts a phone behind a NAT of its own: it has a private address, which
// it writes everywhere, and its packets come from a public one.
func NATted(c *phone.Config) {
	host, ok := c.Network.(*memnet.Host)
	if !ok {
		panic("a phone of no stage") // of a script
	}
	c.Network = nat{host, c.Local.Addr()}
	c.Local = netip.AddrPortFrom(Private, c.Local.Port())
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

// inside is a socket as the phone sees it.
type inside struct {
	flow.PacketConn
	local net.Addr
}

// LocalAddr implements flow.PacketConn.
func (i inside) LocalAddr() net.Addr { return i.local }
