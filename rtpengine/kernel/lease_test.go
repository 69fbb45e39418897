//go:build amd64

package kernel

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Who hands over lets the next process have as long as a lease is; but a lease
// that has ended for good, or that of a process before, is not made longer.
func TestHandOver(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		t.Skipf("no BPF file system here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	pinned := func() *Plane {
		t.Helper()
		p, err := Open([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, 26000, 26099, filepath.Join(dir, "sotto"))
		if err != nil {
			t.Skipf("no eBPF here: %v", err)
		}
		return p
	}
	p := pinned()
	at := filepath.Join(p.pins.dir, relayMapLease)
	until := func() (n uint64) {
		t.Helper()
		m, err := ebpf.LoadPinnedMap(at, nil)
		if err == nil {
			err = m.Lookup(uint32(0), &n)
			_ = m.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	handed := monotonic() + uint64(leaseFor)
	p.HandOver()
	first := until()
	if first < handed {
		t.Errorf("the lease ends %d ns too early", handed-first)
	}

	p = pinned()
	if !p.Inherited() {
		t.Fatal("nothing is inherited")
	}
	p.HandOver() // without having taken anything up
	if until() != first {
		t.Error("the lease of the process before was changed")
	}

	p = pinned()
	p.Settle()
	close(p.stop) // who watches has lapsed
	p.wait.Wait()
	p.stop = make(chan struct{})
	p.lapse()
	p.HandOver()
	if n := until(); n != 0 {
		t.Errorf("a lease that had ended was given until %d", n)
	}
	pinned().Close()
}

// A plane that is closed takes the end of the news for no failure of the watch.
func TestEndOfNewsWhenClosed(t *testing.T) {
	for _, c := range []struct {
		stop, lapsed bool
	}{{true, false}, {false, true}} {
		p := &Plane{lease: make([]byte, 8), stop: make(chan struct{}), neighbors: neighbors{known: map[neighbor][6]byte{}}}
		p.settled.Store(true)
		p.renew()
		if c.stop {
			close(p.stop)
		}
		for range 20 { // which of two channels is heard first is chance
			n := news{rules: make(chan struct{})}
			close(n.rules)
			p.follow(n)
		}
		if p.leased() == c.lapsed {
			t.Errorf("closed %v: the lease has lapsed: %v", c.stop, !p.leased())
		}
	}
}
