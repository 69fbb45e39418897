package rtpengine

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// What a packet needs of its flow is two lines of memory.
func TestFlowIsTwoLines(t *testing.T) {
	if n := unsafe.Sizeof(sock{}); n != 128 {
		t.Errorf("%d bytes", n)
	}
}

// numbered is an RTP packet.
func numbered(first, payload byte, seq uint16, ssrc uint32, rest string) []byte {
	b := make([]byte, minRTP)
	b[0], b[1] = first, payload
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, rest...)
}

// sequences are what a party sends, and how much of it is for handle: what
// begins something, or has to be changed.
var sequences = map[string]struct {
	packets [][]byte
	handled int
}{
	"in order": {[][]byte{
		numbered(0x80, 0, 1, 7, "a"), numbered(0x80, 0, 2, 7, "b"), numbered(0xa0, 0x80, 3, 7, "c\x01"),
	}, 1},
	"lost, twice, late": {[][]byte{
		numbered(0x80, 0, 65533, 7, "a"), numbered(0x80, 0, 2, 7, "b"), numbered(0x80, 0, 2, 7, "b"),
		numbered(0x80, 0, 65535, 7, "c"), numbered(0x80, 0, 5, 7, "d"),
	}, 1},
	"far ahead and far behind": {[][]byte{
		numbered(0x80, 0, 1, 7, "a"), numbered(0x80, 0, 2999, 7, "b"), numbered(0x80, 0, 9999, 7, "c"),
		numbered(0x80, 0, 9901, 7, "d"), numbered(0x80, 0, 9000, 7, "e"), numbered(0x80, 0, 9001, 7, "f"),
	}, 3},
	"other sources": {[][]byte{
		numbered(0x80, 0, 1, 7, "a"), numbered(0x80, 0, 4, 7, "b"), numbered(0x80, 0, 90, 8, "c"),
		numbered(0x80, 0, 92, 8, "d"), numbered(0x80, 0, 5, 7, "e"), numbered(0x80, 0, 6, 7, "f"),
	}, 3},
	"other payload types": {[][]byte{
		numbered(0x80, 0, 1, 7, "a"), numbered(0x80, 101, 2, 7, "1"), numbered(0x80, 101, 3, 7, "1"),
		numbered(0x80, 0, 4, 7, "b"), numbered(0x80, 0, 5, 7, "c"),
	}, 3},
	"what says who sends": {[][]byte{
		numbered(0x80, 0, 1, 7, "a"), numbered(0x82, 0, 2, 7, "nameNAMEb"), numbered(0x80, 0, 3, 7, "c"),
		numbered(0x90, 0, 4, 7, "\xbe\xde\x00\x01named"), numbered(0x80, 0, 5, 7, "e"),
	}, 3},
}

// A flow relays and counts exactly what its stream would, without asking it.
func TestFlowIsItsStream(t *testing.T) {
	for name, c := range sequences {
		t.Run(name, func(t *testing.T) {
			deaf := deafEngine(t) // over a Wire there are no flows
			call(t, deaf, 1)
			stream := deaf.sessions[1].streams[0]
			e, caller, callee, to := relayTo(t, "127.0.0.1", Config{})
			handled := watched(e)
			for _, b := range c.packets {
				in, want := make([]byte, 100), plainRTP(bytes.Clone(b))
				crosses(t, caller, callee, to, b, in)
				if got := in[:len(want)]; !bytes.Equal(got, want) {
					t.Fatalf("got %x, want %x", got, want)
				}
				stream.packet(Caller, false, bytes.Clone(b), netip.AddrPortFrom(callerIP, 4000))
			}
			if n := handled(); n != c.handled {
				t.Errorf("%d packets handled, want %d", n, c.handled)
			}
			if got, want := countedOf(e), countedOf(deaf); !reflect.DeepEqual(got, want) {
				t.Errorf("counted\n%+v, want\n%+v", got, want)
			}
		})
	}
}

// watched counts the packets of the caller that come to handle.
func watched(e *Engine) func() int {
	l, n := e.loops[0], 0
	l.mu.Lock()
	defer l.mu.Unlock()
	s := e.sessions[1].streams[0].faces[Caller].rtp
	handle := s.handle
	s.handle = func(b []byte, from netip.AddrPort) {
		n++
		handle(b, from)
	}
	return func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return n
	}
}

// countedOf is what is counted of the caller, without times and addresses.
func countedOf(e *Engine) SideReport {
	r, _ := e.Query(1)
	s := r.Streams[0].Caller
	return SideReport{
		Packets: s.Packets, Bytes: s.Bytes, Media: s.Media, Comfort: s.Comfort, Events: s.Events, Unknown: s.Unknown,
		Forwarded: s.Forwarded, Dropped: s.Dropped,
		Quality: Quality{Lost: s.Lost, Expected: s.Expected, Codec: s.Codec, Clock: s.Clock},
	}
}

// A flow counts the jitter that was there, by the clock of the codec.
func TestFlowJitter(t *testing.T) {
	steady, shaky := arrivals{tick: 1e9 / 8000 << tickBits}, arrivals{tick: 1e9 / 8000 << tickBits}
	for seq := range uint16(500) {
		b, at := numbered(0x80, 0, seq, 7, ""), int64(time.Second)+int64(seq)*int64(20*time.Millisecond)
		steady.add(b, 1, at)
		shaky.add(b, 1, at+int64(seq%2)*int64(10*time.Millisecond))
	}
	a, b := time.Duration(steady.jitter>>4), time.Duration(shaky.jitter>>4)
	if a != 0 || b < 8*time.Millisecond || b > 10*time.Millisecond {
		t.Errorf("jitter %v and %v", a, b)
	}
}

// What signalling or a packet changes of a call, it takes from its flows at once.
func TestFlowEndsAtOnce(t *testing.T) {
	other := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port) }
	for name, change := range map[string]func(e *Engine, caller, callee *net.UDPConn){
		"offer and answer": func(e *Engine, caller, callee *net.UDPConn) { describe(t, e, caller, callee) },
		"rollback": func(e *Engine, caller, callee *net.UDPConn) {
			describe(t, e, caller, callee)
			e.Rollback(1)
		},
		"a moved party": func(e *Engine, _, _ *net.UDPConn) {
			s := e.sessions[1]
			s.loop.mu.Lock()
			defer s.loop.mu.Unlock()
			in, out := &s.streams[0].faces[Callee], &s.streams[0].faces[Caller]
			in.latch.latched, in.latch.signalled = other(9), other(10)
			if !s.streams[0].accepts(in, out, &in.latch, other(10), time.Now()) {
				t.Error("not accepted where it signals")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, caller, callee, to := relayTo(t, "127.0.0.1", Config{})
			for seq := range byte(3) {
				crosses(t, caller, callee, to, rtpPacket(seq, "media"), make([]byte, 100))
			}
			before, _ := e.Query(1)
			change(e, caller, callee)
			s := e.sessions[1]
			s.loop.mu.Lock()
			defer s.loop.mu.Unlock()
			if f := &s.streams[0].faces[Caller]; f.rtp.out != noFlow || f.counts.packets != 3 {
				t.Errorf("leaves by %d, %d packets counted", f.rtp.out, f.counts.packets)
			}
			if n := before.Streams[0].Caller.Packets; n != 3 {
				t.Errorf("%d packets counted before", n)
			}
		})
	}
}

// A call between the address families has a flow each way.
func TestFlowCrossesFamilies(t *testing.T) {
	v4, v6 := listen(t, "127.0.0.1"), listen(t, "::1")
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	e, err := New(Config{Addresses: []Address{{a, a}, {b, b}}, PortMin: 44000, PortMax: 44999, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Offer(1, Body{From: Caller, SDP: plain(v4, 1, false), Source: a, Toward: V6}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Answer(1, Body{From: Callee, SDP: plain(v6, 1, false), Source: b, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	r, _ := e.Query(1)
	toCaller, toCallee := r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay
	handled := watched(e)
	for seq := range byte(10) {
		v4.send(rtpPacket(seq, "from IPv4"), toCaller)
		v6.gets(rtpPacket(seq, "from IPv4"), toCallee)
		v6.send(rtpPacket(seq, "from IPv6"), toCallee)
		v4.gets(rtpPacket(seq, "from IPv6"), toCaller)
	}
	if n := handled(); n > 2 { // the callee's first packet says where it is
		t.Errorf("%d packets handled", n)
	}
}

// A loop to which nothing comes does not keep Go from stopping all goroutines,
// not even where Go may not interrupt it by a signal.
func TestIdleLoopLetsGoStop(t *testing.T) {
	const setting = "asyncpreemptoff=1"
	if os.Getenv("GODEBUG") != setting {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // there are several stops, a tick each
		defer cancel()
		c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestIdleLoopLetsGoStop$")
		c.Env = append(os.Environ(), "GODEBUG="+setting)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	_, caller, callee, to := relayTo(t, "127.0.0.1", Config{})
	crosses(t, caller, callee, to, rtpPacket(1, "media"), make([]byte, 100))
	runtime.GC()
}
