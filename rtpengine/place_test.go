package rtpengine

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// A place is where a call is relayed: at which addresses, for which parties,
// and by which plane.
type place struct {
	stage
	nat   string // as which address the callee knows ours
	plane Plane  // auto: the kernel's is one way only
}

// places are in the namespaces of kernelStages, with a VLAN on each pair where
// the system has VLANs, and none of them forwards packets of its own accord.
func places(t *testing.T) (name string, all []place) {
	t.Helper()
	ns := namespaces(t)
	name = strings.TrimSuffix(ns[0], "a")
	stacked(t, name, ns)
	routed(t, name, ns)
	tagged := vlans(name, ns)
	settled(t, name, ns[0], ns[1])
	for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+file, []byte("0"), 0o600); err != nil {
			t.Skip(err)
		}
	}
	at := func(what, caller, callee, a, b string, plane Plane) place {
		return place{stage: stage{what, [2]string{caller, callee}, [2]string{a, b}, ns}, plane: plane}
	}
	nat := at("1:1 NAT", "10.97.1.1", "10.97.2.1", "10.97.1.2", "10.97.2.2", PlaneKernel)
	nat.nat = "198.51.100.7"
	own := at("a party on this host", "10.97.1.1", "10.97.2.1", "10.97.1.1", "10.97.2.2", PlaneAuto)
	own.spaces[Caller] = name
	all = []place{
		at("an address of each interface", "10.97.1.1", "10.97.2.1", "10.97.1.2", "10.97.2.2", PlaneKernel),
		at("an address of each interface, IPv6", "fd97:1::1", "fd97:2::1", "fd97:1::2", "fd97:2::2", PlaneKernel),
		at("the address of the other interface", "10.97.2.1", "10.97.1.1", "10.97.1.2", "10.97.2.2", PlaneKernel),
		at("interfaces on others", "10.96.1.1", "10.99.2.1", "10.96.1.2", "10.99.2.2", PlaneKernel),
		at("interfaces on others, IPv6", "fd96:1::1", "fd99:2::1", "fd96:1::2", "fd99:2::2", PlaneKernel),
		at("behind gateways", "10.97.1.1", "10.97.2.1", "10.95.1.2", "10.95.2.2", PlaneKernel),
		at("behind gateways, IPv6", "fd97:1::1", "fd97:2::1", "fd95:1::2", "fd95:2::2", PlaneKernel),
		at("behind gateways of the other family", "10.97.1.1", "10.97.2.1", "10.94.1.2", "10.94.2.2", PlaneKernel),
		nat,
		at("one family each", "10.97.1.1", "fd97:2::1", "10.97.1.2", "fd97:2::2", PlaneUser),
		own,
	}
	if tagged != nil {
		t.Logf("without VLANs: %v", tagged)
		return name, all
	}
	return name, append(
		all,
		at("VLANs", "10.98.1.1", "10.98.2.1", "10.98.1.2", "10.98.2.2", PlaneKernel),
		at("VLANs, IPv6", "fd98:1::1", "fd98:2::1", "fd98:1::2", "fd98:2::2", PlaneKernel),
		at("from a VLAN", "10.98.1.1", "10.97.2.1", "10.98.1.2", "10.97.2.2", PlaneKernel),
	)
}

// stacked makes a bridge toward the caller, and a macvlan toward the callee.
func stacked(t *testing.T, name string, parties [2]string) {
	t.Helper()
	for _, c := range []string{
		"-n %[1]s link add br0 type bridge", "-n %[1]s link add v3 type veth peer name w0 netns %[2]s",
		"-n %[1]s link set v3 master br0 up", "-n %[1]s link set br0 up", "-n %[2]s link set w0 up",
		"-n %[1]s addr add 10.96.1.1/24 dev br0", "-n %[2]s addr add 10.96.1.2/24 dev w0",
		"-n %[1]s addr add fd96:1::1/64 dev br0 nodad", "-n %[2]s addr add fd96:1::2/64 dev w0 nodad",
		"-n %[1]s link add link v2 name m2 type macvlan mode bridge", "-n %[1]s link set m2 up",
		"-n %[1]s addr add 10.99.2.1/24 dev m2", "-n %[3]s addr add 10.99.2.2/24 dev v0",
		"-n %[1]s addr add fd99:2::1/64 dev m2 nodad", "-n %[3]s addr add fd99:2::2/64 dev v0 nodad",
	} {
		ip(t, fmt.Sprintf(c, name, parties[0], parties[1]))
	}
}

// routed gives the parties addresses that are reached by a gateway (RFC 5549:
// of either family).
func routed(t *testing.T, name string, parties [2]string) {
	t.Helper()
	for i, party := range parties {
		for _, c := range []string{
			"-n %[2]s addr add 10.95.%[3]d.2/32 dev lo", "-n %[1]s route add 10.95.%[3]d.2/32 via 10.97.%[3]d.2",
			"-n %[2]s addr add fd95:%[3]d::2/128 dev lo", "-n %[1]s route add fd95:%[3]d::2/128 via fd97:%[3]d::2",
			"-n %[2]s addr add 10.94.%[3]d.2/32 dev lo",
			"-n %[1]s route add 10.94.%[3]d.2/32 via inet6 fd97:%[3]d::2 dev v%[3]d",
		} {
			ip(t, fmt.Sprintf(c, name, party, i+1))
		}
	}
}

// vlans puts a VLAN on each pair; it fails where the system has none.
func vlans(name string, parties [2]string) error {
	for i, party := range parties {
		for _, c := range []string{
			"-n %[1]s link add link v%[3]d name v%[3]d.7 type vlan id 7", "-n %[2]s link add link v0 name v0.7 type vlan id 7",
			"-n %[1]s addr add 10.98.%[3]d.1/24 dev v%[3]d.7", "-n %[2]s addr add 10.98.%[3]d.2/24 dev v0.7",
			"-n %[1]s addr add fd98:%[3]d::1/64 dev v%[3]d.7 nodad", "-n %[2]s addr add fd98:%[3]d::2/64 dev v0.7 nodad",
			"-n %[1]s link set v%[3]d.7 up", "-n %[2]s link set v0.7 up",
		} {
			args := fmt.Sprintf(c, name, party, i+1)
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %s", args, out)
			}
		}
	}
	return nil
}

// The kernel relays wherever its packets come by and go; what it cannot is
// relayed all the same.
func TestKernelPlaces(t *testing.T) {
	name, all := places(t)
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			runtime.LockOSThread() // the thread ends with the test
			enter(t, name)
			c := p.call(t)
			talk := func() { c.talk(3, 20) }
			before := c.e.Relayed()
			if p.plane == PlaneKernel {
				c.withoutUser(talk)
			} else {
				talk()
			}
			now := c.e.Relayed()
			want := map[Plane][2]uint64{PlaneKernel: {34, 0}, PlaneUser: {0, 34}, PlaneAuto: {17, 17}}[p.plane]
			if got := [2]uint64{now.Kernel - before.Kernel, now.User - before.User}; got != want {
				t.Errorf("relayed in kernel and user space: %d, want %d", got, want)
			}
		})
	}
}

// call is a call in a place, of which both parties are latched.
func (p place) call(t *testing.T) *kernelCall {
	t.Helper()
	var at [2]Address
	var cfg Config
	for side := range at {
		local := netip.MustParseAddr(p.relay[side])
		at[side] = Address{local, local}
		if Side(side) == Callee && p.nat != "" {
			at[side].Advertised = netip.MustParseAddr(p.nat)
		}
		party := netip.MustParseAddr(p.party[side])
		cfg.Networks = append(cfg.Networks, Network{netip.PrefixFrom(party, party.BitLen()), at[side]})
	}
	cfg.Addresses, cfg.PortMin, cfg.PortMax, cfg.Workers, cfg.Plane = at[:1], 25000, 25999, 1, PlaneKernel
	e, err := New(cfg)
	if err != nil {
		t.Skipf("no eBPF here: %v", err)
	}
	t.Cleanup(e.Close)
	c := &kernelCall{t: t, e: e, caller: udp{p.phone(t, Caller), t}, callee: udp{p.phone(t, Callee), t}}
	for side, tell := range []func(ID, Body) ([]byte, error){e.Offer, e.Answer} {
		phone := netip.MustParseAddrPort([]udp{c.caller, c.callee}[side].LocalAddr().String())
		body := Body{
			From: Side(side), SDP: audio(phone.Addr(), int(phone.Port())), Source: phone.Addr(),
			Other: netip.MustParseAddr(p.party[1-side]), Toward: familyOf(netip.MustParseAddr(p.party[1-side])),
		}
		if _, err := tell(1, body); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := e.Query(1)
	for side, s := range []SideReport{r.Streams[0].Caller, r.Streams[0].Callee} {
		if s.Relay.Addr() != at[side].Advertised {
			t.Fatalf("the %s is told %s, want %s", Side(side), s.Relay, at[side].Advertised)
		}
		c.to[side] = netip.AddrPortFrom(at[side].Local, s.Relay.Port()) // a NAT has done its part
	}
	c.both(1)
	c.both(2)
	return c
}

// Without CAP_PERFMON the verifier adds checks to the program, which must still
// be one that it takes, and do the same.
func TestKernelWithoutPerfmon(t *testing.T) {
	if os.Getenv("WITHOUT_PERFMON") == "" {
		caps := []string{"--bounding-set=-all,+bpf,+net_admin", "--inh-caps=-all"}
		if err := exec.Command("setpriv", append(caps, "true")...).Run(); err != nil {
			t.Skipf("no way to take capabilities away: %v", err)
		}
		cmd := exec.Command("setpriv", append(caps, os.Args[0], "-test.run=^TestKernelWithoutPerfmon$", "-test.v")...)
		cmd.Env = append(os.Environ(), "WITHOUT_PERFMON=1")
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			t.Errorf("%s", out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("%s", out)
		}
		return
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		s := stage{"lo", [2]string{ip, ip}, [2]string{ip, ip}, [2]string{}}
		c := newKernelCall(t, s)
		if _, why := c.e.Plane(); !strings.Contains(why, "faster with CAP_PERFMON") {
			t.Errorf("%s is all that is said", why)
		}
		c.withoutUser(func() { c.talk(3, 50) })
		c.leavesTheRest(s)
		c.counted()
		c.endsAtOnce()
		c.e.Close()
	}
}
