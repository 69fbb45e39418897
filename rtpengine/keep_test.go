package rtpengine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sotto/internal/memnet"
)

// A shelf keeps sessions as a store does.
type shelf struct {
	mu     sync.Mutex
	all    map[uint64][]byte
	broken bool
}

func (s *shelf) keep(changes map[uint64][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("disk full")
	}
	for id, text := range changes {
		if text == nil {
			delete(s.all, id)
			continue
		}
		s.all[id] = text
	}
	return nil
}

// has are the sessions on the shelf.
func (s *shelf) has() map[uint64][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

// breaks lets keeping fail from now on, or not.
func (s *shelf) breaks(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

var (
	relayIP  = netip.MustParseAddr("192.0.2.1")
	callerIP = netip.MustParseAddr("198.51.100.7")
	calleeIP = netip.MustParseAddr("203.0.113.9")
	thiefIP  = netip.MustParseAddr("203.0.113.66")
)

// keptEngine is an engine in memory whose sessions are kept on s.
func keptEngine(t *testing.T, n *memnet.Net, s *shelf) *Engine {
	t.Helper()
	host := n.Host(relayIP)
	e, err := New(Config{
		Addresses: []Address{{relayIP, relayIP}}, PortMin: 20000, PortMax: 20099, Rest: time.Second,
		SilenceTimeout: time.Minute, Keep: s.keep, Workers: 1,
		Listen: func(a netip.AddrPort) (Wire, error) { return host.ListenPacket(a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// audio is a description of one audio stream.
func audio(ip netip.Addr, port int) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n"+
		"m=audio %[2]d RTP/AVP 0\r\n", ip, port)
}

// twoPhones are the sockets of a caller and a callee, and where each sends to.
type twoPhones struct {
	caller, callee     memnet.PacketConn
	toCaller, toCallee netip.AddrPort // of the relay: what the caller, the callee sends to
}

// connect makes a session between two phones that have sockets already, or opens them.
func (p *twoPhones) connect(t *testing.T, n *memnet.Net, e *Engine, id ID) {
	t.Helper()
	open := func(ip netip.Addr) memnet.PacketConn {
		c, err := n.Host(ip).ListenPacket(netip.AddrPortFrom(ip, 4000))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	p.caller, p.callee = open(callerIP), open(calleeIP)
	if _, err := e.Offer(id, Body{From: Caller, SDP: audio(callerIP, 4000), Source: callerIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Answer(id, Body{From: Callee, SDP: audio(calleeIP, 4000), Source: calleeIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	r, _ := e.Query(id)
	p.toCaller, p.toCallee = r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay
}

// rtpPacket is an RTP packet with a payload.
func rtpPacket(seq byte, payload string) []byte {
	return append([]byte{0x80, 0, 0, seq, 0, 0, 0, seq, 1, 2, 3, 4}, payload...)
}

// relays checks that what one socket sends to the relay reaches the other from
// where that phone sends to.
func relays(
	t *testing.T,
	from memnet.PacketConn,
	at netip.AddrPort,
	to memnet.PacketConn,
	by netip.AddrPort,
	seq byte,
) {
	t.Helper()
	sent := rtpPacket(seq, "hello")
	if _, err := from.WriteToUDPAddrPort(sent, at); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	b := make([]byte, 100)
	n, src, err := to.ReadFromUDPAddrPort(b)
	if err != nil || !bytes.Equal(b[:n], sent) || src != by {
		t.Fatalf("received %x from %v (%v), want %x from %v", b[:n], src, err, sent, by)
	}
}

func (p *twoPhones) talk(t *testing.T, seq byte) {
	t.Helper()
	relays(t, p.caller, p.toCaller, p.callee, p.toCallee, seq)
	relays(t, p.callee, p.toCallee, p.caller, p.toCaller, seq)
}

// A session goes on in the next process: same ports, same parties, and still
// nobody else gets in.
func TestSessionOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := memnet.New(), &shelf{all: map[uint64][]byte{}}
		e := keptEngine(t, n, s)
		var p twoPhones
		p.connect(t, n, e, 7)
		p.talk(t, 1)
		time.Sleep(2 * keepEvery)
		killed := s.has() // what a process that is killed leaves behind
		e.Close()
		e = keptEngine(t, n, s)
		defer e.Close()
		if got := e.Restore(killed); got != 1 {
			t.Fatalf("%d sessions go on", got)
		}
		p.talk(t, 2)
		thief, err := n.Host(thiefIP).ListenPacket(netip.AddrPortFrom(thiefIP, 4000))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = thief.Close() }()
		if _, err := thief.WriteToUDPAddrPort(rtpPacket(3, "mine"), p.toCallee); err != nil {
			t.Fatal(err)
		}
		p.talk(t, 4) // the next that each hears is the other, not the thief
		if used, _ := e.Ports(); used != 4 {
			t.Errorf("%d ports are in use", used)
		}
		if _, ok := e.Delete(7); !ok {
			t.Error("the session is not known")
		}
		time.Sleep(2 * keepEvery)
		if len(s.has()) != 0 {
			t.Errorf("%d sessions are kept after the end of the call", len(s.has()))
		}
	})
}

// A session whose port another program has taken is lost, and the others go on.
func TestSessionOfATakenPortIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := memnet.New(), &shelf{all: map[uint64][]byte{}}
		e := keptEngine(t, n, s)
		var p twoPhones
		p.connect(t, n, e, 7)
		if _, err := e.Offer(8, Body{From: Caller, SDP: audio(callerIP, 5000), Toward: V4}); err != nil {
			t.Fatal(err)
		}
		r, _ := e.Query(8)
		e.Close() // keeps what is not kept yet
		if len(s.has()) != 2 {
			t.Fatalf("%d sessions are kept", len(s.has()))
		}
		other, err := n.Host(relayIP).ListenPacket(r.Streams[0].Callee.Relay)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		e = keptEngine(t, n, s)
		defer e.Close()
		all := s.has()
		all[9] = []byte("{")
		if got := e.Restore(all); got != 1 || e.Sessions() != 1 {
			t.Errorf("%d sessions go on, %d are there", got, e.Sessions())
		}
		if used, _ := e.Ports(); used != 4 {
			t.Errorf("%d ports are in use", used)
		}
		p.talk(t, 1)
		time.Sleep(2 * keepEvery)
		if len(s.has()) != 1 || s.has()[7] == nil {
			t.Errorf("kept are %v", s.has())
		}
	})
}

// What could not be kept is kept when that is possible again: the end of a
// session, too.
func TestKeepingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := memnet.New(), &shelf{all: map[uint64][]byte{}}
		e := keptEngine(t, n, s)
		defer e.Close()
		var p twoPhones
		p.connect(t, n, e, 7)
		time.Sleep(2 * keepEvery)
		s.breaks(true)
		e.Delete(7)
		if _, err := e.Offer(8, Body{From: Caller, SDP: audio(callerIP, 5000), Toward: V4}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * keepEvery)
		if s.has()[7] == nil || s.has()[8] != nil {
			t.Fatalf("a broken disk keeps %v", s.has())
		}
		s.breaks(false)
		time.Sleep(2 * keepEvery)
		if s.has()[7] != nil || s.has()[8] == nil {
			t.Errorf("kept are %v", s.has())
		}
	})
}

// A call that is on hold may be silent for long, but not for ever: nobody
// may be left to end it.
func TestSessionOnHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := memnet.New(), &shelf{all: map[uint64][]byte{}}
		host := n.Host(relayIP)
		dead := make(chan ID, 1)
		e, err := New(Config{
			Addresses: []Address{
				{relayIP, relayIP},
			}, PortMin: 20000, PortMax: 20099, SilenceTimeout: time.Minute,
			Keep: s.keep, Timeout: func(id ID, _ Reason) { dead <- id }, Workers: 1,
			Listen: func(a netip.AddrPort) (Wire, error) { return host.ListenPacket(a) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := e.Offer(7, Body{From: Caller, SDP: audio(netip.IPv4Unspecified(), 4000), Toward: V4}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(holdLimit - time.Minute)
		select {
		case <-dead:
			t.Error("a call on hold was ended within a day")
		default:
		}
		time.Sleep(3 * time.Minute) // it is let have a minute to be heard
		select {
		case id := <-dead:
			e.Delete(id)
		default:
			t.Error("the call is on hold for ever")
		}
	})
}
