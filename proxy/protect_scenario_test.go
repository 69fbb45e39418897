package proxy_test

import (
	"context"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// protections are who of caller and callee wants an address protected.
var protections = []struct {
	name                   string
	caller, callee, forced string
}{
	{"by the caller", "always", "never", ""},
	{"by the callee", "never", "always", ""},
	{"by both", "always", "always", ""},
	{"by the operator", "never", "never", "always"},
}

// protected plays a script for every way in which a call becomes protected.
// Afterwards neither phone may have received anything that the other knows of
// itself, in any form.
func protected(t *testing.T, script func(t *testing.T, s *proxytest.Stage, out, in *proxytest.Call)) {
	t.Helper()
	for _, p := range protections {
		t.Run(p.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Set("alice", "protect_ip", p.caller)
				s.Set("bob", "protect_ip", p.callee)
				s.Alice.Registers()
				s.Bob.Registers()
				out, in := s.Alice.Connect(s.Bob)
				script(t, s, out, in)
				s.Wait(time.Second)
				s.Alice.KnowsNothingOf(s.Bob)
				s.Bob.KnowsNothingOf(s.Alice)
			}, proxytest.Colleagues, proxytest.Protect(p.forced))
		})
	}
}

func TestProtectedCallHidesBothParties(t *testing.T) {
	protected(t, func(t *testing.T, s *proxytest.Stage, out, in *proxytest.Call) {
		if got := s.Proxy.Totals().Sessions; got != 1 {
			t.Errorf("%d media sessions; want 1", got)
		}
		for _, c := range []*proxytest.Call{out, in} {
			if _, from := c.Heard(); from.Addr() != proxytest.Server.Addr() {
				t.Errorf("%s hears sound from %s", c.Phone.User, from)
			}
		}
		s.Wait(7 * time.Second) // RTCP with names goes every five
		if len(in.CNAMEs()) != 1 || len(out.CNAMEs()) != 1 {
			t.Errorf("RTCP told the names %q and %q; want one each", in.CNAMEs(), out.CNAMEs())
		}
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedCallHungUpByTheCallee(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestProtectedCallHoldAndResume(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		for _, c := range [][2]*proxytest.Call{{out, in}, {in, out}} {
			holder, held := c[0], c[1]
			holder.Does(holder.Hold)
			if err := holder.Deaf(toneOf(held, out), time.Second); err != nil {
				t.Errorf("%s put %s on hold: %v", holder.Phone.User, held.Phone.User, err)
			}
			holder.Does(holder.Resume)
			proxytest.Talk(out, in)
		}
		out.HangsUp()
		in.IsHungUp()
	})
}

// toneOf is the tone that Talk makes a party sound.
func toneOf(c, out *proxytest.Call) float64 {
	if c == out {
		return 440
	}
	return 880
}

func TestProtectedCallReinviteAndUpdate(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		for _, c := range []*proxytest.Call{out, in} {
			c.Does(func(ctx context.Context) error { return c.Reinvite(ctx) })
			c.Does(func(ctx context.Context) error { return c.Reinvite(ctx, phone.LateOffer()) })
			c.Does(func(ctx context.Context) error { return c.Update(ctx) })
			c.Does(func(ctx context.Context) error { return c.Update(ctx, phone.EarlyMedia()) })
			proxytest.Talk(out, in)
		}
		in.HangsUp()
		out.IsHungUp()
	})
}

func TestProtectedCallInfoAndDigits(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		out.Does(func(ctx context.Context) error { return out.Info(ctx, "5") })
		if body := string(in.Gets("INFO").Body()); body != "Signal=5\r\nDuration=160\r\n" {
			t.Errorf("INFO arrived with %q", body)
		}
		in.Does(func(ctx context.Context) error { return in.Info(ctx, "7") })
		out.Gets("INFO")
		out.Does(func(context.Context) error { return out.Digits("0815#") })
		in.Does(func(ctx context.Context) error { return in.HearsDigits(ctx, "0815#") })
		out.HangsUp()
		in.IsHungUp()
	})
}

func TestProtectedCallSessionTimer(t *testing.T) {
	protected(t, func(t *testing.T, s *proxytest.Stage, out, in *proxytest.Call) {
		out.Does(func(ctx context.Context) error { return out.Update(ctx, phone.SessionTimer(90, "uac")) })
		s.Wait(3 * time.Minute)
		refreshes := 0
		for _, l := range s.Bob.Heard() {
			if len(l) > 6 && l[:6] == "UPDATE" {
				refreshes++
			}
		}
		if refreshes < 3 || refreshes > 5 {
			t.Errorf("bob got %d UPDATEs in three minutes of a session of 90 s", refreshes)
		}
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}
