package proxy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/flow"
	"sotto/proxy/proxytest"
)

// A raw sender sends what it is given from an address of its own, and keeps the
// first lines of what comes back, by Call-ID.
type rawSender struct {
	t     *testing.T
	conn  flow.PacketConn
	mu    sync.Mutex
	heard map[string][]string
	last  map[string]string // whole
}

func newRawSender(t *testing.T, s *proxytest.Stage, at string) *rawSender {
	t.Helper()
	addr := netip.MustParseAddrPort(at)
	conn, err := s.Net.Host(addr.Addr()).ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &rawSender{t: t, conn: conn, heard: map[string][]string{}, last: map[string]string{}}
	t.Cleanup(func() { _ = conn.Close() }) // a socket in memory
	go r.read()
	return r
}

func (r *rawSender) read() {
	buf := make([]byte, 65536)
	for {
		n, _, err := r.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		text := string(buf[:n])
		line, _, _ := strings.Cut(text, "\r\n")
		_, rest, _ := strings.Cut(text, "\r\nCall-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		r.mu.Lock()
		r.heard[id], r.last[id] = append(r.heard[id], line), text
		r.mu.Unlock()
	}
}

// asks sends a request; more are headers.
func (r *rawSender) asks(method, callID, from, to string, more ...string) {
	r.t.Helper()
	b := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.77;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <%s>;tag=1\r\nTo: <%s>%s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:e@198.51.100.77>\r\nX-Pad: %s\r\n\r\n",
		method, to, callID, from, to, strings.Join(more, ""), callID, method, strings.Repeat("x", 3000))
	if _, err := r.conn.WriteToUDPAddrPort([]byte(b), proxytest.Server); err != nil {
		r.t.Error(err)
	}
}

func (r *rawSender) hears(callID string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard[callID]
}

// When as many as may call who have proved nothing, the next hears nothing,
// whomever he calls; who is known is not in their way, and when they are gone
// others come in their place.
func TestStrangersInACrowdMeetSilence(t *testing.T) {
	const most = 4
	crowd := func(c *configs.Config) { c.Limits.Transactions = 16 * most }
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("carol", "silence_strangers", "on")
		s.Bob.Registers()
		r := newRawSender(t, s, "198.51.100.77:5060")
		names := []string{"carol", "nobody", "mallory"} // silences, does not exist, is offline
		var heard [2 * most]int
		for i := range heard {
			r.asks("INVITE", fmt.Sprint("first-", i), "sip:e@e.example", proxytest.URI(names[i%len(names)]))
			s.Wait(time.Second)
		}
		s.Wait(2 * time.Second)
		for i := range heard {
			heard[i] = len(r.hears(fmt.Sprint("first-", i)))
		}
		if heard != [2 * most]int{2, 2, 2, 2} { // 100 and 180
			t.Errorf("the callers heard %v answers", heard)
		}
		if now := s.Proxy.Totals(); now.Facades != most || now.Crowded != most {
			t.Errorf("%d calls, %d crowded out", now.Facades, now.Crowded)
		}
		out, in := s.Alice.Connect(s.Bob)
		out.HangsUp()
		in.IsOver()
		s.Wait(30 * time.Second) // strangers have given up
		for _, name := range names {
			r.asks("INVITE", "then-"+name, "sip:e@e.example", proxytest.URI(name))
			s.Wait(35 * time.Second)
			if all := r.hears("then-" + name); len(all) < 3 {
				t.Errorf("who called %s when the crowd was gone heard %q", name, all)
			}
		}
		s.Wait(time.Minute)
	}, crowd, proxytest.Colleagues)
}

// A challenge to somebody who has proved nothing leaves nothing in memory. Its
// ACK shows that the address is his, if it has the tag that was sent there.
func TestChallengeLeavesNothing(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		r := newRawSender(t, s, "198.51.100.77:5060")
		for _, method := range []string{"REGISTER", "INVITE", "OPTIONS", "MESSAGE"} {
			challenged(t, s, r, method)
		}
		first := r.tag("INVITE")
		r.asks("ACK", "INVITE", proxytest.URI("alice"), proxytest.URI("bob"), first)
		r.asks("INVITE", "INVITE", proxytest.URI("alice"), proxytest.URI("bob"))
		s.Wait(time.Second)
		if n := len(r.hears("INVITE")); n != 3 || r.tag("INVITE") != first {
			t.Errorf("%d challenges, the last with%s instead of%s", n, r.tag("INVITE"), first)
		}
	})
}

// challenged has somebody send a request twice, and be challenged twice.
func challenged(t *testing.T, s *proxytest.Stage, r *rawSender, method string) {
	t.Helper()
	for range 2 { // with the same branch
		r.asks(method, method, proxytest.URI("alice"), proxytest.URI("bob"))
		s.Wait(10 * time.Millisecond)
	}
	heard := strings.Join(r.hears(method), "\n")
	if strings.Count(heard, "Unauthorized")+strings.Count(heard, "Required") != 2 {
		t.Errorf("%s: %q", method, heard)
	}
	if n := s.Proxy.Totals().Transactions; n != 0 {
		t.Errorf("%s: %d transactions", method, n)
	}
}

// tag is the To tag of the last answer, as a request has it.
func (r *rawSender) tag(callID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, rest, _ := strings.Cut(r.last[callID], "\r\nTo: ")
	to, _, _ := strings.Cut(rest, "\r\n")
	_, tag, _ := strings.Cut(to, ";tag=")
	return ";tag=" + tag
}
