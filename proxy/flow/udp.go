package flow

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/stun"
	"sotto/proxy/guard"
	"sotto/proxy/wire"
)

// A udpListener is one UDP socket and its reader.
type udpListener struct {
	mux   *Mux
	conn  PacketConn
	local netip.AddrPort
}

// maxDatagram is what UDP over IPv4 can carry (65,535 − 20 − 8).
const maxDatagram = 65507

// listenUDP opens a socket and starts its reader.
func (m *Mux) listenUDP(addr netip.AddrPort) (netip.AddrPort, error) {
	pc, err := m.cfg.Network.ListenPacket(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	local, err := netip.ParseAddrPort(pc.LocalAddr().String())
	if err != nil {
		_ = pc.Close()
		return netip.AddrPort{}, err
	}
	l := &udpListener{mux: m, conn: pc, local: unmap(local)}
	m.mu.Lock()
	m.udp = append(m.udp, l)
	m.mu.Unlock()
	m.wait.Add(1)
	go l.read()
	return l.local, nil
}

// read takes datagrams until the socket is closed. Other errors (an ICMP
// message, say) end nothing.
func (l *udpListener) read() {
	defer l.mux.wait.Done()
	buf := make([]byte, maxDatagram+1)
	for {
		n, peer, err := l.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.mux.log.Debug("reading datagram", "err", err)
			time.Sleep(time.Millisecond) // no error may spin
			continue
		}
		l.datagram(buf[:n], unmap(peer))
	}
}

// datagram is one datagram: a ping, STUN, or a message.
func (l *udpListener) datagram(b []byte, peer netip.AddrPort) {
	m := l.mux
	stranger := false
	if g := m.cfg.Guard; g != nil {
		now := time.Now()
		switch g.Heard(peer, false, now) {
		case guard.Dropped:
			return
		case guard.Stranger:
			stranger = true
			g.Came(peer, len(b), now)
		}
	}
	f := &Flow{ref: Ref{Transport: "udp", Local: l.local, Peer: peer}, udp: l, stranger: stranger}
	if len(b) <= 4 { // CRLFCRLF and what else phones send to keep a NAT open
		m.counters.Pings.Add(1)
		return
	}
	if stun.IsSTUN(b) { // RFC 5626 §3.5.2
		if res, ok := stun.BindingResponse(b, peer); ok {
			m.counters.Pings.Add(1)
			f.mayFail(res)
		}
		return
	}
	m.counters.Received.Add(1)
	msg, err := wire.Parse(b)
	if err != nil {
		f.malformed(err, len(b))
		return
	}
	if req, ok := msg.(*sip.Request); ok {
		wire.AddReceived(req.Via(), peer)
	}
	m.cfg.Handler.Message(f, msg)
}

// malformed answers what RFC 3261 wants answered, never with more bytes than
// came: Send sees to that, and where nobody guards, this does.
func (f *Flow) malformed(err error, size int) {
	m := f.udp.mux
	m.counters.Malformed.Add(1)
	m.log.Debug("malformed datagram", "err", err)
	if m.cfg.Guard != nil {
		m.cfg.Guard.Malformed(f.ref.Peer, false, time.Now())
	}
	var rej *wire.Reject
	if errors.As(err, &rej) && rej.Answer != nil && (m.cfg.Guard != nil || len(rej.Answer) <= size) {
		m.counters.Answered.Add(1)
		f.mayFail(rej.Answer)
	}
}

// mayFail sends what nobody waits for.
func (f *Flow) mayFail(b []byte) {
	if err := f.Send(b); err != nil {
		f.udp.mux.log.Debug("datagram not sent", "err", err)
	}
}

// send sends one datagram. Over IP's MTU it is fragmented; phones take that.
func (l *udpListener) send(b []byte, peer netip.AddrPort) error {
	if len(b) > maxDatagram {
		return ErrTooLarge
	}
	if l.local.Addr().Is6() && peer.Addr().Is4() { // a dual-stack socket wants it mapped
		peer = netip.AddrPortFrom(netip.AddrFrom16(peer.Addr().As16()), peer.Port())
	}
	if _, err := l.conn.WriteToUDPAddrPort(b, peer); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return ErrClosed
		}
		return err
	}
	l.mux.counters.Sent.Add(1)
	return nil
}
