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

// A udpListener is one UDP socket and its reader. All that waits in the socket
// is taken out by one call, and who is known comes first: a stranger's datagram
// is parsed when nothing waits that may be a known one's.
type udpListener struct {
	mux   *Mux
	conn  BatchConn
	local netip.AddrPort
	many  sourced // conn, if it is at all addresses of the machine; else nil
	later backlog // the reader's own
}

// sourced is a BatchConn that can tell to which of its addresses a datagram came,
// and send from that one.
type sourced interface {
	// To is where the datagram in that place of the last ReadBatch was sent to; the
	// zero Addr is not known.
	To(place int) netip.Addr
	WriteFrom(b []byte, from netip.Addr, to netip.AddrPort) (int, error)
}

// maxDatagram is what UDP over IPv4 can carry (65,535 − 20 − 8).
const maxDatagram = 65507

const (
	// batch is how many datagrams are taken at once (ours: 4 MB of address space,
	// of which what datagrams fill becomes memory).
	batch = 64
	// turns is how many strangers are served before the socket is looked at again
	// (ours: a fraction of a millisecond).
	turns = 8
	// maxLater is how many strangers' datagrams wait (ours): what a share of 2,000 a
	// second brings in an eighth of a second.
	maxLater = 256
	// large is a buffer that is not kept (ours): most messages are smaller.
	large = 4096
)

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
	conn, ok := pc.(BatchConn)
	if !ok {
		conn = oneByOne{pc}
	}
	l := &udpListener{mux: m, conn: conn, local: unmap(local)}
	if l.local.Addr().IsUnspecified() {
		l.many, _ = pc.(sourced)
	}
	m.mu.Lock()
	m.udp = append(m.udp, l)
	m.mu.Unlock()
	m.wait.Add(1)
	go l.read()
	return l.local, nil
}

// oneByOne makes a BatchConn of a PacketConn.
type oneByOne struct{ PacketConn }

// ReadBatch implements BatchConn.
func (c oneByOne) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort, wait bool) (n int, err error) {
	if !wait {
		return 0, nil
	}
	sizes[0], from[0], err = c.ReadFromUDPAddrPort(bufs[0])
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// Lost implements BatchConn.
func (oneByOne) Lost() uint64 { return 0 }

// read takes datagrams until the socket is closed. Other errors (an ICMP
// message, say) end nothing.
func (l *udpListener) read() {
	defer l.mux.wait.Done()
	var (
		slab  = make([]byte, batch*(maxDatagram+1))
		bufs  [batch][]byte
		sizes [batch]int
		from  [batch]netip.AddrPort
	)
	for i := range bufs {
		bufs[i] = slab[i*(maxDatagram+1) : (i+1)*(maxDatagram+1)]
	}
	for {
		n, err := l.conn.ReadBatch(bufs[:], sizes[:], from[:], l.later.n == 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.mux.log.Debug("reading datagram", "err", err)
			time.Sleep(time.Millisecond) // no error may spin
			continue
		}
		now := time.Now()
		for i := range n {
			l.datagram(bufs[i][:sizes[i]], pair{l.at(i), unmap(from[i])}, now)
		}
		l.strangers(n == batch)
	}
}

// A pair is where a datagram came to and where from.
type pair struct{ local, peer netip.AddrPort }

// at is where the datagram in that place came to. What answers it must come from
// there (RFC 3581 §4): a NAT lets nothing else through.
func (l *udpListener) at(place int) netip.AddrPort {
	if l.many != nil {
		if to := l.many.To(place); to.IsValid() {
			return netip.AddrPortFrom(to, l.local.Port())
		}
	}
	return l.local
}

// has says that a flow's local address is this listener's.
func (l *udpListener) has(local netip.AddrPort) bool {
	return l.local == local || l.many != nil && l.local.Port() == local.Port() &&
		(l.local.Addr().Is6() || local.Addr().Is4())
}

// datagram is one datagram: it is dropped, taken, or put behind all others.
func (l *udpListener) datagram(b []byte, at pair, now time.Time) {
	g := l.mux.cfg.Guard
	if g == nil {
		l.take(b, at, false)
		return
	}
	switch g.Heard(at.peer, false, now) {
	case guard.Known:
		l.take(b, at, false)
	case guard.Stranger:
		g.Came(at.peer, len(b), now)
		if !l.later.put(b, at) {
			l.mux.counters.Crowded.Add(1)
		}
	}
}

// strangers serves those who wait: some if nobody else does, else one, so that
// they are late and not forgotten.
func (l *udpListener) strangers(busy bool) {
	some := turns
	if busy {
		some = 1
	}
	for ; some > 0 && l.later.n > 0; some-- {
		l.take(l.later.next())
	}
}

// A backlog is a bounded queue of strangers' datagrams.
type backlog struct {
	data  [maxLater][]byte // kept and used again, unless large
	pairs [maxLater]pair
	first int
	n     int
}

// put puts a copy of a datagram at the end, if there is room.
func (q *backlog) put(b []byte, at pair) bool {
	if q.n == maxLater {
		return false
	}
	i := (q.first + q.n) % maxLater
	q.data[i], q.pairs[i] = append(q.data[i][:0], b...), at
	q.n++
	return true
}

// next takes the first, good until the next put.
func (q *backlog) next() (b []byte, at pair, stranger bool) {
	i := q.first
	q.first, q.n = (i+1)%maxLater, q.n-1
	b = q.data[i]
	if cap(b) > large {
		q.data[i] = nil
	}
	return b, q.pairs[i], true
}

// take is a datagram that is heard: a ping, STUN, or a message.
func (l *udpListener) take(b []byte, at pair, stranger bool) {
	m := l.mux
	f := &Flow{ref: Ref{Transport: "udp", Local: at.local, Peer: at.peer}, udp: l, stranger: stranger}
	if len(b) <= 4 { // CRLFCRLF and what else phones send to keep a NAT open
		m.counters.Pings.Add(1)
		return
	}
	if stun.IsSTUN(b) { // RFC 5626 §3.5.2
		if res, ok := stun.BindingResponse(b, at.peer); ok {
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
		wire.AddReceived(req.Via(), at.peer)
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
func (l *udpListener) send(b []byte, local, peer netip.AddrPort) error {
	if len(b) > maxDatagram {
		return ErrTooLarge
	}
	if l.local.Addr().Is6() && peer.Addr().Is4() { // a dual-stack socket wants it mapped
		peer = netip.AddrPortFrom(netip.AddrFrom16(peer.Addr().As16()), peer.Port())
	}
	if err := l.write(b, local.Addr(), peer); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return ErrClosed
		}
		return err
	}
	l.mux.counters.Sent.Add(1)
	return nil
}

// write sends from the address that the peer knows. One that the machine has no
// more is replaced by what the system chooses.
func (l *udpListener) write(b []byte, local netip.Addr, peer netip.AddrPort) error {
	if l.many != nil && !local.IsUnspecified() {
		if _, err := l.many.WriteFrom(b, local, peer); err == nil || errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	_, err := l.conn.WriteToUDPAddrPort(b, peer)
	return err
}
