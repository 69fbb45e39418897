package rtpengine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trunk lets the link between the relay (R) and the caller's namespace (A)
// carry VLANs: the caller is in 10, the callee (B) in 20, and in 30 within 20.
const trunk = `
R link add link v1 name v1.10 type vlan id 10
R link add link v1 name v1.20 type vlan id 20
R link add link v1.20 name v1.30 type vlan id 30
A link add link v0 name v0.10 type vlan id 10
A link add link v0 name v0.20 type vlan id 20
A link set v0.20 netns B
B link add link v0.20 name v0.30 type vlan id 30
R addr add 10.98.10.1/24 dev v1.10
R addr add 10.98.20.1/24 dev v1.20
R addr add 10.98.30.1/24 dev v1.30
A addr add 10.98.10.2/24 dev v0.10
B addr add 10.98.20.2/24 dev v0.20
B addr add 10.98.30.2/24 dev v0.30
R addr add fd98:10::1/64 dev v1.10 nodad
R addr add fd98:20::1/64 dev v1.20 nodad
A addr add fd98:10::2/64 dev v0.10 nodad
B addr add fd98:20::2/64 dev v0.20 nodad
R link set v1.10 up
R link set v1.20 up
R link set v1.30 up
A link set v0.10 up
B link set v0.20 up
B link set v0.30 up`

// trunked makes the namespaces of a trunk, or skips.
func trunked(t *testing.T) (name string, party [2]string) {
	t.Helper()
	party = namespaces(t)
	name = strings.TrimSuffix(party[Caller], "a")
	for line := range strings.Lines(strings.TrimSpace(trunk)) {
		args := strings.Fields(line)
		for i, a := range args {
			if n := strings.Index("ABR", a); n >= 0 {
				args[i] = []string{party[Caller], party[Callee], name}[n]
			}
		}
		if out, err := exec.Command("ip", append([]string{"-n"}, args...)...).CombinedOutput(); err != nil {
			t.Skipf("no VLANs (802.1Q) here: ip -n %s: %s", strings.Join(args, " "), out)
		}
	}
	settled(t, name, party[Caller], party[Callee])
	return name, party
}

// A tap sees what the trunk carries, at the caller's end, and can send there.
type tap struct {
	t  *testing.T
	fd int
	to unix.SockaddrLinklayer
}

// listenTo opens a tap in a namespace.
func listenTo(t *testing.T, space string) *tap {
	t.Helper()
	p := &tap{t: t}
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		enter(t, space)
		i, err := net.InterfaceByName("v0")
		if err == nil {
			p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		}
		if err == nil {
			all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
			p.to = unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}
			err = unix.Bind(p.fd, &p.to)
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(p.fd) })
	// The tag of a frame is not in the frame: the system keeps it beside.
	if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		t.Fatal(err)
	}
	return p
}

// media counts the RTP that the trunk has carried, by direction, tags,
// addresses and words, and has the last frame that the caller sent.
func (p *tap) media() (seen map[string]int, sent []byte) {
	p.t.Helper()
	seen = map[string]int{}
	b, beside := make([]byte, 2000), make([]byte, 200)
	for {
		n, m, _, from, err := unix.Recvmsg(p.fd, b, beside, unix.MSG_DONTWAIT)
		if err != nil {
			return seen, sent
		}
		frame := b[:n]
		_, words, is := bytes.Cut(frame, []byte("from the "))
		if !is {
			continue
		}
		direction := "in"
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			direction = "out"
			if string(words) == "caller" {
				sent = slices.Clone(frame)
			}
		}
		tags, src, dst := p.read(frame, beside[:m])
		seen[fmt.Sprint(direction, tags, src, dst, string(words))]++
	}
}

// read takes a frame's tags from what is beside it and from the frame, and its
// addresses.
func (p *tap) read(frame, beside []byte) (tags []uint16, src, dst netip.AddrPort) {
	p.t.Helper()
	control, err := unix.ParseSocketControlMessage(beside)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range control {
		if aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&c.Data[0])); aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
			tags = append(tags, aux.Vlan_tci)
		}
	}
	b := frame[12:]
	for ; binary.BigEndian.Uint16(b) == unix.ETH_P_8021Q; b = b[4:] {
		tags = append(tags, binary.BigEndian.Uint16(b[2:]))
	}
	size, head := 4, b[2+12:] // the addresses, and then UDP
	if binary.BigEndian.Uint16(b) == unix.ETH_P_IPV6 {
		size, head = 16, b[2+8:]
	}
	at := func(i int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(head[i*size:][:size])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(head[2*size+2*i:]))
	}
	return tags, at(0), at(1)
}

// tagged sends a frame again, in another VLAN.
func (p *tap) tagged(frame []byte, id uint16) {
	p.t.Helper()
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_8021Q), id)
	if err := unix.Sendto(p.fd, slices.Concat(frame[:12], tag, frame[12:]), 0, &p.to); err != nil {
		p.t.Fatal(err)
	}
}

// Parties may be in VLANs of one link: each gets what the other says with the
// tags of its own, from where it sends to, and the link carries nothing else.
func TestKernelTags(t *testing.T) {
	name, spaces := trunked(t)
	for _, c := range []struct {
		name           string
		caller, callee string // their networks: the relay is 1 there, the party 2
		tags           [2][]uint16
	}{
		{"two VLANs", "10.98.10.", "10.98.20.", [2][]uint16{{10}, {20}}},
		{"two VLANs, IPv6", "fd98:10::", "fd98:20::", [2][]uint16{{10}, {20}}},
		{"untagged", "10.97.1.", "10.98.20.", [2][]uint16{nil, {20}}},
		{"untagged, IPv6", "fd97:1::", "fd98:20::", [2][]uint16{nil, {20}}},
		{"a VLAN in another", "10.98.10.", "10.98.30.", [2][]uint16{{10}, {20, 30}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread() // the thread ends with the test
			enter(t, name)
			at := func(n string) [2]string { return [2]string{c.caller + n, c.callee + n} }
			k := place{stage: stage{c.name, at("1"), at("2"), spaces}}.call(t)
			wire := listenTo(t, spaces[Caller])
			sent := k.keepsTo(wire, c.tags)
			k.strangeTag(wire, sent)
		})
	}
}

// keepsTo has the parties talk, each with the tags of its own, and has the last
// frame of the caller's.
func (c *kernelCall) keepsTo(wire *tap, tags [2][]uint16) (sent []byte) {
	c.t.Helper()
	const packets = 17
	c.withoutUser(func() { c.talk(3, 3+packets) })
	want := map[string]int{}
	for side, words := range []string{"caller", "callee"} {
		from, to := []udp{c.caller, c.callee}[side], []udp{c.callee, c.caller}[side]
		want[fmt.Sprint("out", tags[side], from.LocalAddr(), c.to[side], words)] = packets
		want[fmt.Sprint("in", tags[1-side], c.to[1-side], to.LocalAddr(), words)] = packets
	}
	got, sent := wire.media()
	if !maps.Equal(got, want) {
		c.t.Fatalf("the link carries\n%v, want\n%v", got, want)
	}
	return sent
}

// strangeTag repeats a packet of the caller's in a VLAN that the relay is not
// in: where the link itself has an address the program sees it, and lets it be.
func (c *kernelCall) strangeTag(wire *tap, sent []byte) {
	c.t.Helper()
	const other = 40
	before := c.e.Relayed()
	for range 10 {
		wire.tagged(sent, other)
	}
	c.silent(c.callee, "a packet in another VLAN")
	if now := c.e.Relayed(); now.Kernel != before.Kernel || now.User != before.User {
		c.t.Errorf("relayed: %+v, before %+v", now, before)
	}
	seen, _ := wire.media()
	for what, n := range seen {
		if strings.HasPrefix(what, "in") {
			c.t.Errorf("the link carries %d of %s", n, what)
		}
	}
}
