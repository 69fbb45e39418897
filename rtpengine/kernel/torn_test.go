//go:build amd64

package kernel

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds a wait for a packet on loopback.
const patience = 10 * time.Second

// open loads the plane for a loopback address, or skips.
func open(t *testing.T) *Plane {
	t.Helper()
	p, err := Open([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, 27000, 27099, "")
	if err != nil {
		t.Skipf("no eBPF here: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// bind opens a socket.
func bind(t *testing.T, at string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadBuffer(4 << 20)
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// received counts what comes to a socket.
func received(c *net.UDPConn) *atomic.Uint64 {
	var n atomic.Uint64
	go func() {
		b := make([]byte, 2000)
		for {
			if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	return &n
}

// rtp is a packet of SSRC 0x01020304.
var rtp = []byte{0x80, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 'x'}

const ssrc = 0x01020304

// While a flow changes between two destinations as fast as it can, no packet
// goes to the address of one and the port of the other: that would give one
// party's media to another.
func TestNoTornDestination(t *testing.T) {
	p := open(t)
	from, remote := bind(t, "127.0.0.1:0")
	_, relay := bind(t, "127.0.0.1:27010")
	a, atA := bind(t, "127.0.0.2:0")
	b, atB := bind(t, "127.0.0.3:0")
	gotA, gotB := received(a), received(b)
	var torn []*atomic.Uint64
	for _, at := range []netip.AddrPort{
		netip.AddrPortFrom(atA.Addr(), atB.Port()), netip.AddrPortFrom(atB.Addr(), atA.Port()),
	} {
		c, _ := bind(t, at.String())
		torn = append(torn, received(c))
	}
	f, _ := p.Flow(relay)
	stop, flips := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				flips <- n
				return
			default:
			}
			to := atA
			if n%2 == 1 {
				to = atB
			}
			_ = f.Install(Rule{Remote: remote, From: relay, To: to, SSRC: ssrc}) // may be refused while routes change
		}
	}()
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); {
		if _, err := from.WriteToUDPAddrPort(rtp, relay); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	t.Logf("%d flips, %d and %d packets", <-flips, gotA.Load(), gotB.Load())
	if gotA.Load() == 0 || gotB.Load() == 0 {
		t.Error("nothing was relayed")
	}
	if n := torn[0].Load() + torn[1].Load(); n > 0 {
		t.Errorf("%d packets went to one party's address and the other's port", n)
	}
}

// A process that no longer renews its lease has nothing forwarded.
func TestLeaseEnds(t *testing.T) {
	p := open(t)
	from, remote := bind(t, "127.0.0.1:0")
	own, relay := bind(t, "127.0.0.1:27012")
	to, at := bind(t, "127.0.0.1:0")
	f, _ := p.Flow(relay)
	if err := f.Install(Rule{Remote: remote, From: relay, To: at, SSRC: ssrc}); err != nil {
		t.Fatal(err)
	}
	reaches(t, from, relay, to, "while the process lives")
	close(p.stop) // the process hangs
	p.wait.Wait()
	for p.leased() {
		time.Sleep(10 * time.Millisecond)
	}
	reaches(t, from, relay, own, "after the lease")
	p.stop = make(chan struct{})
}

// reaches sends packets of the same words to a relay until one comes to a socket,
// and says where it came from. A process that had no turn for as long as a lease
// is has the first ones come to user space.
func reaches(t *testing.T, from *net.UDPConn, relay netip.AddrPort, to *net.UDPConn, words string) netip.AddrPort {
	t.Helper()
	b, got := append(slices.Clone(rtp), words...), make([]byte, 100)
	for began := time.Now(); time.Since(began) < patience; {
		if _, err := from.WriteToUDPAddrPort(b, relay); err != nil {
			t.Fatal(err)
		}
		_ = to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for n, src, err := to.ReadFromUDPAddrPort(got); err == nil; n, src, err = to.ReadFromUDPAddrPort(got) {
			if bytes.Equal(got[:n], b) {
				return src
			}
		}
	}
	t.Errorf("nothing comes: %s", words)
	return netip.AddrPort{}
}

// Where the kernel has no tcx, a filter of clsact does the same, and leaves
// nothing behind.
func TestClsact(t *testing.T) {
	p := open(t)
	for _, h := range p.hooks {
		h(false)
	}
	p.hooks = nil
	at, err := p.interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.attachTo(at, p.clsact); err != nil {
		t.Fatal(err)
	}
	from, remote := bind(t, "127.0.0.1:0")
	_, relay := bind(t, "127.0.0.1:27014")
	to, dest := bind(t, "127.0.0.1:0")
	f, _ := p.Flow(relay)
	if err := f.Install(Rule{Remote: remote, From: relay, To: dest, SSRC: ssrc}); err != nil {
		t.Fatal(err)
	}
	if src := reaches(t, from, relay, to, "by clsact"); src != relay {
		t.Errorf("from %v", src)
	}
}
