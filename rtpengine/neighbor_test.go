package rtpengine

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A card is what a party has on its link to the relay: v1 or v2 there, v0 here.
type card struct {
	t                     *testing.T
	relay, party, dev, ip string
}

// has gives the party's interface a link-layer address.
func (c card) has(mac string) {
	c.t.Helper()
	ip(c.t, fmt.Sprintf("-n %s link set v0 address %s", c.party, mac))
}

// known lets the system at the relay have found the party's address.
func (c card) known(mac, state string) {
	c.t.Helper()
	ip(c.t, fmt.Sprintf("-n %s neigh replace %s lladdr %s dev %s nud %s", c.relay, c.ip, mac, c.dev, state))
}

// stale says that the system does not ask whether the party is still there.
func (c card) stale() bool {
	c.t.Helper()
	out, err := exec.Command("ip", "-n", c.relay, "neigh", "show", c.ip, "dev", c.dev).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
	return strings.Contains(string(out), "STALE")
}

// asksNowAndThen says that the system asks for the next hop, toward the callee, now
// and then and not for each packet.
func (c *kernelCall) asksNowAndThen(callee card) {
	c.t.Helper()
	c.withoutUser(func() {
		c.talk(3, 50)
		if !callee.stale() {
			c.t.Error("each packet has the next hop looked up")
		}
		c.talk(50, 120)
		if callee.stale() {
			c.t.Error("nobody asks whether the next hop is there")
		}
	})
}

// leaves waits until the kernel has only so many flows.
func (c *kernelCall) leaves(flows int) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); c.e.Relayed().Flows > flows; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("flows go where they went before")
		}
	}
}

// The kernel's plane knows the next hop's address on the link, has the system
// ask for it now and then, and follows it.
func TestKernelKnowsItsNeighbors(t *testing.T) {
	const first, second = "02:00:00:00:97:01", "02:00:00:00:97:02"
	for _, s := range kernelStages(t)[2:] {
		t.Run(s.name, func(t *testing.T) {
			runtime.LockOSThread() // the thread ends with the test
			name := strings.TrimSuffix(s.spaces[0], "a")
			enter(t, name)
			callee := card{t, name, s.spaces[Callee], "v2", s.party[Callee]}
			callee.has(first)
			callee.known(first, "reachable")
			c := newKernelCall(t, s)
			callee.known(first, "stale")
			c.asksNowAndThen(callee)
			callee.has(second)
			callee.known(second, "reachable")
			c.leaves(1)
			c.comesBack(120)
		})
	}
}

// Whatever decides routes may change: the flows ask anew.
func TestKernelFollowsRoutes(t *testing.T) {
	s := kernelStages(t)[2]
	name := strings.TrimSuffix(s.spaces[0], "a")
	c := newKernelCall(t, s)
	for i, change := range []string{
		"route add 198.51.100.0/24 dev v1", "rule add pref 7 lookup main", "-6 rule add pref 7 lookup main",
		"nexthop add id 7 via 10.97.2.2 dev v2", "addr add 10.97.7.1/24 dev v1", "link set v1 mtu 1400",
	} {
		ip(t, "-n "+name+" "+change)
		c.leaves(0)
		c.comesBack(byte(10 + 20*i))
	}
}
