package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// What cannot be relayed is not sent: each of these takes away something that a
// protected call needs, and neither party may then get a byte of the other's
// description.

// Each call takes two pairs of ports. With one pair left the engine has a
// place for the caller and none for the callee.
func TestOneSideWithoutPortsFailsClosed(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
			p.Registers()
		}
		out, in := s.Alice.Connect(s.Bob)
		s.Carol.Forget()
		s.Mallory.Invites("carol").IsRefused(503)
		s.Carol.HearsNothing()
		if now := s.Proxy.Totals(); now.Ports != 4 || now.Sessions != 1 {
			t.Errorf("after the call that was refused the engine holds %d ports of %d sessions", now.Ports, now.Sessions)
		}
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues, proxytest.Protect("always"), ports(6))
}

// A stream more than there are ports for: the description that asks for it
// does not arrive, and the call goes on as it was.
func TestStreamWithoutPortsFailsClosed(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		before := len(s.Bob.Received(phone.SIP))
		w := &leakStage{Stage: s}
		code := offers(audio, "m=video 4002 RTP/AVP 96", "a=rtpmap:96 VP8/90000")(w, out, in)
		if got := sipSince(s.Bob, before); code < 400 || got != "" {
			t.Errorf("a video without ports was answered %d; bob received\n%s", code, got)
		}
		proxytest.Talk(out, in)
		s.Bob.KnowsNothingOf(s.Alice)
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues, proxytest.Protect("always"), ports(4))
}

// The offer may come in the answer; there is no place for it either.
func TestLateOfferWithoutPortsFailsClosed(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob, s.Carol, s.Mallory} {
			p.Registers()
		}
		first, second := s.Alice.Connect(s.Bob)
		out := s.Mallory.Invites("carol", phone.LateOffer())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if in, err := s.Carol.Incoming(ctx); err == nil {
			_ = in.Answer(ctx) // whatever becomes of it
		}
		if err := out.Answered(ctx); err == nil {
			t.Error("a call without ports was answered")
		}
		for _, k := range s.Mallory.Received(phone.SIP) {
			if strings.Contains(string(k.Data), "application/sdp") {
				t.Errorf("mallory received a description:\n%s", k.Data)
			}
		}
		s.Mallory.KnowsNothingOf(s.Carol)
		s.Carol.KnowsNothingOf(s.Mallory)
		first.HangsUp()
		second.IsHungUp()
		s.Wait(2 * time.Minute)
	}, proxytest.Colleagues, proxytest.Protect("always"), ports(4))
}

// Settings are read while somebody else writes to the store for a long time:
// the call is protected as it was, or does not come about.
func TestLockedStoreFailsClosed(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Set("bob", "protect_ip", "never")
		s.Alice.Registers()
		s.Bob.Registers()
		s.Bob.Forget()
		unlock := s.LockStore()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out := s.Alice.Invites("bob")
		if in, err := s.Bob.Incoming(ctx); err == nil {
			_ = in.Answer(ctx) // whatever becomes of it
		}
		err := out.Answered(ctx)
		t.Logf("with a locked store the call ended with %v", err)
		s.Alice.KnowsNothingOf(s.Bob)
		s.Bob.KnowsNothingOf(s.Alice)
		unlock()
		if err == nil {
			out.HangsUp()
		}
	}, proxytest.Colleagues)
}
