package proxy_test

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sotto/internal/memnet"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// A trap is a host that no phone should ever turn to (leaks.md §4).
type trap struct {
	mu   sync.Mutex
	came []netip.AddrPort
}

const (
	trapIP   = "198.51.100.66"
	trapName = "trap.example"
)

// setTrap has a host listen wherever somebody could be sent to.
func setTrap(t *testing.T, s *proxytest.Stage) *trap {
	t.Helper()
	x, host, ip := &trap{}, s.Net.Host(netip.MustParseAddr(trapIP)), netip.MustParseAddr(trapIP)
	for _, port := range []uint16{9, 80, 443, 2855, 3478, 4000, 4001, 5060, 5061} {
		at := netip.AddrPortFrom(ip, port)
		c, err1 := host.ListenPacket(at)
		l, err2 := host.Listen(at)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = errors.Join(c.Close(), l.Close()) })
		go x.hears(c)
		go x.accepts(l)
	}
	return x
}

// hears takes datagrams.
func (x *trap) hears(c memnet.PacketConn) {
	for b := make([]byte, 2000); ; {
		_, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		x.caught(from)
	}
}

// accepts takes connections.
func (x *trap) accepts(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		x.caught(netip.MustParseAddrPort(c.RemoteAddr().String()))
		_ = c.Close()
	}
}

func (x *trap) caught(from netip.AddrPort) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.came = append(x.came, from)
}

// from are those that came from an address.
func (x *trap) from(a netip.Addr) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.came {
		if c.Addr() == a {
			n++
		}
	}
	return n
}

// luring is a phone that names the trap wherever somebody could turn to.
func luring(c *phone.Config) {
	c.Contact = "sip:" + c.User + "@" + trapIP
	c.Headers = []phone.Field{
		{Name: "Alert-Info", Value: "<http://" + trapName + "/ring.wav>"},
		{Name: "Call-Info", Value: "<http://" + trapIP + "/card.png>;purpose=icon"},
		{Name: "Error-Info", Value: "<sip:e@" + trapIP + ">"},
		{Name: "Icon", Value: "<http://" + trapIP + "/>"},
		{Name: "Geolocation", Value: "<https://" + trapName + "/here>"},
		{Name: "Identity", Value: `abc;info=<https://` + trapName + `/cert>;alg=ES256`},
		{Name: "Identity-Info", Value: "<https://" + trapName + "/cert>"},
		{Name: "Reply-To", Value: "<sip:r@" + trapIP + ">"},
		{Name: "History-Info", Value: "<sip:h@" + trapIP + ">"},
		{Name: "P-Asserted-Identity", Value: "<sip:p@" + trapIP + ">"},
	}
	c.SDP.Session = append(c.SDP.Session, "u=http://"+trapIP+"/")
	c.SDP.Media = append(c.SDP.Media, "a=rtcp:4001 IN IP4 "+trapIP,
		"a=candidate:1 1 UDP 2130706431 "+trapIP+" 4000 typ host", "a=candidate:1 2 UDP 1 "+trapName+" 4001 typ srflx")
}

// lures tries within a call what names the trap in its own way.
func lures(w *leakStage, a, b *proxytest.Call) {
	for _, what := range []struct {
		method string
		code   int
		opts   []phone.Option
	}{
		{"REFER", 403, []phone.Option{phone.Header("Refer-To", "<sip:x@"+trapIP+">")}},
		{"REFER", 403, []phone.Option{phone.Header("Refer-To", "<http://"+trapName+"/>")}},
		{"REFER", 202, []phone.Option{phone.Header("Refer-To", "<"+proxytest.URI("carol")+"?Route=%3Csip:"+trapIP+"%3E>")}},
		{"MESSAGE", 415, []phone.Option{phone.Body("application/vnd.gsma.rcs-ft-http+xml", "<x url='http://"+trapIP+"'/>")}},
		{"MESSAGE", 415, []phone.Option{
			phone.Body(`message/external-body;access-type=URL;URL="http://`+trapIP+`"`, "Content-Type: text/plain\r\n\r\n"),
		}},
		{"NOTIFY", 200, append(state("dialog"), phone.Body("application/dialog-info+xml", "<t uri='sip:"+trapIP+"'/>"))},
		{"INFO", 200, []phone.Option{phone.Body("application/sdp", "v=0\r\nc=IN IP4 "+trapIP+"\r\n")}},
		{"UPDATE", 200, []phone.Option{phone.Contact("<sip:x@" + trapIP + ">")}},
	} {
		if code := a.Asks(what.method, what.opts...); code != what.code {
			w.T().Errorf("%s was answered %d, not %d", what.method, code, what.code)
		}
	}
	offers(audio, "a=rtcp:4001 IN IP4 "+trapIP, "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
		"a=candidate:1 1 UDP 1 "+trapIP+" 4000 typ host", "m=message 2855 TCP/MSRP *",
		"a=path:msrp://"+trapIP+":2855/x;tcp")(w, a, b)
}

// TestNothingMakesAPhoneTurnToAnAddress has one party of a protected call name
// the trap wherever it can. The other, which does whatever it is told, is told nothing of it.
func TestNothingMakesAPhoneTurnToAnAddress(t *testing.T) {
	t.Run("by the caller", func(t *testing.T) {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			x, lure := setTrap(t, s), s.Phone("alice", luring)
			s.Bob.Registers()
			lure.Registers()
			out, in := lure.Connect(s.Bob)
			lured(s, out, in)
			x.isEmpty(t, s, s.Bob)
		}, proxytest.Colleagues, proxytest.Protect("always"))
	})
	t.Run("by the callee", func(t *testing.T) {
		proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
			x, lure := setTrap(t, s), s.Phone("bob", luring)
			s.Alice.Registers()
			lure.Registers()
			out, in := s.Alice.Connect(lure)
			lured(s, in, out)
			next := s.Alice.Invites("bob")
			lure.IsCalled().Refuses(302, phone.Contact("<sip:x@"+trapIP+">"), phone.Contact("<sip:x@"+trapName+">"))
			next.IsRefused(480)
			x.isEmpty(t, s, s.Alice)
		}, proxytest.Colleagues, proxytest.Protect("always"))
	})
}

// lured is a call in which a lures b, which goes on using it.
func lured(s *proxytest.Stage, a, b *proxytest.Call) {
	lures(&leakStage{Stage: s, alice: s.Alice, bob: s.Bob}, a, b)
	b.Does(b.Hold)
	b.Does(b.Resume)
	b.HangsUp()
	a.IsHungUp()
}

// isEmpty checks that the victim was told nothing of the trap, and did not turn to it.
func (x *trap) isEmpty(t *testing.T, s *proxytest.Stage, victim *proxytest.Phone) {
	t.Helper()
	s.Wait(10 * time.Second)
	if n := x.from(victim.Local().Addr()); n > 0 {
		t.Errorf("%s turned to the trap %d times", victim.User, n)
	}
	for _, l := range victim.Leaks(trapIP, trapName) {
		t.Errorf("%s was told of the trap: %v", victim.User, l)
	}
}

// The trap works: in a call that nobody protects the victim turns to it.
func TestTrapCatches(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		x := setTrap(t, s)
		for _, who := range []string{"alice", "bob"} {
			s.Set(who, "protect_ip", "never")
		}
		s.Bob.Registers()
		lure := s.Phone("alice", luring)
		lure.Registers()
		out := lure.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		if len(s.Bob.Leaks(trapIP, trapName)) < 3 { // two names, one in two forms
			t.Errorf("bob was told only %v", s.Bob.Leaks(trapIP, trapName))
		}
		in.Answers()
		out.IsAnswered()
		s.Wait(10 * time.Second)
		if x.from(s.Bob.Local().Addr()) == 0 {
			t.Error("bob's RTCP did not go to the trap")
		}
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}
