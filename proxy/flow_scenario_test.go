package proxy_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sotto/proxy/flow"
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

// A phone whose connection ends while its registration is under way is not
// registered: nothing would reach it until the registration expires.
func TestConnectionThatEndsWhileThePhoneRegisters(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		bob := s.Phone("bob", func(c *phone.Config) { c.Transport = "tcp" })
		for range 20 { // which of the two is seen first is not the script's to say
			bob.Registers() // and knows a nonce now
			done := make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer close(done)
				_, _ = bob.Register(ctx) // nobody hears the answer
			}()
			synctest.Wait()
			bob.Does(func(context.Context) error { return bob.Drop() })
			s.Wait(time.Second)
			cancel()
			<-done
			bindings(s, 0)
		}
	})
}

// A phone whose connection ends while it rings is away, as its caller hears, unless
// another one of the user's says more. 5xx would have a PBX try another route.
func TestConnectionThatEndsWhileThePhoneRings(t *testing.T) {
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
				mobile := s.Phone("bob", func(c *phone.Config) { c.Transport = transport })
				mobile.Registers()
				s.Alice.Registers()
				out := s.Alice.Invites("bob")
				mobile.IsCalled().Rings()
				out.HearsProgress(180)
				mobile.Does(func(context.Context) error { return mobile.Drop() })
				out.IsRefused(480)

				mobile.Registers()
				s.Bob.Registers()
				out = s.Alice.Invites("bob")
				mobile.IsCalled().Rings()
				in := s.Bob.IsCalled()
				mobile.Does(func(context.Context) error { return mobile.Drop() })
				s.Wait(time.Second)
				in.Refuses(486)
				out.IsRefused(486)
			}, proxytest.Colleagues)
		})
	}
}

// A phone that has registered over two flows is called over one of them, and
// over the other when that fails (RFC 5626 §5.3).
func TestPhoneWithTwoFlows(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		const instance = "urn:uuid:00000000-0000-4000-8000-000000000001"
		bob := s.Phone("bob", func(c *phone.Config) { c.Instance = instance })
		other := s.Phone("bob", func(c *phone.Config) { c.Instance, c.RegID = instance, 2 })
		s.Alice.Registers()
		bob.Registers()
		other.Registers()
		bindings(s, 3)
		out := s.Alice.Invites("bob")
		in := other.IsCalled()
		in.Rings()
		s.Wait(time.Second)
		if bob.Heeds("INVITE") {
			t.Error("the phone is called over both of its flows")
		}
		in.Refuses(486)
		out.IsRefused(486)

		other.Close()
		out = s.Alice.Invites("bob")
		in = bob.IsCalled() // after timer B
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		in.HangsUp()
		out.IsHungUp()
	}, proxytest.Colleagues)
}

// A phone on UDP that a NAT, or a change of network, has given another address
// registers from there. Requests within its calls then go there, too.
func TestPhoneThatMoves(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", protect)
				s.Alice.Registers()
				var nat *rebinding
				bob := s.Phone("bob", proxytest.NATted, func(c *phone.Config) {
					nat = &rebinding{Network: c.Network}
					c.Network = nat
				})
				bob.Registers()
				out, in := s.Alice.Connect(bob)
				nat.rebind(s)
				bob.Registers()
				out.Does(func(ctx context.Context) error { return out.Info(ctx, "1") })
				in.Gets("INFO")
				in.Does(in.Hold)
				in.Does(in.Resume)
				out.HangsUp()
				in.IsHungUp()
			}, proxytest.Colleagues)
		})
	}
}

// rebinding is a NAT that gives its phone's SIP socket another port when told to.
type rebinding struct {
	flow.Network
	sip *rebound
}

// ListenPacket implements flow.Network.
func (r *rebinding) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	c, err := r.Network.ListenPacket(a)
	if err != nil || a.Port() != 5060 {
		return c, err
	}
	r.sip = &rebound{at: a}
	r.sip.now.Store(&c)
	return r.sip, nil
}

// rebind closes the port that the NAT has for the phone, and opens another one.
func (r *rebinding) rebind(s *proxytest.Stage) {
	s.T().Helper()
	c, err := r.Network.ListenPacket(netip.AddrPortFrom(r.sip.at.Addr(), 15060))
	if err != nil {
		s.T().Fatal(err)
	}
	_ = (*r.sip.now.Swap(&c)).Close()
}

// rebound is a socket whose port, as others see it, has changed.
type rebound struct {
	at  netip.AddrPort
	now atomic.Pointer[flow.PacketConn]
}

// ReadFromUDPAddrPort implements flow.PacketConn.
func (r *rebound) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		c := r.now.Load()
		n, from, err := (*c).ReadFromUDPAddrPort(b)
		if err == nil || c == r.now.Load() {
			return n, from, err
		}
	}
}

// WriteToUDPAddrPort implements flow.PacketConn.
func (r *rebound) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return (*r.now.Load()).WriteToUDPAddrPort(b, to)
}

// LocalAddr implements flow.PacketConn.
func (r *rebound) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(r.at) }

// Close implements flow.PacketConn.
func (r *rebound) Close() error { return (*r.now.Load()).Close() }

// Phones that are registered through a neighbour by TCP are reached by their Path
// (RFC 3327) when the neighbour has closed its connection, as it may when nothing
// goes over it. A Path of somebody's own choice leads nowhere.
func TestNeighbourThatClosesItsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		code int
	}{
		"to the neighbour": {"<sip:198.51.100.14:5060;transport=tcp;lr>", 0},
		"elsewhere":        {"<sip:198.51.100.66:5060;transport=tcp;lr>", 480},
		"no path":          {"", 480},
	} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
				s.Alice.Registers()
				edge := s.Phone("bob", func(c *phone.Config) { c.Transport = "tcp" })
				var opts []phone.Option
				if c.path != "" {
					opts = append(opts, phone.Header("Path", c.path))
				}
				edge.Registers(opts...)
				edge.Does(func(context.Context) error { return edge.Drop() })
				s.Wait(time.Second)
				out := s.Alice.Invites("bob")
				if c.code != 0 {
					out.IsRefused(c.code)
					return
				}
				in := edge.IsCalled()
				in.Answers()
				out.IsAnswered()
				proxytest.Talk(out, in)
				edge.Does(func(context.Context) error { return edge.Drop() })
				out.HangsUp()
				in.IsHungUp()
			}, proxytest.Colleagues, toTrunk("sip:198.51.100.14:5060"))
		})
	}
}
