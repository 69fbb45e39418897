package proxy_test

import (
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// A phone that says nothing between its registrations keeps its connection as
// long as it is registered: it is reached over that or not at all.
func TestSilentPhoneKeepsItsConnection(t *testing.T) {
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				bob := s.Phone("bob", func(c *phone.Config) { c.Transport = transport })
				bob.Registers(phone.Expires(3600))
				s.Wait(58 * time.Minute)
				s.Alice.Registers()
				out, in := s.Alice.Connect(bob)
				out.HangsUp()
				in.IsHungUp()
				s.Wait(20 * time.Minute)
				if n := s.Proxy.Totals().Connections; n != 0 {
					t.Errorf("%d connections of a phone that is registered no more", n)
				}
			}, proxytest.Colleagues)
		})
	}
}
