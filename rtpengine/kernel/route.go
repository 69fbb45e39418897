//go:build amd64

package kernel

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A route is how packets leave toward an address.
type route struct {
	index uint32
	hop   netip.Addr // the next one: a gateway, or where it goes to
	own   [6]byte    // the interface's address on the link; zero: none of Ethernet
	mtu   uint16
	local bool // to this host
}

// routes looks routes up and remembers them until something changes. Safe for
// concurrent use.
type routes struct {
	netlink *netlink.Handle

	mu    sync.Mutex
	known map[[2]netip.Addr]route
}

// maxRoutes bounds what is remembered (ours: two parties of 5,000 calls).
const maxRoutes = 10000

var errRoute = errors.New("no route that the kernel's part can take")

// to finds the route to an address from one of ours.
func (r *routes) to(dst, src netip.Addr) (route, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]netip.Addr{dst, src}
	if v, ok := r.known[key]; ok {
		return v, nil
	}
	found, err := r.netlink.RouteGetWithOptions(dst.AsSlice(), &netlink.RouteGetOptions{SrcAddr: src.AsSlice()})
	if err != nil || len(found) == 0 {
		return route{}, fmt.Errorf("%w: %w", errRoute, err)
	}
	l, err := r.netlink.LinkByIndex(found[0].LinkIndex)
	if err != nil {
		return route{}, fmt.Errorf("%w: %w", errRoute, err)
	}
	v := route{
		index: uint32(found[0].LinkIndex), hop: hopOf(found[0], dst), mtu: uint16(min(l.Attrs().MTU, math.MaxUint16)),
		local: found[0].Type == unix.RTN_LOCAL,
	}
	if !framed(l) {
		return route{}, errRoute
	}
	if mac := l.Attrs().HardwareAddr; len(mac) == len(v.own) {
		v.own = [6]byte(mac)
	}
	if len(r.known) >= maxRoutes {
		clear(r.known)
	}
	r.known[key] = v
	return v, nil
}

// hopOf is the next hop of a route: its gateway, which may be of IPv6 for IPv4
// (RFC 5549), or on the link the party itself.
func hopOf(r netlink.Route, dst netip.Addr) netip.Addr {
	gateway := r.Gw
	if via, ok := r.Via.(*netlink.Via); ok {
		gateway = via.Addr
	}
	if a, ok := netip.AddrFromSlice(gateway); ok {
		return a.Unmap()
	}
	return dst
}

// forget is for when something has changed.
func (r *routes) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
}

// framed says that an interface's packets have an Ethernet header, which the
// program reads and writes.
func framed(l netlink.Link) bool {
	return l.Attrs().EncapType == "ether" || l.Attrs().EncapType == "loopback"
}
