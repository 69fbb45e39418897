//go:build amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// entry is struct entry of relay.c.
type entry struct {
	gen, oif, ssrc      uint32
	flags               uint16
	class, hops         uint8
	rport, sport, dport [2]byte
	mtu                 uint16
	addrs, ports        uint16
	tick                uint32
	clock               uint64
	payload             uint32
	_                   [2]uint32
	frame               [12]byte
	raddr, saddr, daddr [16]byte
	hop                 [16]byte
	packets, bytes      uint64
	last, jitter        uint64
	max, stamp          uint32
	wrong, filled       uint64
	tokens              uint32
	_                   uint32
}

// Flags of an entry.
const (
	isV6 = 1 << iota
	isLocal
	isPlain
	isHopV6
	isDirect
)

// What a relayed packet looks like (loop_linux.go of rtpengine).
const (
	hops    = 64
	traffic = 0xb8
)

// punts is how many packets from elsewhere user space sees of a flow at once
// (PUNTS in relay.c): it answers STUN of a party's other ports.
const punts = 50

// Reasons why a flow stays in user space.
var (
	errFamilies = errors.New("the parties have different address families")
	errChanged  = errors.New("the routes have just changed")
)

// A Flow is one direction of a stream, on one of our ports. It is not safe for
// concurrent use; flows are independent of one another.
type Flow struct {
	p *Plane
	e *entry
}

// Install lets the kernel relay the flow from the next packet on. It replaces
// what was installed before. It fails if the flow is one for user space.
func (f Flow) Install(r Rule) error {
	epoch := f.p.epoch.Load()
	f.Remove()
	if r.Remote.Addr().Is4() != r.To.Addr().Is4() || r.From.Addr().Is4() != r.To.Addr().Is4() {
		return errFamilies
	}
	via, err := f.p.routes.to(r.To.Addr(), r.From.Addr())
	if err != nil {
		return err
	}
	gen := atomic.LoadUint32(&f.e.gen)
	f.fill(r, via)
	atomic.StoreUint32(&f.e.gen, gen+1)
	if f.p.epoch.Load() != epoch {
		f.Remove()
		return errChanged
	}
	return nil
}

// Adopt takes up a flow that an earlier process has left, if it is still the
// one that the rule says; else it is removed. What stream it is only the flow
// knows.
func (f Flow) Adopt(r Rule) (Source, bool) {
	if f.p.settled.Load() || !f.Installed() {
		return Source{}, false
	}
	via, err := f.p.routes.to(r.To.Addr(), r.From.Addr())
	if err != nil || !f.is(r, via) {
		f.Remove()
		return Source{}, false
	}
	f.p.adopted[f.e] = true
	return Source{hostOrder(f.e.ssrc), uint8(f.e.payload)}, true
}

// is says that the entry has the flow of a rule.
func (f Flow) is(r Rule, via route) bool {
	e := f.e
	frame, direct := f.p.neighbors.frame(via)
	if e.flags&isDirect != 0 && (!direct || e.frame != frame) {
		return false
	}
	return e.oif == via.index && e.mtu == via.mtu && e.hop == nextHop(via.hop) && e.flags&^isDirect == flags(r, via) &&
		e.class == traffic && e.hops == hops &&
		e.raddr == words(r.Remote.Addr()) && e.rport == bigEndian(r.Remote.Port()) &&
		e.saddr == words(r.From.Addr()) && e.sport == bigEndian(r.From.Port()) &&
		e.daddr == words(r.To.Addr()) && e.dport == bigEndian(r.To.Port())
}

// flags of the entry of a rule, whatever is known of the next hop.
func flags(r Rule, via route) (n uint16) {
	if r.To.Addr().Is6() {
		n |= isV6
	}
	if via.local {
		n |= isLocal
	}
	if r.Plain {
		n |= isPlain
	}
	if via.hop.Is6() {
		n |= isHopV6
	}
	return n
}

// fill writes an entry that does not hold.
func (f Flow) fill(r Rule, via route) {
	e := f.e
	e.oif, e.mtu, e.ssrc = via.index, via.mtu, hostOrder(r.SSRC)
	e.class, e.hops, e.flags, e.hop = traffic, hops, flags(r, via), nextHop(via.hop)
	if frame, ok := f.p.neighbors.frame(via); ok {
		e.frame, e.flags = frame, e.flags|isDirect
	}
	e.raddr, e.saddr, e.daddr = words(r.Remote.Addr()), words(r.From.Addr()), words(r.To.Addr())
	e.rport, e.sport, e.dport = bigEndian(r.Remote.Port()), bigEndian(r.From.Port()), bigEndian(r.To.Port())
	own := f.p.local(e)
	from := words(own.Addr())
	e.addrs = fold(sum(e.saddr[:]) + sum(e.daddr[:]) + without(e.raddr[:]) + without(from[:]))
	port := bigEndian(own.Port())
	e.ports = fold(sum(e.sport[:]) + sum(e.dport[:]) + without(e.rport[:]) + without(port[:]))
	now := monotonic()
	e.clock = uint64(time.Now().UnixNano()) - now
	e.packets, e.bytes, e.wrong = 0, 0, 0
	e.payload, e.tick = uint32(r.Payload), r.Tick
	e.last, e.stamp, e.jitter, e.max = uint64(r.Arrived), r.Stamp, r.Jitter, r.Max
	e.filled, e.tokens = now, punts
}

// Epoch is another number whenever routes, links or addresses have changed:
// what Install has refused it may then take.
func (f Flow) Epoch() uint32 { return f.p.epoch.Load() }

// Remove lets user space relay the flow from the next packet on.
func (f Flow) Remove() { atomic.OrUint32(&f.e.gen, 1) }

// Installed says if the kernel relays the flow.
func (f Flow) Installed() bool { return f.e != nil && atomic.LoadUint32(&f.e.gen)&1 == 0 }

// Counts reads what was relayed since Install; it holds after Remove, too.
func (f Flow) Counts() Counts {
	e := f.e
	c := Counts{
		Packets: atomic.LoadUint64(&e.packets), Bytes: atomic.LoadUint64(&e.bytes), Wrong: atomic.LoadUint64(&e.wrong),
		Max: atomic.LoadUint32(&e.max), Stamp: atomic.LoadUint32(&e.stamp), Jitter: atomic.LoadUint64(&e.jitter),
	}
	if last := atomic.LoadUint64(&e.last); last != 0 {
		c.Last = time.Unix(0, int64(last))
	}
	return c
}

// monotonic is the clock that the kernel's programs have.
func monotonic() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // never fails
	return uint64(ts.Nano())
}

// words is an address as the program compares it: IPv4 in the last word.
func words(a netip.Addr) (w [16]byte) {
	if a.Is4() {
		b := a.As4()
		copy(w[12:], b[:])
		return w
	}
	return a.As16()
}

// nextHop is an address as the system has it: IPv4 in the first word.
func nextHop(a netip.Addr) (w [16]byte) {
	if a.Is4() {
		b := a.As4()
		copy(w[:], b[:])
		return w
	}
	return a.As16()
}

func bigEndian(port uint16) (b [2]byte) {
	binary.BigEndian.PutUint16(b[:], port)
	return b
}

// hostOrder is a number of the wire as the program reads it.
func hostOrder(n uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return binary.NativeEndian.Uint32(b[:])
}

// sum and without add to a checksum and take away from it (RFC 1624).
func sum(b []byte) (s uint32) {
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.NativeEndian.Uint16(b[i:]))
	}
	return s
}

func without(b []byte) (s uint32) {
	for i := 0; i < len(b); i += 2 {
		s += uint32(^binary.NativeEndian.Uint16(b[i:]))
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
