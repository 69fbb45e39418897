package rtpengine

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// A flow for which there was no route is the kernel's as soon as there is one:
// when routes change, and where that is not seen after a while.
func TestDeclinedFlowComesBack(t *testing.T) {
	ns := namespaces(t)
	name := ns[0][:len(ns[0])-1]
	s := stage{"", [2]string{"10.97.1.1", "10.97.1.1"}, [2]string{"10.97.1.2", "10.97.2.2"}, ns}
	for remedy, c := range map[string]struct {
		does []string
		wait time.Duration
	}{
		"routes change":  {[]string{" route add 198.51.100.0/24 dev v1", " route del 198.51.100.0/24"}, time.Hour},
		"a while passes": {nil, 0},
	} {
		t.Run(remedy, func(t *testing.T) {
			runtime.LockOSThread() // the thread ends with the test
			enter(t, name)
			// Packets have a route to the callee. A question that does not say to which
			// port, as ours, is told that there is none.
			for _, rule := range []string{
				"pref 10 ipproto udp dport 1-65534 lookup main", "pref 11 to 10.97.2.2 unreachable",
			} {
				ip(t, "-n "+name+" rule add "+rule)
			}
			k := newKernelCall(t, s)
			f := k.declined(c.wait)
			ip(t, "-n "+name+" rule del pref 11")
			ip(t, "-n "+name+" rule del pref 10")
			for _, does := range c.does {
				ip(t, "-n "+name+does)
			}
			k.comesBack(3)
			k.e.loops[0].mu.Lock()
			defer k.e.loops[0].mu.Unlock()
			if f.declined != nil {
				t.Error("that the kernel declined is not forgotten")
			}
		})
	}
}

// declined is the caller's flow, which the kernel has declined, and is not
// asked for again for so long if only time passes; 0: as long as it is.
func (c *kernelCall) declined(wait time.Duration) *kflow {
	c.t.Helper()
	l := c.e.loops[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &c.e.sessions[1].streams[0].faces[Caller].flow
	if f.declined == nil || f.live || !c.e.sessions[1].streams[0].faces[Callee].flow.live {
		c.t.Fatalf("not declined, or the other direction is: %+v", f)
	}
	if wait > 0 {
		f.declined.again = time.Now().Add(wait)
	}
	return f
}

// comesBack talks until the kernel relays both directions.
func (c *kernelCall) comesBack(seq byte) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); c.e.Relayed().Flows < 2; seq = max(3, seq+1) {
		if time.Now().After(deadline) {
			c.t.Fatal("user space relays still")
		}
		c.both(seq)
		time.Sleep(20 * time.Millisecond)
	}
	c.withoutUser(func() { c.both(seq + 1) })
}

// A flow that is declined again and again is asked for ever less often, but is
// when it goes elsewhere.
func TestDeclinedFlowIsLetBe(t *testing.T) {
	here, there := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("192.0.2.2:4000")
	var f kflow
	now := time.Unix(0, 0)
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		f.decline(here, 7, now)
		if got := f.declined.again.Sub(now); got != wait*time.Second {
			t.Errorf("asked again after %v, want %d s", got, wait)
		}
	}
	if !f.mayAsk(there, now) {
		t.Error("not asked for where it goes now")
	}
	if f.decline(there, 7, now); f.declined.wait != declinedFirst {
		t.Errorf("declined for another place: asked again after %v", f.declined.wait)
	}
}
