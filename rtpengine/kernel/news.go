//go:build amd64

package kernel

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// news is what the system tells of changes.
type news struct {
	links  chan netlink.LinkUpdate
	routes chan netlink.RouteUpdate
	addrs  chan netlink.AddrUpdate
	near   chan netlink.NeighUpdate
	rules  chan struct{} // and next hops that routes name
}

// watch begins to renew the lease and to follow changes.
func (p *Plane) watch() error {
	n := news{
		make(chan netlink.LinkUpdate), make(chan netlink.RouteUpdate), make(chan netlink.AddrUpdate),
		make(chan netlink.NeighUpdate), make(chan struct{}),
	}
	if err := errors.Join(
		netlink.LinkSubscribe(n.links, p.stop), netlink.RouteSubscribe(n.routes, p.stop),
		netlink.AddrSubscribe(n.addrs, p.stop), netlink.NeighSubscribe(n.near, p.stop),
		rulesSubscribe(n.rules, p.stop), p.neighbors.list(p.routes.netlink),
	); err != nil {
		return fmt.Errorf("watching routes: %w", err)
	}
	p.alive()
	p.wait.Go(func() { p.follow(n) })
	return nil
}

// follow renews the lease, and returns all flows to user space when a route, a
// rule, a link or an address changes: the next packet of each asks for its route anew.
// When a neighbor changes, the flows by way of it do.
func (p *Plane) follow(n news) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		ok := true
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.alive()
			continue
		case u, told := <-n.near:
			if !told && p.stopping() {
				return
			}
			if n.near = p.met(n.near, u, told); n.near != nil {
				continue
			}
		case _, ok = <-n.links:
		case _, ok = <-n.routes:
		case _, ok = <-n.addrs:
		case _, ok = <-n.rules:
		}
		if !ok { // the watch itself has failed: no flow may outlive what it does not see
			if !p.stopping() {
				p.lapse()
			}
			return
		}
		p.epoch.Add(1)
		p.routes.forget()
		p.flush()
	}
}

// alive renews the lease, unless flows are still those of a process before.
func (p *Plane) alive() {
	if p.settled.Load() {
		p.renew()
	}
}

// stopping says that the plane is closed: then nothing more is told, and the
// flows and the lease may be the next process's.
func (p *Plane) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// met takes up what is told of a neighbor. If there is nothing more to be
// told, since so much changes that some was lost, no flow may have an address
// that nobody watches: it returns nil, and the program looks them all up.
func (p *Plane) met(near chan netlink.NeighUpdate, n netlink.NeighUpdate, ok bool) chan netlink.NeighUpdate {
	if !ok {
		p.neighbors.forget()
		return nil
	}
	if moved, is := p.neighbors.note(n.Neigh, n.Type == unix.RTM_DELNEIGH); is {
		p.epoch.Add(1)
		p.release(moved)
	}
	return near
}

// release returns the flows by way of a neighbor to user space.
func (p *Plane) release(n neighbor) {
	hop := nextHop(n.addr)
	for i := range p.entries {
		if e := &p.entries[i]; e.oif == n.index && e.hop == hop {
			atomic.OrUint32(&e.gen, 1)
		}
	}
}

// rulesSubscribe tells of each change of policy rules and next-hop objects,
// until stop is closed. If there is nothing more to be told, it closes changed.
func rulesSubscribe(changed chan<- struct{}, stop <-chan struct{}) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	go func() {
		<-stop
		s.Close()
	}()
	go func() {
		defer close(changed)
		for {
			_, from, err := s.Receive()
			switch {
			case err != nil && !errors.Is(err, unix.ENOBUFS): // which says that there were more
				return
			case err == nil && from.Pid != nl.PidKernel:
				continue
			}
			select {
			case changed <- struct{}{}:
			case <-stop:
				return
			}
		}
	}()
	return nil
}
