package proxy_test

import (
	"context"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// atOnce runs two steps at the same time and returns their errors.
func atOnce(t *testing.T, one, two func(context.Context) error) (error, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := make(chan error)
	go func() { first <- one(ctx) }()
	second := two(ctx)
	return <-first, second
}

func TestProtectedBothHangUpAtOnce(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		bye := func(c *proxytest.Call) func(context.Context) error {
			return func(ctx context.Context) error { return c.Bye(ctx) }
		}
		for _, err := range pair(atOnce(t, bye(out), bye(in))) {
			if code := phone.Status(err); code != 200 && code != 481 {
				t.Errorf("BYE: %v", err)
			}
		}
	})
}

func pair(a, b error) []error { return []error{a, b} }

func TestProtectedBothHoldAtOnce(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		for _, c := range []*proxytest.Call{out, in} {
			c.Does(func(context.Context) error { return c.Refuse("INVITE", 491) }) // RFC 3261 §14.2
		}
		for _, err := range pair(atOnce(t, out.Hold, in.Hold)) {
			if phone.Status(err) != 491 {
				t.Errorf("re-INVITE: %v; want 491", err)
			}
		}
		proxytest.Talk(out, in)
		for _, c := range []*proxytest.Call{out, in} {
			c.Does(func(context.Context) error { return c.Refuse("INVITE", 0) })
		}
		out.Does(out.Hold)
		out.Does(out.Resume)
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedRefusedReinviteChangesNothing(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		for _, c := range [][2]*proxytest.Call{{out, in}, {in, out}} {
			asker, asked := c[0], c[1]
			asked.Does(func(context.Context) error { return asked.Refuse("INVITE", 488) })
			asker.Does(func(ctx context.Context) error {
				if err := asker.Hold(ctx); phone.Status(err) != 488 {
					t.Errorf("re-INVITE: %v; want 488", err)
				}
				return nil
			})
			proxytest.Talk(out, in)
			asked.Does(func(context.Context) error { return asked.Refuse("INVITE", 0) })
		}
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestPhonesWithMoreStreamsAndOnePort(t *testing.T) {
	more := func(c *phone.Config) {
		c.RTCPMux = true
		c.SDP.Streams = []string{
			"m=video 4000 RTP/AVP 96\r\na=rtpmap:96 H264/90000", "m=application 9 TCP/MSRP *\r\na=path:msrp://x:9/s;tcp",
		}
	}
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		alice, bob := s.Phone("alice", more), s.Phone("bob", more)
		alice.Registers()
		bob.Registers()
		out, in := alice.Connect(bob)
		in.Does(in.Hold)
		in.Does(in.Resume)
		proxytest.Talk(out, in)
		s.Wait(6 * time.Second)
		if len(in.CNAMEs()) != 1 || len(out.CNAMEs()) != 1 {
			t.Errorf("RTCP told the names %q and %q; want one each", in.CNAMEs(), out.CNAMEs())
		}
		out.HangsUp()
		in.IsHungUp()
		bob.KnowsNothingOf(alice)
		alice.KnowsNothingOf(bob)
	}, proxytest.Colleagues)
}

func TestPhonesOfBothFamilies(t *testing.T) {
	for _, protect := range []string{"never", "always"} {
		for _, first := range []string{"IPv4", "IPv6"} {
			t.Run(first+" calls, protect "+protect, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					s.Set("alice", "protect_ip", protect)
					s.Set("bob", "protect_ip", protect)
					bob := s.Phone6("bob")
					s.Alice.Registers()
					bob.Registers()
					caller, callee := s.Alice, bob
					if first == "IPv6" {
						caller, callee = bob, s.Alice
					}
					out, in := caller.Connect(callee)
					in.Does(in.Hold)
					in.Does(in.Resume)
					proxytest.Talk(out, in)
					out.HangsUp()
					in.IsHungUp()
					if protect == "always" {
						bob.KnowsNothingOf(s.Alice)
						s.Alice.KnowsNothingOf(bob)
					}
				}, proxytest.Colleagues)
			})
		}
	}
}
