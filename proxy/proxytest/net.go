package proxytest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sotto/proxy/flow"
)

// Server is where the stage's server listens, and relays media.
var Server = netip.MustParseAddrPort("192.0.2.1:5060")

// Net is the network of a stage. It notes every datagram of SIP and can lose
// some of them.
type Net struct {
	*lan
	trace *trace

	mu    sync.Mutex
	names map[netip.Addr]string
	count int          // SIP datagrams since Lose
	lose  map[int]bool // which of them are lost
	lost  int
	watch func(from, to string, b []byte)
}

func newNet() *Net {
	return &Net{
		lan: newLAN(), trace: &trace{began: time.Now()},
		names: map[netip.Addr]string{Server.Addr(): "server"},
	}
}

// Lose loses SIP datagrams from now on: those of the numbers, from 1.
func (n *Net) Lose(numbers ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count, n.lose, n.lost = 0, map[int]bool{}, 0
	for _, i := range numbers {
		n.lose[i] = true
	}
}

// Watch calls fn for every SIP datagram that is sent from now on, with the
// names of both ends. It must not call the network.
func (n *Net) Watch(fn func(from, to string, b []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch = fn
}

// Lost is how many datagrams were lost.
func (n *Net) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// ListenPacket implements flow.Network.
func (n *Net) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	c, err := n.lan.ListenPacket(a)
	if err != nil {
		return nil, err
	}
	return lossy{c, n}, nil
}

// passes notes a datagram and says whether it arrives.
func (n *Net) passes(from, to netip.AddrPort, b []byte) bool {
	if !bytes.Contains(b, []byte("SIP/2.0")) {
		return true
	}
	n.mu.Lock()
	n.count++
	lost := n.lose[n.count]
	if lost {
		n.lost++
	}
	if n.watch != nil {
		n.watch(n.names[from.Addr()], n.names[to.Addr()], bytes.Clone(b))
	}
	note := ""
	if lost {
		note = " LOST"
	}
	line, _, _ := strings.Cut(string(b), "\r\n")
	if strings.HasPrefix(line, "SIP/2.0") {
		line += " (" + valueOf(b, "CSeq") + ")"
	}
	fmt.Fprintf(n.trace, "%s → %s%s: %s\n", n.names[from.Addr()], n.names[to.Addr()], note, line)
	n.mu.Unlock()
	return !lost
}

// valueOf is the value of a header of a raw message.
func valueOf(b []byte, name string) string {
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

// lossy is a socket of a Net.
type lossy struct {
	flow.PacketConn
	net *Net
}

// WriteToUDPAddrPort implements flow.PacketConn.
func (c lossy) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if from, ok := c.LocalAddr().(*net.UDPAddr); ok && !c.net.passes(from.AddrPort(), to, b) {
		return len(b), nil
	}
	return c.PacketConn.WriteToUDPAddrPort(b, to)
}

// trace is what a failed test shows: messages and the server's log, each with
// its time. Safe for concurrent use.
type trace struct {
	mu    sync.Mutex
	began time.Time
	text  bytes.Buffer
}

// Write implements io.Writer.
func (t *trace) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.text, "%9.3f %s", time.Since(t.began).Seconds(), b)
	return len(b), nil
}

// String implements fmt.Stringer.
func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// name gives an address a name in the trace.
func (n *Net) name(a netip.Addr, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[a] = name
}
