package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of a frame: G.711, 20 ms.
const (
	ethernet  = 14
	ipHeader  = 20
	udpHeader = 8
	rtpHeader = 12
	frameSize = ethernet + ipHeader + udpHeader + rtpHeader + 160
	udpAt     = ethernet + ipHeader
	rtpAt     = udpAt + udpHeader
	stampAt   = rtpAt + rtpHeader // when it was sent, in the payload
)

// most is how many packets one system call sends.
const most = 64

// A flow is the packets of one party of one session.
type flow struct {
	frame     [frameSize]byte
	sum       uint32 // of what does not change
	seq       uint16
	timestamp uint32
}

// newFlow makes the frame of a flow.
func newFlow(from, via end, port uint16, to netip.AddrPort, ssrc uint32) *flow {
	f := &flow{seq: uint16(ssrc * 31), timestamp: ssrc * 1009}
	b := f.frame[:]
	copy(b, via.mac)
	copy(b[6:], from.mac)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	h := b[ethernet:udpAt]
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(h[2:], frameSize-ethernet)
	src, dst := from.addr.As4(), to.Addr().As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(h, 0)))
	u := b[udpAt:rtpAt]
	binary.BigEndian.PutUint16(u, port)
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], frameSize-udpAt)
	b[rtpAt] = 0x80
	binary.BigEndian.PutUint32(b[rtpAt+8:], ssrc)
	for i := stampAt + 8; i < frameSize; i++ {
		b[i] = 0xd5 // silence
	}
	f.sum = sum(h[12:], unix.IPPROTO_UDP+frameSize-udpAt)
	f.sum = sum(b[udpAt:], f.sum)
	return f
}

// next makes the frame the next packet of its flow.
func (f *flow) next(stamp uint64) {
	b := f.frame[:]
	f.seq++
	f.timestamp += 160
	binary.BigEndian.PutUint16(b[rtpAt+2:], f.seq)
	binary.BigEndian.PutUint32(b[rtpAt+4:], f.timestamp)
	binary.NativeEndian.PutUint64(b[stampAt:], stamp)
	check := ^fold(sum(b[stampAt:stampAt+8], sum(b[rtpAt+2:rtpAt+8], f.sum)))
	if check == 0 {
		check = 0xffff // RFC 768: zero is none
	}
	binary.BigEndian.PutUint16(b[udpAt+6:], check)
}

// sum adds 16-bit words (RFC 1071).
func sum(b []byte, s uint32) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// A party sends the packets of its flows, by the interface itself.
type party struct {
	fd    int
	flows []*flow
	msgs  [most]message
	iovs  [most]unix.Iovec
}

// message is struct mmsghdr.
type message struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

func newParty(e end) (p *party, err error) {
	p = &party{fd: -1}
	err = inside(e.ns, func() error {
		dev, err := net.InterfaceByName(e.dev)
		if err != nil {
			return err
		}
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
			unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 32<<20),
			unix.Bind(p.fd, &unix.SockaddrLinklayer{Ifindex: dev.Index}))
	})
	if err != nil {
		return nil, fmt.Errorf("phones at %s: %w", e.dev, err)
	}
	return p, nil
}

// send sends the next packet of each of the flows, at most so many as one
// system call takes. Those for which the relay's receive queue has no room are
// lost, as a network card loses them.
func (p *party) send(flows []departure, stamp uint64) {
	for i, d := range flows {
		d.flow.next(stamp)
		p.iovs[i].Base = &d.flow.frame[0]
		p.iovs[i].SetLen(frameSize)
		p.msgs[i].Iov, p.msgs[i].Iovlen = &p.iovs[i], 1
	}
	for at, n := 0, len(flows); at < n; at++ { // past the one that was lost
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&p.msgs[at])),
			uintptr(n-at), 0, 0, 0)
		if errno == 0 {
			at += int(sent) - 1
		}
	}
}

// clock is the clock of the sink.
func clock() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // never fails
	return uint64(t.Nano())
}
