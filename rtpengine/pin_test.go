package rtpengine

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bpfs mounts a BPF file system, and moves the test into a network namespace
// with nothing but loopback: of this one other processes have programs, too, and
// what these have left at a port drops what comes to it. The thread ends with
// the test, and the namespace with it.
func bpfs(t *testing.T) string {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	ip(t, "link set lo up")
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		t.Skipf("no BPF file system here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return filepath.Join(dir, "sotto")
}

// pinnedEngine is an engine whose flows outlive it.
func pinnedEngine(t *testing.T, pin string, s *shelf) *Engine {
	t.Helper()
	local := netip.MustParseAddr("127.0.0.1")
	e, err := New(Config{
		Addresses: []Address{{local, local}}, PortMin: 28000, PortMax: 28999, Workers: 1, Plane: PlaneKernel,
		Pin: pin, Keep: s.keep,
	})
	if err != nil {
		t.Skipf("no eBPF here: %v", err)
	}
	t.Cleanup(e.Close)
	return e
}

// pinnedCall is a call over loopback that such an engine relays.
func pinnedCall(t *testing.T, e *Engine) *kernelCall {
	t.Helper()
	c := &kernelCall{t: t, e: e, caller: listen(t, "127.0.0.1"), callee: listen(t, "127.0.0.1")}
	describe(t, e, c.caller.UDPConn, c.callee.UDPConn)
	r, _ := e.Query(1)
	c.to = [2]netip.AddrPort{r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay}
	c.both(1)
	c.both(2)
	c.withoutUser(func() { c.both(3) })
	return c
}

// lapsed sends until a lease that began before has ended, and says how long
// what was sent was relayed. A packet that is late says when it was sent.
func (c *kernelCall) lapsed() (relayed time.Duration) {
	c.t.Helper()
	var sent []time.Duration
	head := len(rtpPacket(0, ""))
	b := make([]byte, 2000)
	for began := time.Now(); time.Since(began) < leaseTime; {
		sent = append(sent, time.Since(began))
		c.caller.send(rtpPacket(100, strconv.Itoa(len(sent)-1)), c.to[Caller])
		_ = c.callee.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		for n, _, err := c.callee.ReadFromUDPAddrPort(b); err == nil; n, _, err = c.callee.ReadFromUDPAddrPort(b) {
			i, err := strconv.Atoi(string(b[head:n]))
			if err != nil {
				c.t.Fatal(err)
			}
			relayed = max(relayed, sent[i])
		}
	}
	return relayed
}

// The kernel relays on while one process ends and the next one has not begun.
// That one takes the flows up: no packet of theirs is in user space.
func TestFlowsOutliveTheProcess(t *testing.T) {
	pin, s := bpfs(t), &shelf{all: map[uint64][]byte{}}
	e := pinnedEngine(t, pin, s)
	c := pinnedCall(t, e)
	e.HandOver()
	c.both(4)
	c.e = pinnedEngine(t, pin, s)
	c.both(5)
	if n := c.e.Restore(s.has()); n != 1 {
		t.Fatalf("%d sessions restored", n)
	}
	c.withoutUser(func() { c.talk(6, 20) })
	r, _ := c.e.Query(1)
	caller := r.Streams[0].Caller
	if !caller.Kernel || caller.Packets != 15 || caller.Lost != 0 || time.Since(caller.LastHeard) > patience {
		t.Errorf("%+v", caller)
	}
	if got := c.e.Relayed(); got != (Relayed{Kernel: 30, Flows: 2}) {
		t.Errorf("%+v", got)
	}
	time.Sleep(leaseTime) // which is renewed
	c.withoutUser(func() { c.both(20) })
	c.endsAtOnce()
	c.e.Close()
	nothingIn(t, pin)
}

// nothingIn fails if something is pinned.
func nothingIn(t *testing.T, pin string) {
	t.Helper()
	if left, err := os.ReadDir(pin); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// The kernel's part goes on without user space for as long as a lease is; after
// leaseTime that has ended.
const (
	lease     = 2 * time.Second
	leaseTime = lease + 500*time.Millisecond
)

// pinnedShelf is an engine with a call in the kernel, and what is kept of it.
func pinnedShelf(t *testing.T) (c *kernelCall, pin string, s *shelf) {
	t.Helper()
	pin, s = bpfs(t), &shelf{all: map[uint64][]byte{}}
	return pinnedCall(t, pinnedEngine(t, pin, s)), pin, s
}

// What nobody takes up ends: with the lease, and at once when the next process
// does not know of it, or knows something else.
func TestFlowsOfTheDeadEnd(t *testing.T) {
	t.Run("nobody comes", func(t *testing.T) {
		c, pin, s := pinnedShelf(t)
		c.e.HandOver()
		if took := c.lapsed(); took == 0 || took > lease {
			t.Errorf("flows went on for %v", took)
		}
		c.e = pinnedEngine(t, pin, s) // late, but the flows are there
		if n := c.e.Restore(s.has()); n != 1 {
			t.Fatalf("%d sessions restored", n)
		}
		eventuallyKernel(c)
	})
	t.Run("not known", func(t *testing.T) {
		c, pin, s := pinnedShelf(t)
		c.e.HandOver()
		c.both(4)
		c.e = pinnedEngine(t, pin, s)
		c.e.Restore(nil)
		c.caller.send(rtpPacket(5, "gone"), c.to[Caller])
		c.silent(c.callee, "a call that the next process does not know")
	})
	t.Run("forced to user space", func(t *testing.T) {
		c, pin, s := pinnedShelf(t)
		c.e.UserSpace(1, true)
		c.e.HandOver()
		c.e = pinnedEngine(t, pin, s)
		c.e.Restore(s.has())
		c.both(4)
		c.both(5)
		if got := c.e.Relayed(); got != (Relayed{User: 4}) {
			t.Errorf("%+v", got)
		}
	})
}

// What a process with another plane or other ports finds, it ends.
func TestFlowsEndWithAnotherConfiguration(t *testing.T) {
	t.Run("user space follows", func(t *testing.T) {
		c, pin, _ := pinnedShelf(t)
		c.e.HandOver()
		cfg := c.e.cfg
		cfg.Plane = PlaneUser
		next, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Close)
		c.caller.send(rtpPacket(4, "gone"), c.to[Caller])
		c.silent(c.callee, "a flow of a process that no other of its kind follows")
		nothingIn(t, pin)
	})
	t.Run("other ports follow", func(t *testing.T) {
		c, pin, _ := pinnedShelf(t)
		c.e.HandOver()
		c.lapsed()
		cfg := c.e.cfg
		cfg.PortMin += 100
		next, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		next.Close()
		nothingIn(t, pin)
	})
}

// A second process beside one that lives takes nothing from it.
func TestFlowsOfTheLivingStay(t *testing.T) {
	c, _, _ := pinnedShelf(t)
	other, err := New(c.e.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, why := other.Plane(); other.kernel.Inherited() || other.Relayed().Flows != 0 {
		t.Errorf("a second process took the first one's flows: %s", why)
	}
	if c.e.Relayed().Flows != 2 {
		t.Error("a second process ended the first one's flows")
	}
}

// eventuallyKernel waits until the kernel relays again: its lease is renewed
// some times in a second.
func eventuallyKernel(c *kernelCall) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before := c.e.Relayed().Kernel
		c.both(101)
		if c.e.Relayed().Kernel == before+2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Error("the kernel does not relay again")
}
