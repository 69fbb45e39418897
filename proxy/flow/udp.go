package flow

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/stun"
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
	if len(b) <= 4 { // CRLFCRLF and what else phones send to keep a NAT open
		m.counters.Pings.Add(1)
		return
	}
	if stun.IsSTUN(b) { // RFC 5626 §3.5.2
		if res, ok := stun.BindingResponse(b, peer); ok {
			m.counters.Pings.Add(1)
			l.mayFail(res, peer)
		}
		return
	}
	m.counters.Received.Add(1)
	msg, err := wire.Parse(b)
	if err != nil {
		l.malformed(err, len(b), peer)
		return
	}
	if req, ok := msg.(*sip.Request); ok {
		wire.AddReceived(req.Via(), peer)
	}
	m.cfg.Handler.Message(&Flow{ref: Ref{Transport: "udp", Local: l.local, Peer: peer}, udp: l}, msg)
}

// malformed answers what RFC 3261 wants answered, never with more bytes than
// came: the source of a datagram is not verified.
func (l *udpListener) malformed(err error, size int, peer netip.AddrPort) {
	l.mux.counters.Malformed.Add(1)
	l.mux.log.Debug("malformed datagram", "err", err)
	var rej *wire.Reject
	if errors.As(err, &rej) && rej.Answer != nil && len(rej.Answer) <= size {
		l.mux.counters.Answered.Add(1)
		l.mayFail(rej.Answer, peer)
	}
}

// mayFail sends what nobody waits for.
func (l *udpListener) mayFail(b []byte, peer netip.AddrPort) {
	if err := l.send(b, peer); err != nil {
		l.mux.log.Debug("datagram not sent", "err", err)
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
