package proxy_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// toTrunk makes one host the server's trunk and default route.
func toTrunk(target string) proxytest.Option {
	return func(c *configs.Config) {
		c.Peers = []configs.Peer{{
			Name: "trunk", Trusted: true, Target: target, Addresses: prefixes("198.51.100.14"),
		}}
		c.DefaultRoute = "trunk"
	}
}

// A call that its caller has given up, while the trunk's first transport was
// still tried, is not begun anew over the second: a phone would ring for nobody.
func TestGivenUpCallGoesNowhereElse(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "never")
		s.Alice.Registers()
		gateway := s.Phone("gateway", func(c *phone.Config) { c.Domain = "gateway.example" })
		silentServer(t, s, gateway.Local())
		out := s.Alice.Invites("+15551234", phone.Header("X-Long", strings.Repeat("x", 1300))) // over TCP, then UDP
		s.Wait(time.Second)
		out.GivesUp()
		s.Wait(time.Minute)
		if gateway.Heeds("INVITE") {
			t.Error("the trunk is called after the caller has given up")
		}
	}, toTrunk("sip:198.51.100.14:5060"))
}

// silentServer takes one connection at an address and says nothing.
func silentServer(t *testing.T, s *proxytest.Stage, at netip.AddrPort) {
	t.Helper()
	l, err := s.Net.Host(at.Addr()).Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 1)
	go func() {
		defer close(taken)
		if c, err := l.Accept(); err == nil {
			taken <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for c := range taken {
			_ = c.Close()
		}
	})
}
