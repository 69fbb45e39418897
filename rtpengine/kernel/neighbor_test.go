//go:build amd64

package kernel

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the system says of its neighbors is taken up, and flows are to leave
// one only when it has moved or is gone.
func TestNeighbors(t *testing.T) {
	one, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	via := route{index: 3, hop: netip.MustParseAddr("192.0.2.7"), own: [6]byte{2, 0, 0, 0, 0, 9}}
	n := neighbors{known: map[neighbor][6]byte{}}
	for i, c := range []struct {
		v     netlink.Neigh
		gone  bool
		moved bool
		known net.HardwareAddr // afterwards
	}{
		{v: netlink.Neigh{State: unix.NUD_INCOMPLETE}},
		{v: netlink.Neigh{State: unix.NUD_REACHABLE, HardwareAddr: one}, known: one},
		{v: netlink.Neigh{State: unix.NUD_STALE, HardwareAddr: one}, known: one},
		{v: netlink.Neigh{State: unix.NUD_REACHABLE, HardwareAddr: other, LinkIndex: 4}, known: one},
		{v: netlink.Neigh{State: unix.NUD_REACHABLE, HardwareAddr: other, Family: unix.AF_BRIDGE}, known: one},
		{v: netlink.Neigh{State: unix.NUD_PERMANENT, HardwareAddr: other, Flags: unix.NTF_PROXY}, known: one},
		{v: netlink.Neigh{State: unix.NUD_PROBE, HardwareAddr: other}, moved: true, known: other},
		{v: netlink.Neigh{State: unix.NUD_FAILED}, moved: true},
		{v: netlink.Neigh{State: unix.NUD_DELAY, HardwareAddr: one}, known: one},
		{v: netlink.Neigh{State: unix.NUD_REACHABLE, HardwareAddr: append(one, 0, 0)}, moved: true}, // none of Ethernet
		{v: netlink.Neigh{State: unix.NUD_NOARP, HardwareAddr: one}},
		{v: netlink.Neigh{State: unix.NUD_PERMANENT, HardwareAddr: one}, known: one},
		{v: netlink.Neigh{State: unix.NUD_STALE, HardwareAddr: one}, gone: true, moved: true},
	} {
		if c.v.LinkIndex == 0 {
			c.v.LinkIndex = 3
		}
		if c.v.Family == 0 {
			c.v.Family = unix.AF_INET
		}
		c.v.IP = net.IPv4(192, 0, 2, 7)
		if moved, is := n.note(c.v, c.gone); is != c.moved || is && moved != (neighbor{via.index, via.hop}) {
			t.Errorf("%d: moved %v (%v), want %v", i, is, moved, c.moved)
		}
		frame, is := n.frame(via)
		if is != (c.known != nil) || is && string(frame[:]) != string(c.known)+string(via.own[:]) {
			t.Errorf("%d: a frame begins with %x (%v), want %v", i, frame, is, c.known)
		}
	}
}

// When nobody tells of neighbors any more, none is known.
func TestNeighborsAreForgotten(t *testing.T) {
	via := route{index: 3, hop: netip.MustParseAddr("2001:db8::7"), own: [6]byte{2}}
	p := Plane{neighbors: neighbors{known: map[neighbor][6]byte{{3, via.hop}: {2}}}}
	if _, is := p.neighbors.frame(via); !is {
		t.Fatal("not known at first")
	}
	if p.met(make(chan netlink.NeighUpdate), netlink.NeighUpdate{}, false) != nil {
		t.Error("it waits to be told still")
	}
	if _, is := p.neighbors.frame(via); is {
		t.Error("an address that nobody watches is in use")
	}
}
