//go:build amd64

package kernel

import (
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A neighbor is one that is on a link with us.
type neighbor struct {
	index uint32 // of the interface
	addr  netip.Addr
}

// neighbors are the link-layer addresses that the system has found out. With
// the next hop's an entry has the whole header of its frames, and the program
// need not look it up: a third of what relaying costs. Whose is not known is
// looked up by the program. Safe for concurrent use.
type neighbors struct {
	mu    sync.Mutex
	known map[neighbor][6]byte
}

// maxNeighbors bounds what is remembered (ours: the system itself remembers
// 1,024 by default; the flows of others are looked up).
const maxNeighbors = 16384

// frame is what the header of a route's frames begins with: the address of the
// next hop, and ours; false if they are not known.
func (n *neighbors) frame(via route) (f [12]byte, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	mac, ok := n.known[neighbor{via.index, via.hop}]
	if !ok || via.own == [6]byte{} {
		return f, false
	}
	copy(f[:], mac[:])
	copy(f[len(mac):], via.own[:])
	return f, true
}

// list takes up those that are known already.
func (n *neighbors) list(h *netlink.Handle) error {
	all, err := h.NeighList(0, unix.AF_UNSPEC)
	for _, v := range all {
		n.note(v, false)
	}
	return err
}

// note takes up what is told of a neighbor. It returns the one whose flows no
// longer have its address.
func (n *neighbors) note(v netlink.Neigh, gone bool) (moved neighbor, ok bool) {
	addr, valid := netip.AddrFromSlice(v.IP)
	if !valid || v.Family != unix.AF_INET && v.Family != unix.AF_INET6 || v.Flags&unix.NTF_PROXY != 0 {
		return moved, false
	}
	const found = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT
	var mac [6]byte
	gone = gone || v.State&found == 0 || len(v.HardwareAddr) != len(mac)
	if !gone {
		mac = [6]byte(v.HardwareAddr)
	}
	key := neighbor{uint32(v.LinkIndex), addr.Unmap()}
	n.mu.Lock()
	defer n.mu.Unlock()
	before, was := n.known[key]
	switch {
	case gone:
		delete(n.known, key)
	case was || len(n.known) < maxNeighbors:
		n.known[key] = mac
	}
	return key, was && (gone || before != mac)
}

// forget is for when nobody tells of them any more.
func (n *neighbors) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = nil
}
