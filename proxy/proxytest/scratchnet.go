package proxytest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"sotto/proxy/flow"
)

type lan struct {
	mu   sync.Mutex
	udp  map[netip.AddrPort]*sock
	drop func(from, to netip.AddrPort, b []byte) bool
}

func newLAN() *lan { return &lan{udp: map[netip.AddrPort]*sock{}} }

type dgram struct {
	at   time.Time
	from netip.AddrPort
	b    []byte
}

type sock struct {
	l    *lan
	at   netip.AddrPort
	in   chan dgram
	done chan struct{}
	once sync.Once
}

func (l *lan) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a.Port() == 0 || l.udp[a] != nil {
		if a.Port() != 0 && l.udp[a] != nil {
			return nil, errors.New("in use")
		}
		for p := uint16(30000); p < 60000; p++ {
			if n := netip.AddrPortFrom(a.Addr(), p); l.udp[n] == nil {
				a = n
				break
			}
		}
	}
	s := &sock{l: l, at: a, in: make(chan dgram, 10000), done: make(chan struct{})}
	l.udp[a] = s
	return s, nil
}
func (l *lan) Listen(netip.AddrPort) (net.Listener, error) { return nil, errors.New("no tcp") }
func (l *lan) Dial(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, errors.New("no tcp")
}
func (s *sock) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	case d := <-s.in:
		time.Sleep(time.Until(d.at))
		return copy(b, d.b), d.from, nil
	}
}
func (s *sock) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.l.drop != nil && s.l.drop(s.at, to, b) {
		return len(b), nil
	}
	if o := s.l.udp[to]; o != nil {
		select {
		case o.in <- dgram{time.Now().Add(time.Millisecond), s.at, append([]byte(nil), b...)}:
		default:
		}
	}
	return len(b), nil
}
func (s *sock) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.at) }
func (s *sock) Close() error {
	s.once.Do(func() {
		s.l.mu.Lock()
		delete(s.l.udp, s.at)
		s.l.mu.Unlock()
		close(s.done)
	})
	return nil
}
