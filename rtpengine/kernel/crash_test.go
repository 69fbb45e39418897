//go:build amd64

package kernel

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that is killed leaves nothing that forwards for longer than its
// lease, however its program was attached. With tcx that ends with the process;
// a filter of clsact stays, and the next process of these ports replaces it.
func TestCrash(t *testing.T) {
	if by := os.Getenv("CRASH_BY"); by != "" {
		crash(t, by, netip.MustParseAddrPort(os.Getenv("CRASH_FROM")), netip.MustParseAddrPort(os.Getenv("CRASH_TO")))
		return
	}
	for by, bound := range map[string]time.Duration{"tcx": 0, "clsact": leaseFor} {
		t.Run(by, func(t *testing.T) { outlived(t, by, bound) })
	}
}

// outlived kills a process that relays, and fails if what is sent later than
// bound after its death is forwarded.
func outlived(t *testing.T, by string, bound time.Duration) {
	alone(t)
	from, remote := bind(t, "127.0.0.1:0")
	to, dest := bind(t, "127.0.0.1:0")
	child, relay := crashing(t, by, remote, dest)
	sent := []time.Duration{0} // 0: before its death
	for began := time.Now(); arrived(t, from, to, relay, len(sent)-1) < 0; sent = append(sent, 0) {
		if time.Since(began) > patience {
			t.Fatal("nothing is relayed while the process lives")
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // "signal: killed"
	var last time.Duration
	for died := time.Now(); time.Since(died) < bound+time.Second; {
		sent = append(sent, time.Since(died))
		if n := arrived(t, from, to, relay, len(sent)-1); n >= 0 {
			last = max(last, sent[n])
		}
	}
	t.Logf("the dead process forwarded for %v", last.Round(time.Millisecond))
	if last > bound {
		t.Errorf("it did so for more than %v", bound)
	}
	inherited(t, relay)
}

// inherited fails if a port does not belong to whoever binds it next: what is
// left of a dead process's program must not drop the next one's packets.
func inherited(t *testing.T, at netip.AddrPort) {
	t.Helper()
	owner, _ := bind(t, at.String())
	got := received(owner)
	from, _ := bind(t, "127.0.0.1:0")
	const sent = 4 * punts
	for range sent {
		if _, err := from.WriteToUDPAddrPort(rtp, at); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(patience); got.Load() < sent && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if got.Load() != sent {
		t.Errorf("%d of %d packets reach the port's next owner", got.Load(), sent)
	}
}

// alone moves the test into a network namespace with nothing but loopback. The
// thread ends with the test, and the namespace with it.
func alone(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %s", out)
	}
}

// crashing starts a process that relays from one address to another, and says
// where.
func crashing(t *testing.T, by string, from, to netip.AddrPort) (*exec.Cmd, netip.AddrPort) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$", "-test.v")
	cmd.Env = append(os.Environ(), "CRASH_BY="+by, "CRASH_FROM="+from.String(), "CRASH_TO="+to.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "relaying at "); ok {
			return cmd, netip.MustParseAddrPort(at)
		}
	}
	t.Skip("no eBPF here")
	return nil, netip.AddrPort{}
}

// crash relays until it is killed.
func crash(t *testing.T, by string, from, to netip.AddrPort) {
	p := open(t)
	if by == "clsact" {
		for _, h := range p.hooks {
			h(false)
		}
		p.hooks = nil
		if err := p.attachTo([]int{loopback}, p.clsact); err != nil {
			t.Skip(err)
		}
	} else if p.How() != by {
		t.Skip("no tcx here")
	}
	p.Settle() // nothing is inherited
	relay := netip.MustParseAddrPort("127.0.0.1:27020")
	f, _ := p.Flow(relay)
	if err := f.Install(Rule{Remote: from, From: relay, To: to, SSRC: ssrc}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nrelaying at " + relay.String())
	time.Sleep(time.Minute) // it is killed long before
}

// arrived sends packet n to a relay, and says which one comes out within some
// time, an earlier one perhaps; -1 if none does.
func arrived(t *testing.T, from, to *net.UDPConn, relay netip.AddrPort, n int) int {
	t.Helper()
	b := append(slices.Clone(rtp), strconv.Itoa(n)...)
	if _, err := from.WriteToUDPAddrPort(b, relay); err != nil {
		return -1 // the port is closed, says ICMP
	}
	_ = to.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	got := make([]byte, 100)
	size, _, err := to.ReadFromUDPAddrPort(got)
	if err != nil {
		return -1
	}
	n, err = strconv.Atoi(string(got[len(rtp):size]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
