package rtpengine

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stage is where a call is played: the relay's addresses, and the network
// namespaces of the parties ("" is the relay's own).
type stage struct {
	name   string
	relay  [2]string // toward caller, callee
	party  [2]string
	spaces [2]string
}

// kernelStages are loopback, and two veth pairs with a namespace at each end,
// where senders leave checksums to the hardware.
func kernelStages(t *testing.T) []stage {
	t.Helper()
	s := []stage{
		{"lo IPv4", [2]string{"127.0.0.1", "127.0.0.1"}, [2]string{"127.0.0.1", "127.0.0.1"}, [2]string{}},
		{"lo IPv6", [2]string{"::1", "::1"}, [2]string{"::1", "::1"}, [2]string{}},
	}
	ns := namespaces(t)
	return append(
		s,
		stage{"veth IPv4", [2]string{"10.97.1.1", "10.97.1.1"}, [2]string{"10.97.1.2", "10.97.2.2"}, ns},
		stage{"veth IPv6", [2]string{"fd97:1::1", "fd97:1::1"}, [2]string{"fd97:1::2", "fd97:2::2"}, ns},
	)
}

// namespaces makes the relay's namespace, which the test's thread enters, and
// one for each party, routed to all of the relay's addresses.
func namespaces(t *testing.T) (party [2]string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	name := fmt.Sprintf("splane%d", os.Getpid())
	party = [2]string{name + "a", name + "b"}
	ip(t, "netns add "+name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	for i, p := range party {
		n := i + 1
		ip(t, "netns add "+p)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", p).Run() })
		ip(t, fmt.Sprintf("-n %s link add v%d type veth peer name v0 netns %s", name, n, p))
		for _, c := range []string{
			"-n %[1]s addr add 10.97.%[3]d.1/24 dev v%[3]d", "-n %[1]s addr add fd97:%[3]d::1/64 dev v%[3]d nodad",
			"-n %[1]s link set v%[3]d up", "-n %[2]s addr add 10.97.%[3]d.2/24 dev v0",
			"-n %[2]s addr add fd97:%[3]d::2/64 dev v0 nodad", "-n %[2]s link set v0 up", "-n %[2]s link set lo up",
			"-n %[2]s route add default via 10.97.%[3]d.1", "-n %[2]s -6 route add default via fd97:%[3]d::1",
		} {
			ip(t, fmt.Sprintf(c, name, p, n))
		}
	}
	ip(t, "-n "+name+" link set lo up")
	settled(t, name, party[0], party[1])
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	enter(t, name)
	return party
}

// settled waits until no address of the namespaces is tentative any more
// (RFC 4862 §5.4): that it becomes good is a change of routes, upon which the
// kernel's flows return to user space, as they should.
func settled(t *testing.T, names ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		open := 0
		for _, name := range names {
			out, err := exec.Command("ip", "-n", name, "addr", "show", "tentative").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %s", name, out)
			}
			open += len(out)
		}
		if open == 0 {
			return
		}
	}
	t.Fatal("the addresses remain tentative")
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: ip %s: %s", args, out)
	}
}

// enter moves the thread into a namespace.
func enter(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open("/run/netns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// phone opens a party's socket.
func (s stage) phone(t *testing.T, side Side) *net.UDPConn {
	t.Helper()
	type opened struct {
		c   *net.UDPConn
		err error
	}
	done := make(chan opened)
	go func() {
		if s.spaces[side] != "" {
			runtime.LockOSThread() // the thread ends with the goroutine
			enter(t, s.spaces[side])
		}
		at := netip.AddrPortFrom(netip.MustParseAddr(s.party[side]), 0)
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		done <- opened{c, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Cleanup(func() { _ = o.c.Close() })
	return o.c
}

// A kernelCall is a call of which both parties are latched.
type kernelCall struct {
	t              *testing.T
	e              *Engine
	caller, callee udp
	to             [2]netip.AddrPort // where each party sends to
}

func newKernelCall(t *testing.T, s stage) *kernelCall {
	t.Helper()
	local := netip.MustParseAddr(s.relay[0])
	e, err := New(Config{
		Addresses: []Address{{local, local}}, PortMin: 25000, PortMax: 25999, Workers: 1, Plane: PlaneKernel,
	})
	if err != nil {
		t.Skipf("no eBPF here: %v", err)
	}
	t.Cleanup(e.Close)
	c := &kernelCall{t: t, e: e, caller: udp{s.phone(t, Caller), t}, callee: udp{s.phone(t, Callee), t}}
	describe(t, e, c.caller.UDPConn, c.callee.UDPConn)
	r, _ := e.Query(1)
	c.to = [2]netip.AddrPort{r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay}
	c.both(1)
	c.both(2) // the callee's second packet finds both latched
	return c
}

// both has each party send one packet that the other gets.
func (c *kernelCall) both(seq byte) {
	c.t.Helper()
	c.caller.send(rtpPacket(seq, "from the caller"), c.to[Caller])
	c.callee.gets(rtpPacket(seq, "from the caller"), c.to[Callee])
	c.callee.send(rtpPacket(seq, "from the callee"), c.to[Callee])
	c.caller.gets(rtpPacket(seq, "from the callee"), c.to[Caller])
}

// talk has each party send packets from one sequence number up to another.
func (c *kernelCall) talk(from, to byte) {
	c.t.Helper()
	for seq := from; seq < to; seq++ {
		c.both(seq)
	}
}

// withoutUser does something while user space relays nothing.
func (c *kernelCall) withoutUser(f func()) {
	c.t.Helper()
	c.e.loops[0].mu.Lock()
	defer c.e.loops[0].mu.Unlock()
	f()
}

// silent says that a party gets nothing.
func (c *kernelCall) silent(u udp, what string) {
	c.t.Helper()
	_ = u.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if n, _, err := u.ReadFromUDPAddrPort(make([]byte, 2000)); err == nil {
		c.t.Errorf("%s: %d bytes cross", what, n)
	}
}

// The kernel relays what user space would, exactly so, and nothing else.
func TestKernelRelays(t *testing.T) {
	for _, s := range kernelStages(t) {
		t.Run(s.name, func(t *testing.T) {
			if s.spaces[0] != "" {
				runtime.LockOSThread()
				enter(t, strings.TrimSuffix(s.spaces[0], "a"))
			}
			c := newKernelCall(t, s)
			c.withoutUser(func() { c.talk(3, 50) })
			c.leavesTheRest(s)
			c.counted()
			c.endsAtOnce()
		})
	}
}

// leavesTheRest sends what is none of the kernel's.
func (c *kernelCall) leavesTheRest(s stage) {
	c.t.Helper()
	thief := udp{s.phone(c.t, Caller), c.t}
	extended := append([]byte{0x90}, rtpPacket(51, "\xbe\xde\x00\x01name")[1:]...)
	extended = append(extended, "media"...)
	c.withoutUser(func() {
		for seq := byte(50); seq < 150; seq++ {
			thief.send(rtpPacket(seq, "mine"), c.to[Caller])
		}
		c.silent(c.callee, "a thief's packets")
		c.caller.send([]byte{0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, c.to[Caller])
		c.caller.send([]byte("not media at all"), c.to[Caller])
		c.silent(c.callee, "what is no RTP")
		c.caller.send(extended, c.to[Caller])
		c.silent(c.callee, "a header extension")
	})
	c.callee.gets(rtpPacket(51, "media"), c.to[Callee]) // user space has taken the name out
}

// counted compares the counts with what was sent.
func (c *kernelCall) counted() {
	c.t.Helper()
	r, _ := c.e.Query(1)
	caller, callee := r.Streams[0].Caller, r.Streams[0].Callee
	if caller.Packets != 50 || callee.Packets != 49 || caller.Lost != 1 || callee.Lost != 0 {
		c.t.Errorf("packets %d and %d, lost %d and %d; want 50, 49, 1, 0",
			caller.Packets, callee.Packets, caller.Lost, callee.Lost)
	}
	if n := caller.Dropped[dropNames[dropSource]]; n != 100 {
		c.t.Errorf("%d of 100 packets of a thief counted", n)
	}
	if age := time.Since(callee.LastHeard); age < 0 || age > patience || !callee.Kernel || callee.Jitter > time.Second {
		c.t.Errorf("%+v", callee)
	}
}

// endsAtOnce takes the flows from the kernel, each way that they go.
func (c *kernelCall) endsAtOnce() {
	c.t.Helper()
	c.e.UserSpace(1, true)
	c.withoutUser(func() {
		c.caller.send(rtpPacket(60, "later"), c.to[Caller])
		c.silent(c.callee, "a call forced to user space")
	})
	c.callee.gets(rtpPacket(60, "later"), c.to[Callee])
	c.e.UserSpace(1, false)
	c.both(61)
	describe(c.t, c.e, c.caller.UDPConn, c.callee.UDPConn)
	c.withoutUser(func() {
		c.caller.send(rtpPacket(62, "offered"), c.to[Caller])
		c.silent(c.callee, "a call with a new offer")
	})
	c.callee.gets(rtpPacket(62, "offered"), c.to[Callee])
	c.e.Delete(1)
	c.caller.send(rtpPacket(63, "gone"), c.to[Caller])
	c.silent(c.callee, "an ended call")
}

// A stream without permission for eBPF is relayed all the same.
func TestAutoFallsBack(t *testing.T) {
	c := Config{PortMin: 26000, PortMax: 26099, Plane: PlaneAuto}
	for n := range byte(9) { // more addresses than the kernel's part takes
		local := netip.AddrFrom4([4]byte{127, 0, 0, 1 + n})
		c.Addresses = append(c.Addresses, Address{local, local})
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if p, why := e.Plane(); p != PlaneUser || !strings.Contains(why, "addresses") {
		t.Errorf("plane %q, %q", p, why)
	}
	c.Plane = PlaneKernel
	if _, err := New(c); err == nil {
		t.Error("the kernel's plane was asked for and is not there")
	}
}
