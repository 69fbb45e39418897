package flow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/memnet"
)

var (
	ours   = netip.MustParseAddrPort("192.0.2.1:5060")
	theirs = netip.MustParseAddr("198.51.100.7")
)

// A hall hears what a mux hands up.
type hall struct {
	mu       sync.Mutex
	messages []sip.Message
	flows    []*Flow
	closed   int
	answer   func(*Flow)
}

func (h *hall) Message(f *Flow, m sip.Message) {
	h.mu.Lock()
	h.messages, h.flows = append(h.messages, m), append(h.flows, f)
	answer := h.answer
	h.mu.Unlock()
	if answer != nil {
		answer(f)
	}
}

func (h *hall) Closed(*Flow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed++
}

func (h *hall) heard() (messages, closed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.messages), h.closed
}

// on runs a script with a mux that listens on UDP and TCP of a network in
// memory, on a fake clock, and waits until nothing is left.
func on(t *testing.T, l Limits, script func(t *testing.T, m *Mux, h *hall, phone *memnet.Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, h := memnet.New(), &hall{}
		m := New(Config{Network: n.Host(ours.Addr()), Limits: l, Handler: h})
		for _, transport := range []string{"udp", "tcp"} {
			if _, err := m.Listen(transport, ours); err != nil {
				t.Fatal(err)
			}
		}
		script(t, m, h, n.Host(theirs))
		m.Close()
		if n := m.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// options is an OPTIONS request.
func options(body string) string {
	return strings.ReplaceAll(`OPTIONS sip:example.com SIP/2.0
Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK1;rport
From: <sip:a@example.com>;tag=1
To: <sip:example.com>
Call-ID: 1
CSeq: 1 OPTIONS
Max-Forwards: 70
`, "\n", "\r\n") + "Content-Length: " + string('0'+byte(len(body))) + "\r\n\r\n" + body
}

// dial opens a connection to the mux.
func dial(t *testing.T, phone *memnet.Host) net.Conn {
	t.Helper()
	c, err := phone.Dial(context.Background(), ours)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ends waits until the mux has closed a connection, and says after how long.
func ends(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.EOF) {
		t.Logf("closed: %v", err)
	}
	return time.Since(began)
}

// A connection that says nothing, half a message, or one byte at a time, is
// closed after the time for a first message; one that has said something,
// when it was idle for long.
func TestConnectionsThatSayTooLittle(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		for name, c := range map[string]struct {
			say  func(net.Conn)
			want time.Duration
		}{
			"nothing":        {func(net.Conn) {}, 10 * time.Second},
			"half a message": {func(c net.Conn) { _, _ = io.WriteString(c, options("")[:40]) }, 10 * time.Second},
			"byte by byte": {func(c net.Conn) {
				go func() {
					for _, b := range []byte(options("")) {
						time.Sleep(time.Second)
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
					}
				}()
			}, 10 * time.Second},
			"a message": {func(c net.Conn) { _, _ = io.WriteString(c, options("")) }, 4 * KeepAlive},
			"one and a half": {
				func(c net.Conn) { _, _ = io.WriteString(c, options("")+options("")[:9]) }, 10 * time.Second,
			},
			"a ping, then silence": {func(c net.Conn) { _, _ = io.WriteString(c, "\r\n\r\n") }, 4 * KeepAlive},
		} {
			conn := dial(t, phone)
			c.say(conn)
			if got := ends(t, conn); got < c.want-time.Second || got > c.want+time.Second {
				t.Errorf("%s: closed after %v, want %v", name, got, c.want)
			}
			_ = conn.Close()
			time.Sleep(2 * time.Second) // whoever still writes sees it
		}
	})
}

// Of several listeners the one sends that has the address from which the system
// would reach the peer: another one's packets leave by the wrong link.
func TestListenerTowardPeer(t *testing.T) {
	m := New(Config{Handler: &hall{}, Limits: Limits{SocketBuffer: 1 << 16}})
	defer m.Close()
	for _, a := range []string{"127.0.0.2:0", "127.0.0.1:0", "0.0.0.0:0"} {
		if _, err := m.Listen("udp", netip.MustParseAddrPort(a)); err != nil {
			t.Skipf("listening on %s: %v", a, err)
		}
	}
	f, err := m.To("udp", netip.MustParseAddrPort("127.0.0.1:9"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Local().Addr(), LocalToward(f.Peer()); got != want {
		t.Errorf("sends from %s, the system from %s", got, want)
	}
}

// A silent connection that somebody is reached over is kept as long as he is.
func TestConnectionThatIsNeeded(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		began := time.Now()
		m.cfg.Needed = func(*Flow) bool { return time.Since(began) < time.Hour }
		whole, half := dial(t, phone), dial(t, phone)
		for c, said := range map[net.Conn]string{whole: options(""), half: options("")[:40]} {
			if _, err := io.WriteString(c, said); err != nil {
				t.Fatal(err)
			}
		}
		if got := ends(t, half); got > 11*time.Second {
			t.Errorf("half a message was waited for %v", got)
		}
		if got := ends(t, whole); got < 50*time.Minute || got > time.Hour+4*KeepAlive {
			t.Errorf("closed after %v, needed for an hour", got)
		}
		for _, c := range []net.Conn{whole, half} {
			_ = c.Close()
		}
	})
}

// More connections than one address, or all together, may have are closed at once.
func TestConnectionLimits(t *testing.T) {
	on(t, Limits{PerAddress: 3, Connections: 4}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		var open []net.Conn
		for range 3 {
			open = append(open, dial(t, phone))
		}
		synctest.Wait()
		if got := ends(t, dial(t, phone)); got != 0 || m.Counters().Refused.Load() != 1 {
			t.Errorf("a fourth of one address was open for %v", got)
		}
		_ = open[0].Close()
		synctest.Wait()
		again := dial(t, phone)
		if _, err := io.WriteString(again, options("")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n, _ := h.heard(); n != 1 || m.Connections() != 3 {
			t.Errorf("%d messages, %d connections: a closed one does not count", n, m.Connections())
		}
		there := netip.MustParseAddrPort("192.0.2.99:5060")
		if _, err := m.To("tcp", there, ""); err != nil {
			t.Errorf("the fourth, which we open: %v", err)
		}
		if _, err := m.To("tcp", netip.AddrPortFrom(there.Addr(), 5061), ""); err == nil {
			t.Error("there may be a fifth if we open it")
		}
	})
}

// The last sixteenth of all connections is for those that we open.
func TestConnectionsOfOurOwn(t *testing.T) {
	on(t, Limits{Connections: 16}, func(t *testing.T, m *Mux, _ *hall, phone *memnet.Host) {
		for range 15 {
			dial(t, phone)
		}
		synctest.Wait()
		if got := ends(t, dial(t, phone)); got != 0 || m.Connections() != 15 {
			t.Errorf("a sixteenth was open for %v, beside %d others", got, m.Connections())
		}
		if _, err := m.To("tcp", netip.MustParseAddrPort("192.0.2.99:5060"), ""); err != nil {
			t.Errorf("one that we open: %v", err)
		}
	})
}

// A keep-alive is answered, also when it comes in pieces (RFC 5626 §4.4.1); on
// UDP it is not.
func TestKeepAlive(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		c := dial(t, phone)
		for _, ping := range []string{"\r\n", "\r\n", "\r\n\r\n"} {
			_, _ = io.WriteString(c, ping)
			synctest.Wait()
		}
		pongs := make([]byte, 4)
		if _, err := io.ReadFull(c, pongs); err != nil || string(pongs) != "\r\n\r\n" {
			t.Errorf("%q, %v", pongs, err)
		}
		u, err := phone.ListenPacket(netip.AddrPortFrom(theirs, 5060))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = u.WriteToUDPAddrPort([]byte("\r\n\r\n"), ours)
		synctest.Wait()
		if sent, pings := m.Counters().Sent.Load(), m.Counters().Pings.Load(); sent != 2 || pings != 3 {
			t.Errorf("%d pings, %d answers", pings, sent)
		}
		_ = u.Close()
	})
}

// A STUN request on the SIP port is answered with the address that it came
// from (RFC 5626 §3.5.2).
func TestSTUN(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, _ *Mux, _ *hall, phone *memnet.Host) {
		u, err := phone.ListenPacket(netip.AddrPortFrom(theirs, 5060))
		if err != nil {
			t.Fatal(err)
		}
		req := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, "transaction."...)
		_, _ = u.WriteToUDPAddrPort(req, ours)
		b := make([]byte, 100)
		n, _, err := u.ReadFromUDPAddrPort(b)
		if err != nil || !bytes.Equal(b[8:20], req[8:]) || n != 32 {
			t.Errorf("%x, %v", b[:n], err)
		}
		_ = u.Close()
	})
}

// The top Via learns where a request came from (RFC 3261 §18.2.1, RFC 3581),
// and the answer goes back there.
func TestReceived(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, _ *Mux, h *hall, phone *memnet.Host) {
		h.answer = func(f *Flow) {
			if err := f.Send([]byte("answer")); err != nil {
				t.Error(err)
			}
		}
		u, err := phone.ListenPacket(netip.AddrPortFrom(theirs, 7777))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = u.WriteToUDPAddrPort([]byte(options("")), ours)
		b := make([]byte, 100)
		if n, from, err := u.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != "answer" || from != ours {
			t.Errorf("%q from %v, %v", b[:n], from, err)
		}
		req, ok := h.messages[0].(*sip.Request)
		if !ok {
			t.Fatalf("%T", h.messages[0])
		}
		via := req.Via().Value()
		if !strings.Contains(via, "received=198.51.100.7") || !strings.Contains(via, "rport=7777") {
			t.Errorf("Via: %s", via)
		}
		_ = u.Close()
	})
}

// A peer that never reads is cut off: its messages wait, but not for ever, and
// nobody else waits for it.
func TestPeerThatNeverReads(t *testing.T) {
	on(t, Limits{Queue: 8}, func(t *testing.T, _ *Mux, h *hall, phone *memnet.Host) {
		c := dial(t, phone)
		_, _ = io.WriteString(c, options(""))
		synctest.Wait()
		f := h.flows[0]
		big := bytes.Repeat([]byte("x"), 64<<10)
		var full error
		for range 100 {
			if full = f.Send(big); full != nil {
				break
			}
		}
		if !errors.Is(full, ErrFull) {
			t.Fatalf("a hundred large messages were taken: %v", full)
		}
		time.Sleep(11 * time.Second)
		if err := f.Send(big); !errors.Is(err, ErrClosed) {
			t.Errorf("after the time for a message: %v", err)
		}
		if _, closed := h.heard(); closed != 1 {
			t.Errorf("%d connections were told to be closed", closed)
		}
	})
}

// A flow is found again by its name while it lives, and no other flow has it.
func TestFlowsHaveAnIdentity(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		for range 2 {
			_, _ = io.WriteString(dial(t, phone), options(""))
		}
		synctest.Wait()
		a, b := h.flows[0], h.flows[1]
		if a.Ref() == b.Ref() || m.Find(a.Ref()) != a || m.Find(b.Ref()) != b {
			t.Errorf("%v, %v", a.Ref(), b.Ref())
		}
		other := a.Ref()
		other.ID++
		if m.Find(other) != nil {
			t.Error("a name that nobody has finds a flow")
		}
		a.Close("test")
		synctest.Wait()
		if m.Find(a.Ref()) != nil || m.Find(b.Ref()) != b {
			t.Error("a closed flow is found, or an open one is not")
		}
		udp := Ref{Transport: "udp", Local: ours, Peer: netip.AddrPortFrom(theirs, 9)}
		if f := m.Find(udp); f == nil || f.Ref() != udp {
			t.Error("UDP needs no connection")
		}
	})
}

// What is malformed is answered where RFC 3261 wants it, with no more bytes
// than came, so that nobody is flooded with our answers.
func TestMalformed(t *testing.T) {
	on(t, Limits{}, func(t *testing.T, m *Mux, h *hall, phone *memnet.Host) {
		u, err := phone.ListenPacket(netip.AddrPortFrom(theirs, 5060))
		if err != nil {
			t.Fatal(err)
		}
		bad := strings.Replace(options(""), "CSeq: 1 OPTIONS", "CSeq: 1 INVITE", 1)
		for _, text := range []string{"garbage", "\x00\x01\x02\x03\x04\x05", bad[:30], strings.Repeat("A", 60000), bad} {
			_, _ = u.WriteToUDPAddrPort([]byte(text), ours)
			synctest.Wait()
		}
		if n, _ := h.heard(); n != 0 || m.Counters().Malformed.Load() != 5 {
			t.Errorf("%d messages, %d malformed", n, m.Counters().Malformed.Load())
		}
		b := make([]byte, 2000)
		_ = u.Close()
		if n, _, err := u.ReadFromUDPAddrPort(b); err == nil && n > len(bad) {
			t.Errorf("%d bytes were answered with %d", len(bad), n)
		}
	})
}

// Over real sockets: a datagram of several fragments arrives whole.
func TestFragmentedDatagram(t *testing.T) {
	h := &hall{}
	m := New(Config{Handler: h})
	defer m.Close()
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		addr, err := m.Listen("udp", netip.MustParseAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		large := strings.Replace(options(""), "Max-Forwards", "X-Large: "+strings.Repeat("x", 4000)+
			"\r\nX-Larger: "+strings.Repeat("x", 4000)+"\r\nMax-Forwards", 1)
		before, _ := h.heard()
		if _, err := io.WriteString(c, large); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if n, _ := h.heard(); n > before {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: nothing arrives", at)
			}
		}
		_ = c.Close()
	}
}
