//go:build amd64

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Limits of the program (relay.c).
const maxLocals = 8

// A process that has died or hangs no longer renews its lease; so long after
// its last word (leaseFor) nothing is forwarded for it (ours: renewed often
// enough that a busy machine does not let it end).
const (
	leaseFor   = 2 * time.Second
	leaseEvery = 250 * time.Millisecond
)

// A Plane is the loaded program and its table. Its methods are safe for
// concurrent use.
type Plane struct {
	objects   relayObjects
	hooks     []hook
	pins      pins
	unpin     error // why nothing is pinned
	how       string
	locals    []netip.Addr
	first     uint16
	pairs     int
	memory    []byte // of entries
	lease     []byte
	entries   []entry
	routes    routes
	neighbors neighbors
	epoch     atomic.Uint32 // grows when routes, links or addresses change
	settled   atomic.Bool   // no flow is of a process before
	adopted   map[*entry]bool
	stop      chan struct{}
	wait      sync.WaitGroup
}

// Open loads the program for the ports of our addresses, attaches it to the
// interfaces that have them and to loopback, and begins to renew the lease.
//
// pin, if any, is a directory in a BPF file system. A process that ends by
// HandOver, or without a word, leaves its flows there. If Inherited says that
// there are some, Adopt is to be asked for each, and then Settle.
func Open(locals []netip.Addr, first, last uint16, pin string) (*Plane, error) {
	first += first % 2
	p := &Plane{
		locals: locals, first: first, pairs: (int(last) - int(first) + 1) / 2, stop: make(chan struct{}),
		routes: routes{known: map[[2]netip.Addr]route{}}, neighbors: neighbors{known: map[neighbor][6]byte{}},
		adopted: map[*entry]bool{},
	}
	if len(locals) > maxLocals || p.pairs < 1 {
		return nil, fmt.Errorf("%d addresses and %d pairs of ports; at most %d addresses", len(locals), p.pairs, maxLocals)
	}
	var err error
	if pin != "" {
		p.pins, p.unpin = openPins(pin, locals, first, last)
	}
	if p.routes.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	for _, step := range []func() error{p.load, p.mapMemory, p.watch, p.attach} {
		if err := step(); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Close removes all flows, and detaches and unloads everything.
func (p *Plane) Close() { p.close(false) }

// HandOver is Close, but the flows are left to the next process, which has
// as long as a lease is. Where nothing is pinned it is the same.
func (p *Plane) HandOver() { p.close(p.pins.dir != "") }

func (p *Plane) close(leave bool) {
	close(p.stop)
	p.wait.Wait()
	for _, h := range p.hooks {
		h(leave)
	}
	switch {
	case p.memory == nil || p.lease == nil:
	case leave:
		if p.settled.Load() && p.leased() {
			p.renew()
		}
	default:
		p.flush()
	}
	for _, m := range [][]byte{p.memory, p.lease} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = p.objects.Close()
	p.pins.close(leave)
	if p.routes.netlink != nil {
		p.routes.netlink.Close()
	}
}

// Inherited says that flows of an earlier process may go on.
func (p *Plane) Inherited() bool { return !p.settled.Load() }

// Settle ends the flows of an earlier process that nobody has adopted; from now
// on the lease is renewed.
func (p *Plane) Settle() {
	for i := range p.entries {
		if e := &p.entries[i]; !p.adopted[e] {
			atomic.OrUint32(&e.gen, 1)
		}
	}
	clear(p.adopted)
	p.settled.Store(true)
}

// Pinned says where flows outlive the process, or why they do not; nil and ""
// if nobody asked for it.
func (p *Plane) Pinned() (dir string, err error) { return p.pins.dir, p.unpin }

// How says by what the program is attached: tcx or clsact.
func (p *Plane) How() string { return p.how }

// Flows is how many flows are installed.
func (p *Plane) Flows() (n int) {
	for i := range p.entries {
		if (Flow{p, &p.entries[i]}).Installed() {
			n++
		}
	}
	return n
}

// Flow is the flow that comes to one of our addresses and even ports; false if
// that is none of this plane's.
func (p *Plane) Flow(own netip.AddrPort) (Flow, bool) {
	at := int(own.Port()) - int(p.first)
	for i, a := range p.locals {
		if a == own.Addr() && at >= 0 && at%2 == 0 && at/2 < p.pairs {
			return Flow{p, &p.entries[i*p.pairs+at/2]}, true
		}
	}
	return Flow{}, false
}

// local is the address and port of an entry.
func (p *Plane) local(e *entry) netip.AddrPort {
	at := int((uintptr(unsafe.Pointer(e)) - uintptr(unsafe.Pointer(&p.entries[0]))) / unsafe.Sizeof(entry{}))
	return netip.AddrPortFrom(p.locals[at/p.pairs], p.first+uint16(2*(at%p.pairs)))
}

// load loads the program with its constants.
func (p *Plane) load() error {
	_ = rlimit.RemoveMemlock() // below 5.11; if it may not, loading says so
	spec, err := loadRelay()
	if err != nil {
		return err
	}
	var locals [maxLocals][16]byte
	for i, a := range p.locals {
		locals[i] = words(a)
	}
	spec.Maps[relayMapEntries].MaxEntries = uint32(len(p.locals) * p.pairs)
	if err := errors.Join(
		spec.Variables[relayVarLocals].Set(locals), spec.Variables[relayVarNlocals].Set(uint32(len(p.locals))),
		spec.Variables[relayVarFirst].Set(uint32(p.first)), spec.Variables[relayVarPairs].Set(uint32(p.pairs)),
	); err != nil {
		return fmt.Errorf("eBPF constants: %w", err)
	}
	theirs := p.pins.maps(spec)
	if err := spec.LoadAndAssign(&p.objects, &ebpf.CollectionOptions{MapReplacements: theirs}); err != nil {
		return fmt.Errorf("loading eBPF: %w", err)
	}
	for _, m := range theirs {
		_ = m.Close() // it was doubled
	}
	p.settled.Store(len(theirs) == 0)
	if len(theirs) > 0 || p.pins.dir == "" {
		return nil
	}
	if err := p.pins.keep(&p.objects); err != nil {
		p.pins.close(false)
		p.pins, p.unpin = pins{}, err
	}
	return nil
}

// mapMemory maps the table and the lease. No entry holds, but those of a
// process before.
func (p *Plane) mapMemory() (err error) {
	n := len(p.locals) * p.pairs
	if p.memory, err = shared(p.objects.Entries, n*int(unsafe.Sizeof(entry{}))); err != nil {
		return err
	}
	p.entries = unsafe.Slice((*entry)(unsafe.Pointer(&p.memory[0])), n)
	if p.settled.Load() {
		p.flush()
	}
	p.lease, err = shared(p.objects.Lease, 8)
	return err
}

// shared maps the memory of an array.
func shared(m *ebpf.Map, size int) ([]byte, error) {
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping eBPF array: %w", err)
	}
	return b, nil
}

// flush removes all flows.
func (p *Plane) flush() {
	for i := range p.entries {
		atomic.OrUint32(&p.entries[i].gen, 1)
	}
}

// renew says that user space is alive.
func (p *Plane) renew() {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&p.lease[0])), monotonic()+uint64(leaseFor))
}

// lapse ends the lease for good.
func (p *Plane) lapse() { atomic.StoreUint64((*uint64)(unsafe.Pointer(&p.lease[0])), 0) }

// leased says that the lease has not ended.
func (p *Plane) leased() bool {
	return monotonic() <= atomic.LoadUint64((*uint64)(unsafe.Pointer(&p.lease[0])))
}

// interfaces are those that packets to our addresses can come by: each that is
// up, has an address and frames of Ethernet, and loopback, over which an
// application of this host reaches us. What comes by another is for user space.
func (p *Plane) interfaces() ([]int, error) {
	all, err := p.routes.netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	var found []int
	for _, l := range all {
		addrs, err := p.routes.netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("interfaces: %w", err)
		}
		if l.Attrs().Flags&net.FlagUp != 0 && len(addrs) > 0 && framed(l) {
			found = append(found, l.Attrs().Index)
		}
	}
	return found, nil
}
