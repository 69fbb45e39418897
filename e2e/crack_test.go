package e2e

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sotto/proxy/phone"
)

// TestSvcrackIsSlowed has SIPVicious guess a password. Its svcrack reads MD5
// challenges alone, which only some phones are offered, by their User-Agent, and
// svcrack's is fixed: a relay on the way writes another one. A password within the
// first guesses it finds, so that it can; among a hundred it does not, and the
// user whose it is registers meanwhile.
func TestSvcrackIsSlowed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	if _, err := exec.LookPath("svcrack"); err != nil {
		t.Skip("SIPVicious is not installed")
	}
	at := netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1})
	g := &siege{t: t, server: netip.AddrPortFrom(at, 5060), ended: make(chan struct{}), over: make(chan struct{})}
	g.open("")
	weak := strconv.Itoa(firstUser)
	g.add(weak+"@"+domain, weakPassword)
	home := g.opens(phone.Config{User: weak, Password: weakPassword}, 10)
	relay := disguise(t, at.Next(), g.server)
	for _, c := range [][2]string{{"7041-7044", weakPassword}, {"7000-7099", "found nothing"}} {
		passwords, want := c[0], c[1]
		out := search(t, []string{"svcrack", "--domain", domain, "-u" + weak, "-r" + passwords, relay})
		if !strings.Contains(out, want) {
			t.Errorf("of the passwords %s: want %q in\n%s", passwords, want, out)
		}
	}
	if _, err := home.Register(t.Context()); err != nil {
		t.Errorf("the user is locked out: %v", err)
	}
}

// disguise carries datagrams to a server and back, and has them come from a phone
// that is offered MD5 alone. It returns its address.
func disguise(t *testing.T, at netip.Addr, server netip.AddrPort) string {
	t.Helper()
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 5060)))
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)), net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
	})
	var tool atomic.Pointer[netip.AddrPort] // as of its last request
	go forever(back, func(b []byte, _ netip.AddrPort) {
		if to := tool.Load(); to != nil {
			_, _ = front.WriteToUDPAddrPort(b, *to) // a tool that is gone asks no more
		}
	})
	agent := []byte("SIPp " + strings.Repeat("x", 500)) // so long that no answer is larger
	go forever(front, func(b []byte, from netip.AddrPort) {
		tool.Store(&from)
		_, _ = back.Write(bytes.Replace(b, []byte("friendly-scanner"), agent, 1)) // or it is asked again
	})
	return at.String()
}

// forever gives each datagram of a socket to a function, until it is closed.
func forever(c *net.UDPConn, do func(b []byte, from netip.AddrPort)) {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		do(buf[:n], from)
	}
}
