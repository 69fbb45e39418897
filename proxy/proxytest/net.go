package proxytest

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sotto/internal/memnet"
)

// Server is where the stage's server takes SIP over UDP and TCP; over TLS it
// is the next port. Its media ports are at the same host. Server6 is the same
// over IPv6.
var (
	Server  = netip.MustParseAddrPort("192.0.2.1:5060")
	Server6 = netip.MustParseAddrPort("[2001:db8::1]:5060")
)

// away is how far everything is from everything.
const away = time.Millisecond

// Net is the network of a stage. It notes every datagram of SIP and can lose
// some of them. Safe for concurrent use.
type Net struct {
	*memnet.Net

	trace *trace
	mu    sync.Mutex
	names map[netip.Addr]string
	watch func(from, to string, b []byte)
	sent  int          // datagrams of SIP since Lose
	lose  map[int]bool // which of them do not arrive
	lost  int
}

func newNet() *Net {
	n := &Net{
		Net: memnet.New(), trace: &trace{began: time.Now()},
		names: map[netip.Addr]string{Server.Addr(): "server", Server6.Addr(): "server"},
	}
	n.Host(Server.Addr(), Server6.Addr())
	n.Delay(away)
	n.Decide(func(d memnet.Datagram) memnet.Fate { return memnet.Fate{Lost: !n.passes(d)} })
	return n
}

// Lose loses datagrams of SIP from now on: those of these numbers, from 1.
// Sound is never lost.
func (n *Net) Lose(numbers ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent, n.lose, n.lost = 0, map[int]bool{}, 0
	for _, i := range numbers {
		n.lose[i] = true
	}
}

// Lost is how many datagrams were lost since Lose.
func (n *Net) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// Watch calls fn for every datagram of SIP that is sent from now on, with the
// names of both ends. It must not call the network.
func (n *Net) Watch(fn func(from, to string, b []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch = fn
}

// passes notes a datagram and says whether it arrives.
func (n *Net) passes(d memnet.Datagram) bool {
	if !bytes.Contains(d.Data, []byte("SIP/2.0")) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	from, to, note := n.names[d.From.Addr()], n.names[d.To.Addr()], ""
	n.sent++
	lost := n.lose[n.sent]
	if lost {
		n.lost++
		note = " LOST"
	}
	if n.watch != nil {
		n.watch(from, to, bytes.Clone(d.Data))
	}
	fmt.Fprintf(n.trace, "%s → %s:%s %s\n", from, to, note, summary(d.Data))
	return !lost
}

// summary is the first line of a message, and of a response what it answers.
func summary(b []byte) string {
	line, rest, _ := strings.Cut(string(b), "\r\n")
	if !strings.HasPrefix(line, "SIP/2.0 ") {
		return line
	}
	_, cseq, _ := strings.Cut(rest, "\r\nCSeq: ")
	cseq, _, _ = strings.Cut(cseq, "\r\n")
	return line + " (" + cseq + ")"
}

// name gives an address a name in the trace.
func (n *Net) name(a netip.Addr, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[a] = name
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
