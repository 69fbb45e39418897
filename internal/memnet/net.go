// Package memnet is a network in memory for tests: hosts with addresses of
// their own, UDP sockets and TCP connections. Nothing of it leaves the
// process, and every wait is one that testing/synctest takes for durable, so
// that inside a bubble a lost datagram's retransmission costs no time.
//
//	n := memnet.New()
//	server := n.Host(netip.MustParseAddr("192.0.2.1"))
//	phone := n.Host(netip.MustParseAddr("198.51.100.7"))
//	n.Delay(20 * time.Millisecond)
//	n.Lose(1, 4) // the first and the fourth datagram from now on
//
// A [Host] is a flow.Network: it opens sockets at its own addresses only. As
// on the internet, a connection to a host that does not exist is never
// answered, and one to a port where nobody listens is refused; a datagram that
// nobody wants is gone without a word.
package memnet

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Limits, as of a usual kernel.
const (
	maxDatagram = 65507 // UDP over IPv4: 65,535 − 20 − 8
	maxWaiting  = 4096  // datagrams in a socket that nobody reads
	maxBacklog  = 128   // connections that nobody accepts
	window      = 256 << 10
	firstPort   = 49152 // of those that are picked (RFC 6335 §6)
)

// A Datagram is one datagram under way.
type Datagram struct {
	N        int // from 1, since the network was made
	From, To netip.AddrPort
	Data     []byte // not to be kept or changed
}

// A Fate is what becomes of a datagram. The zero Fate delivers it.
type Fate struct {
	Lost   bool
	Delay  time.Duration // beyond the network's; a longer one lets others overtake
	Copies int           // further times that it arrives
}

// Net is a network. Its methods are safe for concurrent use.
type Net struct {
	mu    sync.Mutex
	hosts map[netip.Addr]*Host
	delay time.Duration
	fate  func(Datagram) Fate
	lose  map[int]bool // by Datagram.N
	sent  int
	lost  int
}

// New makes a network without hosts.
func New() *Net { return &Net{hosts: map[netip.Addr]*Host{}} }

// Host returns the host that has the first of these addresses, and makes it if
// there is none. The others become its addresses too.
func (n *Net) Host(addrs ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addrs[0].Unmap()]
	if h == nil {
		h = &Host{
			net: n, sockets: map[netip.AddrPort]*Socket{}, listeners: map[netip.AddrPort]*Listener{},
			next: firstPort,
		}
	}
	for _, a := range addrs {
		if a = a.Unmap(); !slices.Contains(h.addrs, a) {
			h.addrs = append(h.addrs, a)
			n.hosts[a] = h
		}
	}
	return h
}

// Delay is how long everything is under way from now on. It is 0 at first.
func (n *Net) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Decide calls fn for every datagram from now on; nil delivers them all. It
// must not call the network.
func (n *Net) Decide(fn func(Datagram) Fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fate = fn
}

// Lose loses the datagrams of these numbers, counted from 1 for the next one,
// instead of those that an earlier call named.
func (n *Net) Lose(numbers ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = map[int]bool{}
	for _, i := range numbers {
		n.lose[n.sent+i] = true
	}
}

// Sent is how many datagrams were sent, and Lost how many of them were lost
// on the way.
func (n *Net) Sent() int { return n.read(&n.sent) }

// Lost is how many datagrams were lost on the way.
func (n *Net) Lost() int { return n.read(&n.lost) }

func (n *Net) read(v *int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *v
}

// judge decides on a datagram and says when it arrives.
func (n *Net) judge(from, to netip.AddrPort, b []byte) (*Host, Fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	var f Fate
	if n.fate != nil {
		f = n.fate(Datagram{N: n.sent, From: from, To: to, Data: b})
	}
	f.Delay += n.delay
	if f.Lost = f.Lost || n.lose[n.sent]; f.Lost {
		n.lost++
	}
	return n.hosts[to.Addr()], f
}

// at is the host that has an address, and how far it is.
func (n *Net) at(a netip.Addr) (*Host, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[a], n.delay
}

// A Host is a machine with one or more addresses. Its methods are safe for
// concurrent use.
type Host struct {
	net   *Net
	addrs []netip.Addr // guarded by net.mu

	mu        sync.Mutex
	sockets   map[netip.AddrPort]*Socket
	listeners map[netip.AddrPort]*Listener
	next      uint16
}

// from is the address that the host sends from to a peer of to's family.
func (h *Host) from(to netip.Addr) (netip.Addr, bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// owns says that a socket may be bound to a.
func (h *Host) owns(a netip.Addr) bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return a.IsUnspecified() || slices.Contains(h.addrs, a)
}

// bind checks an address for a new socket and picks a port if it has none.
// h.mu is held.
func (h *Host) bind(op string, a netip.AddrPort, used func(netip.AddrPort) bool) (netip.AddrPort, error) {
	a = unmap(a)
	if !h.owns(a.Addr()) {
		return a, failed(op, a, syscall.EADDRNOTAVAIL)
	}
	for a.Port() == 0 {
		p := netip.AddrPortFrom(a.Addr(), h.next)
		if h.next++; h.next == 0 {
			h.next = firstPort
		}
		if !used(p) {
			a = p
		}
	}
	if used(a) {
		return a, failed(op, a, syscall.EADDRINUSE)
	}
	return a, nil
}

// wanted are the addresses at which a socket may be bound that takes what
// comes to a: its own, the one of all of its family, and the dual-stack one.
func wanted(a netip.AddrPort) [3]netip.AddrPort {
	all := netip.IPv6Unspecified()
	family := all
	if a.Addr().Is4() {
		family = netip.IPv4Unspecified()
	}
	return [3]netip.AddrPort{a, netip.AddrPortFrom(family, a.Port()), netip.AddrPortFrom(all, a.Port())}
}

// seen is how a socket that is bound at local names an address: one of all
// addresses is a dual-stack one and has IPv4 addresses mapped.
func seen(local, a netip.AddrPort) netip.AddrPort {
	if local.Addr() == netip.IPv6Unspecified() && a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// failed is an error as package net makes it.
func failed(op string, a netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "memnet", Addr: net.UDPAddrFromAddrPort(a), Err: err}
}
