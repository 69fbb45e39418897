package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sotto/internal/stun"
	"sotto/proxy/phone"
)

// A look is what the headers of a phone's packets tell of it: how far away it
// is, and what it thinks of its packets. Zeros are the system's.
type look struct{ hops, class int }

// apply gives the packets of a socket that look.
func (l look) apply(c *net.UDPConn) error {
	if l == (look{}) {
		return nil
	}
	level, hops, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if c.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
		level, hops, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	ctl := raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), level, hops, l.hops), unix.SetsockoptInt(int(fd), level, class, l.class))
	})
	return errors.Join(ctl, err)
}

// What the packets of the server look like behind the router, whoever caused
// them: those of media are set by the engine, those of SIP by the system.
var (
	mediaLook  = look{hops: 64 - 1, class: 0xb8}
	systemLook = look{hops: serverHops - 1, class: 0}
	alicesLook = look{hops: 37, class: 0x68}
	bobsLook   = look{hops: 201, class: 0x28}
)

// serverHops is the hop limit of the server's system: not the engine's, so that
// it shows which of the two a packet has.
const serverHops = 90

// A linkCall is a protected call between two phones that have a look of their own.
type linkCall struct {
	s          *server
	alice, bob *scripted
	out, in    *phone.Call
	from       time.Time
}

// onALink begins a call that is relayed by a plane.
func onALink(l *lab, plane string) *linkCall {
	l.t.Helper()
	l.plane = plane
	s := l.serve(acquainted)
	l.in(s.ns, "sysctl", "-qw", fmt.Sprintf("net.ipv4.ip_default_ttl=%d", serverHops),
		fmt.Sprintf("net.ipv6.conf.all.hop_limit=%d", serverHops), fmt.Sprintf("net.ipv6.conf.eth0.hop_limit=%d", serverHops))
	s.set("alice", "protect_ip", "always")
	c := &linkCall{
		s: s, from: time.Now(),
		alice: s.scriptedWith(alicesLook, "alice", "alice"), bob: s.scriptedWith(bobsLook, "bob", "bob"),
	}
	c.alice.does(func(context.Context) (err error) {
		c.out, err = c.alice.Invite(c.bob.URI())
		return err
	})
	c.bob.does(func(ctx context.Context) (err error) {
		if c.in, err = c.bob.Incoming(ctx); err != nil {
			return err
		}
		return errors.Join(c.in.Ring(ctx), c.in.Answer(ctx))
	})
	c.alice.does(c.out.Answered)
	audible(c.alice.host)
	audible(c.bob.host)
	return c
}

// probes has each phone ask the other one's address by STUN, through the ports
// of its call.
func (c *linkCall) probes() {
	c.s.lab.t.Helper()
	request := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, "from a phone"...)
	for _, one := range []*phone.Call{c.out, c.in} {
		for range 3 {
			if err := one.Send(request, one.Remote()); err != nil {
				c.s.lab.t.Fatal(err)
			}
		}
	}
}

// told is what the packets that came to a phone tell of the other one.
func (c *linkCall) told(to *scripted) (wrong []string) {
	for _, p := range since(to.allPackets(), c.from) {
		if p.dst.Addr() != to.ip {
			continue
		}
		want := mediaLook
		if p.src.Port() == 5060 {
			want = systemLook
		}
		got := look{int(p.hops), int(p.class)}
		switch {
		case p.src.Addr() != c.s.ip:
			wrong = append(wrong, fmt.Sprintf("%v is not the server's", p))
		case p.kind == "icmp":
			wrong = append(wrong, fmt.Sprintf("%v tells of a port", p))
		case got != want:
			wrong = append(wrong, fmt.Sprintf("%v looks like %+v, not %+v", p, got, want))
		case stun.IsSTUN(p.payload) && p.payload[0] == 0:
			wrong = append(wrong, fmt.Sprintf("%v is a STUN request", p))
		}
	}
	return wrong
}

// unreachable counts the ICMP messages that a phone's own system has sent.
func (c *linkCall) unreachable(from *scripted) int {
	n := 0
	for _, p := range since(from.allPackets(), c.from) {
		if p.kind == "icmp" && p.src.Addr() == from.ip {
			n++
		}
	}
	return n
}

// TestPacketsTellNothingOfTheirSender looks at every packet of a protected call
// on both links: hop limit and traffic class are the server's, STUN does not
// cross, and when one phone is gone without a word, its system's
// port-unreachable is not heard at the other, where nothing changes but that
// no sound comes.
func TestPacketsTellNothingOfTheirSender(t *testing.T) {
	t.Parallel()
	inEachPlane(t, func(t *testing.T, plane string) {
		for _, six := range []bool{false, true} {
			t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[six], func(t *testing.T) {
				t.Parallel()
				c := onALink(newLab(t, six), plane)
				c.probes()
				audible(c.alice.host)
				audible(c.bob.host)
				c.s.relayed()
				gone := time.Now()
				c.bob.Close()
				eventually(t, "bob's system says that nobody is there", func() bool { return c.unreachable(c.bob) > 20 })
				for _, to := range []*scripted{c.alice, c.bob} {
					if wrong := c.told(to); len(wrong) > 0 {
						t.Errorf("%s is told, %d times, such as:\n%s", to.name, len(wrong), slices.Compact(wrong)[0])
					}
				}
				came := since(c.alice.allPackets(), gone.Add(time.Second))
				came = slices.DeleteFunc(came, func(p packet) bool { return p.dst.Addr() != c.alice.ip })
				if len(came) > 0 {
					t.Errorf("alice is told that bob is gone: %v", came)
				}
				c.bob.noTrace(c.alice.host, c.from, c.bob.heard())
				c.alice.noTrace(c.bob.host, c.from, c.alice.heard())
			})
		}
	})
}
