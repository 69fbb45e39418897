package rtpengine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// As many calls as descriptors let there be are on one address: 10,000 where
// the limit is 40,200. Each takes exactly four descriptors and a bounded piece
// of memory, no set-up takes more for a while, and all is given back.
func TestManySessionsOnOneAddress(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of sockets")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(10000, (int(limit.Cur)-200)/SocketsPerCall)
	// Nobody else has a port at this address, ephemeral or not.
	local := netip.AddrFrom4([4]byte{127, 1 + byte(rand.N(200)), byte(rand.N(256)), 1 + byte(rand.N(254))})
	c := Config{Addresses: []Address{{local, local}}, PortMin: 10000, PortMax: 65535, MaxSockets: n * SocketsPerCall}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if room, _ := e.Room(); room != n {
		t.Fatalf("room for %d calls, want %d", room, n)
	}
	open, heap := fds(t), inUse()
	took, peak := make([]time.Duration, 0, n), heap
	for i := range n {
		took = append(took, setUp(t, e, ID(i+1), local))
		if i%500 == 0 || i == n-1 {
			peak = max(peak, inUse())
			exactly(t, i+1, fds(t)-open)
		}
	}
	slices.Sort(took)
	each := (peak - heap) / uint64(n)
	t.Logf("%d calls: set-up %v in the middle, %v for 99 of 100, %v at most; %d bytes of memory each",
		n, took[n/2], took[n*99/100], took[n-1], each)
	if each > mostMemory {
		t.Errorf("%d bytes of memory for each call, want at most %d", each, mostMemory)
	}
	if _, err := e.Offer(ID(n+1), Body{From: Caller, SDP: audio(callerIP, 4000), Toward: V4}); err == nil {
		t.Error("there is room for one call more")
	}
	for i := range n {
		e.Delete(ID(i + 1))
	}
	if used, _ := e.Ports(); fds(t) != open || used+e.Sessions() > 0 {
		t.Errorf("%d descriptors, %d ports and %d sessions are left", fds(t)-open, used, e.Sessions())
	}
}

// Ports are enough for 10,000 calls on one address, whatever the limit of
// descriptors is here: no port is given twice, and none is hard to find.
func TestPortsOfTenThousandSessions(t *testing.T) {
	const calls = 10000
	local := netip.MustParseAddr("192.0.2.1")
	var mu sync.Mutex
	given := map[netip.AddrPort]bool{}
	e, err := New(Config{
		Addresses: []Address{{local, local}}, PortMin: 10000, PortMax: 65535, Rest: time.Hour, Workers: 1,
		Listen: func(a netip.AddrPort) (Wire, error) {
			mu.Lock()
			defer mu.Unlock()
			if given[a] {
				t.Errorf("%v is given twice", a)
			}
			given[a] = true
			return nullWire{make(chan struct{})}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range calls {
		setUp(t, e, ID(i+1), local)
	}
	if used, _ := e.Ports(); used != calls*SocketsPerCall || len(given) != used {
		t.Errorf("%d ports are in use and %d open, want %d", used, len(given), calls*SocketsPerCall)
	}
	for i := range calls {
		e.Delete(ID(i + 1))
	}
	for i := range 3000 { // of 3,884 for which there are ports that do not rest
		setUp(t, e, ID(calls+i+1), local)
	}
}

// mostMemory is what a call may take of ours in bytes: of 16 KiB the system's
// part of four sockets is nearly 10, and the garbage collector lets half as
// much again gather.
const mostMemory = 4 << 10

// exactly says that so many calls have so many descriptors.
func exactly(t *testing.T, calls, got int) {
	t.Helper()
	if want := SocketsPerCall * calls; got != want {
		t.Fatalf("%d descriptors for %d calls, want %d", got, calls, want)
	}
}

// setUp makes a call and says how long that took.
func setUp(t *testing.T, e *Engine, id ID, local netip.Addr) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := e.Offer(id, Body{From: Caller, SDP: audio(local, 4000), Source: local, Toward: V4}); err != nil {
		t.Fatal(fmt.Errorf("call %d: %w", id, err))
	}
	if _, err := e.Answer(id, Body{From: Callee, SDP: audio(local, 5000), Source: local, Toward: V4}); err != nil {
		t.Fatal(fmt.Errorf("call %d: %w", id, err))
	}
	return time.Since(began)
}

// inUse is the memory that is in use.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
