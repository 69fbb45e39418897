package flow

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sotto/proxy/guard"
)

// A script is a socket in which datagrams wait already.
type script struct {
	PacketConn // nothing else is called
	waiting    []netip.AddrPort
	closed     chan struct{}
}

// ReadBatch gives an OPTIONS of each sender who waits, with its place as its Call-ID.
func (s *script) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort, wait bool) (n int, err error) {
	if len(s.waiting) == 0 && wait {
		close(s.closed)
		return 0, net.ErrClosed
	}
	for ; n < len(bufs) && len(s.waiting) > 0; n++ {
		sizes[n] = copy(bufs[n], "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"+
			"To: <sip:a@b>\r\nCall-ID: "+s.waiting[0].String()+"\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n")
		from[n], s.waiting = s.waiting[0], s.waiting[1:]
	}
	return n, nil
}

func (*script) Lost() uint64        { return 0 }
func (*script) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(ours) }
func (*script) Close() error        { return nil }

func (s *script) ListenPacket(netip.AddrPort) (PacketConn, error) { return s, nil }

// queue has all senders' datagrams wait in a socket, and says in which order they are
// handed up, and how many strangers found no room.
func queue(t *testing.T, senders []netip.AddrPort) (order []string, crowded uint64) {
	t.Helper()
	s, h := &script{waiting: senders, closed: make(chan struct{})}, &hall{}
	g := guard.New(guard.Config{Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	m := New(Config{Network: scripted{s}, Handler: h, Guard: g})
	if _, err := m.Listen("udp", ours); err != nil {
		t.Fatal(err)
	}
	<-s.closed
	m.Close()
	for _, msg := range h.messages {
		order = append(order, msg.CallID().Value())
	}
	return order, m.Counters().Crowded.Load()
}

// scripted is a network of one socket.
type scripted struct{ *script }

func (scripted) Listen(netip.AddrPort) (net.Listener, error) { return nil, net.ErrClosed }

func (scripted) Dial(context.Context, netip.AddrPort) (net.Conn, error) { return nil, net.ErrClosed }

// Who is known does not wait behind strangers, however many have come before,
// but for one in each batch; strangers keep their order, and are counted where
// there is no room for them.
func TestKnownComeBeforeStrangers(t *testing.T) {
	known := netip.MustParseAddrPort("203.0.113.7:5060")
	for _, before := range []int{0, 1, batch - 1, batch, 3 * batch, maxLater, maxLater + 3*batch} {
		var all []netip.AddrPort
		for i := range before {
			all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 5060))
		}
		order, crowded := queue(t, append(all, known))
		if len(order)+int(crowded) != before+1 {
			t.Errorf("%d strangers before: %d handed up and %d crowded out", before, len(order), crowded)
		}
		if at := slices.Index(order, known.String()); at < 0 || at > before/batch {
			t.Errorf("%d strangers before: the one who is known is in place %d", before, at)
		}
		strangers := slices.DeleteFunc(order, func(who string) bool { return who == known.String() })
		for i, who := range strangers[:min(maxLater, before)] {
			if who != all[i].String() {
				t.Fatalf("the stranger in place %d is %s, not %s", i, who, all[i])
			}
		}
	}
}

// A socket gives all that waits, with whom it is from, and counts what it lost.
func TestSocketGivesAllThatWaits(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		t.Run(at, func(t *testing.T) { givesAll(t, netip.MustParseAddrPort(at)) })
	}
}

func givesAll(t *testing.T, at netip.AddrPort) {
	t.Helper()
	s, c := sockets(t, at)
	for i := range 5 {
		write(t, c, i+1)
	}
	var got []int
	for len(got) < 5 {
		sizes, from := receive(t, s, true)
		got = append(got, sizes...)
		if slices.ContainsFunc(from, func(a netip.AddrPort) bool { return a != portOf(c) }) {
			t.Errorf("from %v, not %v", from, portOf(c))
		}
	}
	if !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Errorf("datagrams of %v bytes", got)
	}
	if more, _ := receive(t, s, false); len(more)+int(s.Lost()) != 0 {
		t.Errorf("%d more, %d lost", len(more), s.Lost())
	}
	if err := s.SetReadBuffer(1); err != nil { // the system gives its least
		t.Fatal(err)
	}
	for range 100 {
		write(t, c, 1000)
	}
	if s.Lost() == 0 {
		t.Error("what did not fit was not counted")
	}
}

// A reader who waits hears of the end.
func TestSocketCloses(t *testing.T) {
	s, _ := sockets(t, netip.MustParseAddrPort("127.0.0.1:0"))
	ended := make(chan error)
	go func() {
		_, err := s.ReadBatch([][]byte{make([]byte, 9)}, make([]int, 1), make([]netip.AddrPort, 1), true)
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// sockets are a socket as a listener has it, and one that sends to it.
func sockets(t *testing.T, at netip.AddrPort) (*socket, *net.UDPConn) {
	t.Helper()
	pc, err := realNetwork{buffer: 1 << 20}.ListenPacket(at)
	if err != nil {
		t.Skip("no such address here:", err)
	}
	t.Cleanup(func() { _ = pc.Close() }) // a test may have closed it
	s, ok := pc.(*socket)
	if !ok {
		t.Fatalf("%T", pc)
	}
	to := s.LocalAddr().String()
	to = strings.Replace(to, "[::]", "127.0.0.1", 1)
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return s, c
}

func portOf(c *net.UDPConn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

func write(t *testing.T, c *net.UDPConn, size int) {
	t.Helper()
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
}

// receive takes up to three of what waits.
func receive(t *testing.T, s *socket, wait bool) (sizes []int, from []netip.AddrPort) {
	t.Helper()
	bufs := [][]byte{make([]byte, 9), make([]byte, 9), make([]byte, 9)}
	sizes, from = make([]int, 3), make([]netip.AddrPort, 3)
	n, err := s.ReadBatch(bufs, sizes, from, wait)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		from[i] = unmap(from[i])
	}
	return sizes[:n], from[:n]
}

// What a socket gets is asked of a socket; so small a buffer everybody gets.
func TestBuffer(t *testing.T) {
	if got := Buffer(1 << 14); got != 1<<14 {
		t.Errorf("a socket that asks for 16384 bytes holds %d", got)
	}
}
