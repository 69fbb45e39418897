package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A nat says how a NAT maps ports, and what it lets in (RFC 4787 §4, §5).
type nat struct{ name, rules string }

// The kinds of NAT, as rules of nftables. To a phone that calls from 192.168.x
// they stand for what is found in homes, in offices and at mobile providers.
var (
	noNAT = nat{name: "none"}
	// The same port for all destinations; anybody may send to it.
	fullCone = nat{"full cone", `
		chain in  { type nat hook prerouting priority dstnat; iifname eth0 meta l4proto udp dnat to INSIDE; }
		chain out { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }`}
	// The same port for all destinations; only who was sent to may answer.
	portRestricted = nat{"port-restricted", `
		chain out { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }`}
	// Another port for each destination.
	symmetric = nat{"symmetric", `
		chain out { type nat hook postrouting priority srcnat; oifname eth0 masquerade fully-random; }`}
)

// A natbox is a router with a public address and hosts behind it.
type natbox struct {
	*host
	kind nat
}

// natbox adds a NAT to the lab.
func (l *lab) natbox(name string, kind nat) *natbox {
	l.t.Helper()
	needs(l.t, "nft")
	b := &natbox{host: l.host(name), kind: kind}
	l.in(b.ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	return b
}

// behind adds a host behind the NAT; its link is the one to the NAT. A full
// cone has room for one.
func (b *natbox) behind(name string) *host {
	b.lab.t.Helper()
	h := b.lab.newHost(name, fmt.Sprintf("192.168.%d.%d", numbers[b.name], numbers[name]))
	h.public = b.ip
	h.plug(b.ns, "169.254.2.1")
	rules := strings.ReplaceAll(b.kind.rules, "INSIDE", h.ip.String())
	b.lab.in(b.ns, "nft", "-f", b.write("nat.nft", []byte("flush ruleset\ntable ip nat {"+rules+"\n}\n")))
	return h
}

// behind is a host of that name behind a NAT of that kind, or behind none.
func (l *lab) behind(kind nat, name string) *host {
	l.t.Helper()
	if kind == noNAT {
		return l.host(name)
	}
	return l.natbox(name+"-nat", kind).behind(name)
}

// forgets makes the NAT forget a UDP mapping after so long without a packet
// (RFC 4787 §4.3 wants two minutes at least; many take thirty seconds).
func (b *natbox) forgets(after time.Duration) {
	b.lab.t.Helper()
	for _, name := range []string{"udp_timeout", "udp_timeout_stream"} {
		b.lab.in(b.ns, "sysctl", "-qw", fmt.Sprintf("net.netfilter.nf_conntrack_%s=%d", name, int(after.Seconds())))
	}
}

// breaks ends the connections of a phone behind the NAT as one ends that
// nobody closes: the phone learns of it and the server does not.
func (b *natbox) breaks(h *host) {
	b.lab.t.Helper()
	file := b.write("break.nft", []byte(`table ip break {
		chain out { type filter hook forward priority 0; oifname eth0 meta l4proto tcp drop; }
	}
`))
	b.lab.in(b.ns, "nft", "-f", file)
	b.lab.in(h.ns, "ss", "-K", "state", "established")
	b.lab.in(b.ns, "nft", "delete", "table", "ip", "break")
}

// moves gives the host another address, as a phone gets one that leaves its
// house: the old one is gone at once.
func (h *host) moves(number int) {
	h.lab.t.Helper()
	old := h.ip
	b := old.As4()
	b[3] = byte(number)
	h.ip = netip.AddrFrom4(b)
	h.public = h.ip
	l := h.lab
	l.in(l.router, "ip", "route", "add", h.ip.String()+"/32", "dev", "p-"+h.name)
	l.in(h.ns, "ip", "addr", "add", h.ip.String()+"/32", "dev", "eth0")
	l.in(h.ns, "ip", "route", "replace", "default", "via", "169.254.1.1", "dev", "eth0", "src", h.ip.String())
	l.in(h.ns, "ip", "addr", "del", old.String()+"/32", "dev", "eth0")
	l.in(l.router, "ip", "route", "del", old.String()+"/32", "dev", "p-"+h.name)
}

// socket opens a UDP socket on a host.
func (h *host) socket(port int) *net.UDPConn {
	h.lab.t.Helper()
	var c *net.UDPConn
	err := h.within(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.ip, uint16(port))))
		return err
	})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	h.lab.t.Cleanup(func() { _ = c.Close() })
	return c
}
