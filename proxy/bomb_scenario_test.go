package proxy_test

import (
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sotto/configs"
	"sotto/internal/memnet"
	"sotto/proxy/hostile"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// eve is where hostile requests come from.
var eve = netip.MustParseAddrPort("198.51.100.66:5060")

// unlimited lets eve send what she likes: no budget keeps her from what lies behind it.
func unlimited(c *configs.Config) { c.Limits.Exempt = prefixes(eve.Addr().String()) }

// opens opens eve's end of a transport.
func opens(t *testing.T, s *proxytest.Stage, transport string) io.ReadWriteCloser {
	t.Helper()
	host := s.Net.Host(eve.Addr())
	if transport == "TCP" {
		c, err := host.Dial(t.Context(), proxytest.Server)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := host.ListenPacket(eve)
	if err != nil {
		t.Fatal(err)
	}
	return datagrams{c}
}

// datagrams is a socket whose other end is the server.
type datagrams struct{ memnet.PacketConn }

// Read reads a datagram.
func (d datagrams) Read(b []byte) (int, error) {
	n, _, err := d.ReadFromUDPAddrPort(b)
	return n, err
}

// Write sends one.
func (d datagrams) Write(b []byte) (int, error) { return d.WriteToUDPAddrPort(b, proxytest.Server) }

// answers sends a message in pieces of some size and returns what comes back in
// half a minute, masked, and whether the connection was closed by then.
func answers(t *testing.T, s *proxytest.Stage, transport, message string, size int) (heard string, shut bool) {
	t.Helper()
	w := opens(t, s, transport)
	var all strings.Builder
	over, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(&all, w) // its end is what is asked for
	}()
	go func() {
		defer close(sent)
		for b := range slices.Chunk([]byte(message), size) {
			if _, err := w.Write(b); err != nil {
				return // closed before all of it was out
			}
		}
	}()
	select {
	case <-over:
		shut = true
	case <-time.After(31 * time.Second):
	}
	_ = w.Close()
	<-over
	<-sent
	return mask(all.String()), shut
}

// final is the code of the last answer in a text; 0: there is none.
func final(text string) (code int) {
	for _, m := range regexp.MustCompile(`(?m)^SIP/2\.0 (\d{3}) `).FindAllStringSubmatch(text, -1) {
		_, _ = fmt.Sscan(m[1], &code)
	}
	return code
}

// Whatever a request is made of that costs its reader, it is answered, or not, as
// the table of package hostile says, with the same octets whoever it is for;
// the recipient's phone gets nothing of it.
func TestBombs(t *testing.T) {
	for _, transport := range []string{"UDP", "TCP"} {
		for i, b := range hostile.Bombs(transport, proxytest.URI("bob")) {
			t.Run(transport+" "+b.Name, func(t *testing.T) { explodesAlike(t, transport, i) })
		}
	}
}

// explodesAlike sends one bomb to bob when he silences, is offline, and does not exist.
func explodesAlike(t *testing.T, transport string, i int) {
	t.Helper()
	var first string
	for _, state := range []recipientState{states[1], states[3], states[8]} {
		proxytest.RunAgain(t, "bombs", func(t *testing.T, s *proxytest.Stage) {
			text := explodes(t, s, state, transport, i)
			if first == "" {
				first = text
			}
			if text != first {
				t.Errorf("%s:\n%s\nbut %s:\n%s", states[1].name, first, state.name, text)
			}
		}, unlimited)
	}
}

// explodes sends one bomb to bob in a state, and returns what came back.
func explodes(t *testing.T, s *proxytest.Stage, state recipientState, transport string, i int) string {
	t.Helper()
	b := hostile.Bombs(transport, proxytest.URI("bob"))[i]
	state.make(s)
	s.Carol.Registers()
	s.Alice.Registers()
	s.Wait(settled)
	s.Bob.Forget()
	text, shut := answers(t, s, transport, b.Text, len(b.Text))
	if final(text) != b.Code || shut != b.Shut {
		t.Errorf("answered %d, closed %t; want %d, %t:\n%.600s", final(text), shut, b.Code, b.Shut, text)
	}
	if state.quiet {
		onlyNotices(t, s.Bob)
	}
	s.Wait(settled) // a call that its connection has left goes on
	if now := s.Proxy.Totals(); now.Calls > 1 || now.Transactions > 10 || now.Sessions > 0 {
		t.Errorf("one message made the server hold %+v", now)
	}
	return text
}

// A request that comes byte by byte is answered as one that comes at once.
func TestRequestByteByByte(t *testing.T) {
	for _, i := range []int{0, 1, 11, 22} {
		b := hostile.Bombs("TCP", proxytest.URI("bob"))[i]
		t.Run(b.Name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				text, shut := answers(t, s, "TCP", b.Text, 1)
				if final(text) != b.Code || shut != b.Shut {
					t.Errorf("answered %d, closed %t; want %d, %t:\n%.600s", final(text), shut, b.Code, b.Shut, text)
				}
			}, unlimited)
		})
	}
}

// Within her budgets eve sends bombs as fast as she can, over both transports:
// users call all the same, and what the server holds of her is bounded.
func TestCallsAmongBombs(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		udp := opens(t, s, "UDP")
		for range 20 {
			for _, transport := range []string{"UDP", "TCP"} {
				for _, b := range hostile.Bombs(transport, proxytest.URI("carol")) {
					explodesAnywhere(t, s, udp, transport, b.Text)
				}
			}
			completes(t, s)
		}
		if now := s.Proxy.Totals(); now.Transactions > 300 || now.Connections > 200 || now.Bans != 1 {
			t.Errorf("the server holds %+v", now)
		}
		_ = udp.Close()
		s.Wait(10 * time.Minute)
	}, proxytest.Colleagues)
}

// explodesAnywhere sends a bomb and does not wait what becomes of it.
func explodesAnywhere(t *testing.T, s *proxytest.Stage, udp io.Writer, transport, text string) {
	t.Helper()
	if transport == "UDP" {
		if _, err := io.WriteString(udp, text); err != nil {
			t.Error(err)
		}
		return
	}
	c := opens(t, s, transport)
	go func() {
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, text)
		time.Sleep(time.Minute) // it is closed by then
	}()
}

// Connections that are opened and not used, from one address, keep nobody from
// calling over the same transports, and are closed in their time.
func TestConnectionsThatAreHeldOpen(t *testing.T) {
	invite := hostile.Bombs("TCP", proxytest.URI("bob"))[0].Text
	for _, c := range []struct {
		name, transport string
		say             func(io.Writer)
		most            time.Duration
	}{
		{"silent TCP", "tcp", func(io.Writer) {}, 10 * time.Second},
		{"half a request", "tcp", func(w io.Writer) { _, _ = io.WriteString(w, invite[:200]) }, 10 * time.Second},
		{"slow loris", "tcp", func(w io.Writer) {
			for _, b := range []byte(invite) {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		}, 10 * time.Second},
		{"half-open TLS", "tls", func(io.Writer) {}, 5 * time.Second},
		{"half a hello", "tls", func(w io.Writer) { _, _ = io.WriteString(w, "\x16\x03\x01\x02\x00\x01") }, 5 * time.Second},
		{"hello byte by byte", "tls", func(w io.Writer) {
			for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 500)) {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		}, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				heldOpen(t, s, c.transport, c.say, c.most)
			}, proxytest.Colleagues)
		})
	}
}

// heldOpen opens 150 connections, has users call over the same transport, and
// waits until none of the 150 is open any more.
func heldOpen(t *testing.T, s *proxytest.Stage, transport string, say func(io.Writer), most time.Duration) {
	t.Helper()
	at := proxytest.Server
	if transport == "tls" {
		at = netip.AddrPortFrom(at.Addr(), at.Port()+1)
	}
	var open atomic.Int32
	for range 150 {
		c, err := s.Net.Host(eve.Addr()).Dial(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		open.Add(1)
		go say(c)
		go func() {
			_, _ = io.Copy(io.Discard, c) // its end is what is waited for
			_ = c.Close()
			open.Add(-1)
		}()
	}
	s.Wait(100 * time.Millisecond)
	if n := open.Load(); n < 90 || n > 110 {
		t.Errorf("%d connections of one address are open; 100 may be", n)
	}
	began := time.Now()
	over := func(c *phone.Config) { c.Transport = transport }
	s.Alice, s.Bob = s.Phone("alice", over), s.Phone("bob", over)
	s.Alice.Registers()
	s.Bob.Registers()
	completes(t, s)
	s.Wait(time.Until(began.Add(most)))
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are still open", n)
	}
}
