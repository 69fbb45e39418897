package rtpengine

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is many calls from one socket to another, by one loop.
type crowd struct {
	t              *testing.T
	e              *Engine
	caller, callee *net.UDPConn
	to             []netip.AddrPort // of the callers' packets, by call
	sent, came     atomic.Int64
}

func newCrowd(t *testing.T, calls int) *crowd {
	t.Helper()
	local := netip.MustParseAddr("127.0.0.1")
	e, err := New(Config{Addresses: []Address{{local, local}}, PortMin: 24000, PortMax: 25999, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	c := &crowd{t: t, e: e, caller: roomy(t, local), callee: roomy(t, local)}
	body := func(side Side, u *net.UDPConn) Body {
		at := u.LocalAddr().(*net.UDPAddr).AddrPort()
		return Body{From: side, SDP: audio(at.Addr(), int(at.Port())), Source: at.Addr(), Toward: V4}
	}
	for i := range calls {
		if _, err := e.Offer(ID(i+1), body(Caller, c.caller)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Answer(ID(i+1), body(Callee, c.callee)); err != nil {
			t.Fatal(err)
		}
		r, _ := e.Query(ID(i + 1))
		c.to = append(c.to, r.Streams[0].Caller.Relay)
	}
	go func() {
		for b := make([]byte, 2000); ; c.came.Add(1) {
			if _, _, err := c.callee.ReadFromUDPAddrPort(b); err != nil {
				return
			}
		}
	}()
	return c
}

// roomy is a socket that loses nothing for want of room.
func roomy(t *testing.T, at netip.Addr) *net.UDPConn {
	t.Helper()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	raw, err := u.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ctl := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	})
	if err := errors.Join(ctl, err); err != nil {
		t.Skipf("no room for so many packets: %v", err)
	}
	return u
}

// all has each caller send a packet.
func (c *crowd) all(seq byte) {
	c.t.Helper()
	for _, a := range c.to {
		if _, err := c.caller.WriteToUDPAddrPort(rtpPacket(seq, "media"), a); err != nil {
			c.t.Fatal(err)
		}
		c.sent.Add(1)
	}
}

// late is how many packets are counted as too late.
func (c *crowd) late() (n int64) {
	for i := range c.to {
		r, _ := c.e.Query(ID(i + 1))
		n += int64(r.Streams[0].Caller.Dropped[dropNames[dropFull]])
	}
	return n
}

// settles waits until each packet has come or is counted as too late.
func (c *crowd) settles(when string) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); c.came.Load()+c.late() < c.sent.Load(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: of %d packets %d came and %d are counted", when, c.sent.Load(), c.came.Load(), c.late())
		}
	}
}

// What a loop finds at its sockets when it had no processor for too long is
// relayed for a while and then dropped, and counted; what comes after is relayed.
func TestLateLoopDropsItsBacklog(t *testing.T) {
	const waiting = 60
	c := newCrowd(t, 2*batch)
	c.all(1) // the flows are known
	c.settles("at first")
	c.e.loops[0].mu.Lock()
	for seq := range byte(waiting) {
		c.all(2 + seq)
	}
	c.e.loops[0].mu.Unlock()
	c.settles("late")
	dropped, most := c.late(), int64(2*batch*waiting)
	if dropped < most/4 || c.came.Load() < most/4 {
		t.Errorf("%d came and %d were dropped of %d", c.came.Load(), dropped, most)
	}
	for seq := range byte(10) {
		c.all(2 + waiting + seq)
		c.settles("afterwards")
	}
	if n := c.late(); n != dropped {
		t.Errorf("%d more are dropped when nothing is late", n-dropped)
	}
}
