package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sotto/proxy/leak"
)

// A capture is what tcpdump writes of one link.
type capture struct {
	t    *testing.T
	file string
	cmd  *exec.Cmd
	end  string // of the last packet to nowhere
}

// nowhere is an address that no host has: a packet to it marks a place in the
// capture of the link that it leaves by (RFC 5737, RFC 3849).
var nowhere = map[bool]netip.AddrPort{
	false: netip.MustParseAddrPort("192.0.2.9:9"), true: netip.MustParseAddrPort("[2001:db8::9]:9"),
}

// startCapture begins before any packet of the link, at the end of it that is
// in a namespace.
func startCapture(l *lab, ns, port, file string) *capture {
	l.t.Helper()
	c := &capture{t: l.t, file: file}
	c.cmd = exec.Command("ip", "netns", "exec", ns,
		"tcpdump", "-i", port, "-w", file, "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-B", "8192")
	if err := c.cmd.Start(); err != nil {
		l.t.Fatalf("starting tcpdump: %v", err)
	}
	l.t.Cleanup(func() {
		_ = c.cmd.Process.Signal(os.Interrupt)
		_ = c.cmd.Wait()
		if all := c.packets(); l.t.Failed() {
			l.t.Logf("%s carried %d packets, at the end %v", port, len(all), all[max(0, len(all)-10):])
		}
	})
	eventually(l.t, "tcpdump listens on "+port, func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() >= 24 // the header is written when it listens
	})
	return c
}

// A packet of a link.
type packet struct {
	at       time.Time
	src, dst netip.AddrPort // ports are 0 for what is neither UDP nor TCP
	kind     string         // udp, tcp, icmp, other
	hops     uint8          // TTL or hop limit
	class    uint8          // TOS or traffic class
	payload  []byte         // above UDP, TCP or IP
}

// String says where a packet went.
func (p packet) String() string {
	return fmt.Sprintf("%s %s > %s, %d bytes", p.kind, p.src, p.dst, len(p.payload))
}

// packets reads what the link has carried so far. ARP and neighbour discovery
// with the router are left out.
func (c *capture) packets() []packet {
	c.t.Helper()
	f, err := os.Open(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		c.t.Fatalf("reading %s: %v", c.file, err)
	}
	var all []packet
	for {
		data, info, err := r.ReadPacketData()
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF { // the last packet may be half written
				c.t.Fatalf("reading %s: %v", c.file, err)
			}
			return all
		}
		p, ok := dissect(data)
		switch {
		case !ok:
		case p.dst == nowhere[p.dst.Addr().Is6()]:
			c.end = string(p.payload)
		default:
			p.at = info.Timestamp
			all = append(all, p)
		}
	}
}

// allPackets reads what the host's link has carried, once tcpdump has written
// all of it.
func (h *host) allPackets() []packet {
	h.lab.t.Helper()
	end := "end " + strconv.FormatInt(time.Now().UnixNano(), 36)
	err := h.within(func() error {
		c, err := net.Dial("udp", nowhere[h.lab.six].String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(end))
		return err
	})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	var all []packet
	eventually(h.lab.t, "the capture of "+h.name+" is written", func() bool {
		all = h.capture.packets()
		return h.capture.end == end
	})
	return all
}

// dissect takes a frame apart; false for what is not IP, or of the link only.
func dissect(data []byte) (packet, bool) {
	frame := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	network := frame.NetworkLayer()
	if network == nil {
		return packet{}, false
	}
	src, _ := netip.AddrFromSlice(network.NetworkFlow().Src().Raw())
	dst, _ := netip.AddrFromSlice(network.NetworkFlow().Dst().Raw())
	if src.IsLinkLocalUnicast() || dst.IsMulticast() {
		return packet{}, false
	}
	p := packet{kind: "other", payload: network.LayerPayload()}
	switch n := network.(type) {
	case *layers.IPv4:
		p.hops, p.class = n.TTL, n.TOS
	case *layers.IPv6:
		p.hops, p.class = n.HopLimit, n.TrafficClass
	}
	var sport, dport uint16
	switch l := frame.TransportLayer().(type) {
	case *layers.UDP:
		p.kind, p.payload, sport, dport = "udp", l.Payload, uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.TCP:
		p.kind, p.payload, sport, dport = "tcp", l.Payload, uint16(l.SrcPort), uint16(l.DstPort)
	default:
		if frame.Layer(layers.LayerTypeICMPv4) != nil || frame.Layer(layers.LayerTypeICMPv6) != nil {
			p.kind = "icmp"
		}
	}
	p.src, p.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return p, true
}

// since are the packets after a moment.
func since(all []packet, at time.Time) []packet {
	for i, p := range all {
		if p.at.After(at) {
			return all[i:]
		}
	}
	return nil
}

// rtp counts the RTP packets from one address to another.
func rtp(all []packet, src, dst netip.Addr) int {
	n := 0
	for _, p := range all {
		if isRTP(p) && p.src.Addr() == src && p.dst.Addr() == dst {
			n++
		}
	}
	return n
}

// isRTP tells RTP from STUN, DTLS and RTCP (RFC 7983, RFC 5761).
func isRTP(p packet) bool {
	if p.kind != "udp" || len(p.payload) < 12 || p.payload[0]>>6 != 2 {
		return false
	}
	pt := p.payload[1] &^ 0x80
	return (pt < 64 || pt > 95) && p.src.Port() != 5060 && p.dst.Port() != 5060
}

// noTrace fails if the host's link, or what its phone says it received, holds
// anything of another host: a packet from or to it, or its address in any
// form. Of a host behind a NAT both addresses count, its own and its
// provider's, unless the two share the latter.
func (h *host) noTrace(other *host, from time.Time, heard string) {
	h.lab.t.Helper()
	all := since(h.allPackets(), from)
	if len(all) == 0 {
		h.lab.t.Errorf("nothing at all was captured at %s", h.name)
	}
	leaks := traceOf(other.ip, all, heard)
	if other.public != other.ip && other.public != h.public {
		leaks = append(leaks, traceOf(other.public, all, heard)...)
	}
	if len(leaks) > 0 {
		h.lab.t.Errorf("%s learns of %s (%s), %d times:\n%s", h.name, other.name, other.ip, len(leaks),
			strings.Join(leaks[:min(len(leaks), 8)], "\n"))
	}
}

// traceOf are the places where an address is found.
func traceOf(ip netip.Addr, all []packet, heard string) (leaks []string) {
	stream := map[string][]byte{}
	for _, p := range all {
		if p.src.Addr() == ip || p.dst.Addr() == ip {
			leaks = append(leaks, "a packet: "+p.String())
		}
		for _, l := range leak.Find(p.payload, ip.String()) {
			leaks = append(leaks, fmt.Sprintf("%s in %s", l, p))
		}
		if p.kind == "tcp" { // an address may be cut by a segment's end
			key := p.src.String() + p.dst.String()
			stream[key] = append(stream[key], p.payload...)
		}
	}
	for _, s := range stream {
		for _, l := range leak.Find(s, ip.String()) {
			leaks = append(leaks, l.String()+" in a stream")
		}
	}
	for _, l := range leak.Find([]byte(heard), ip.String()) {
		leaks = append(leaks, l.String()+" in what the phone received: "+around(heard, l.At))
	}
	return leaks
}

// around is the text beside a place.
func around(s string, at int) string {
	return s[max(0, at-200):min(len(s), at+80)]
}
