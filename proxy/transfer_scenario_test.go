package proxy_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// referTo is whom the last REFER of a call names.
func referTo(in *proxytest.Call) string {
	h := in.Gets("REFER").GetHeader("Refer-To")
	if h == nil {
		return ""
	}
	return strings.Trim(h.Value(), "<>")
}

// refers has a party refer the other one to somebody, with a dialog to be replaced
// there; returned is both as it arrives.
func refers(t *testing.T, by, at *proxytest.Call, to, dialog string) (uri, replaces string) {
	t.Helper()
	to += "?Replaces=" + url.QueryEscape(dialog)
	by.Does(func(ctx context.Context) error { return by.Refer(ctx, to) })
	uri, query, _ := strings.Cut(referTo(at), "?Replaces=")
	replaces, err := url.PathUnescape(query)
	if err != nil || replaces == "" {
		t.Fatalf("Refer-To arrived with %q", query)
	}
	return uri, replaces
}

func TestProtectedBlindTransfer(t *testing.T) {
	protected(t, func(t *testing.T, s *proxytest.Stage, out, in *proxytest.Call) {
		s.Carol.Registers()
		in.Does(func(ctx context.Context) error { return in.Refer(ctx, proxytest.URI("carol")) })
		to := referTo(out)
		if to != proxytest.URI("carol") {
			t.Errorf("Refer-To arrived as %q", to)
		}
		next := s.Alice.Invites(to)
		out.Does(func(ctx context.Context) error { return out.Notify(ctx, 100) })
		third := s.Carol.IsCalled()
		third.Rings()
		third.Answers()
		next.IsAnswered()
		out.Does(func(ctx context.Context) error { return out.Notify(ctx, 200) })
		in.Does(func(ctx context.Context) error {
			line, err := in.Transferred(ctx)
			if !strings.HasPrefix(line, "SIP/2.0 200") {
				t.Errorf("the transfer ended with %q", line)
			}
			return err
		})
		in.HangsUp()
		out.IsHungUp()
		proxytest.Talk(next, third)
		next.HangsUp()
		third.IsHungUp()
		s.Bob.KnowsNothingOf(s.Alice)
	})
}

func TestProtectedAttendedTransfer(t *testing.T) {
	protected(t, func(t *testing.T, s *proxytest.Stage, out, in *proxytest.Call) {
		s.Set("carol", "protect_ip", "always")
		s.Carol.Registers()
		transferred(t, s.Alice, s.Bob, s.Carol, out, in)
		s.Carol.KnowsNothingOf(s.Alice)
		s.Carol.KnowsNothingOf(s.Bob)
	})
}

// transferred has bob, whom alice has called, ask carol and put alice through
// to her: alice's phone takes the place of bob's in that call (RFC 3891). The
// new call is heard and ends.
func transferred(t *testing.T, alice, bob, carol *proxytest.Phone, out, in *proxytest.Call) {
	t.Helper()
	ask, asked := bob.Connect(carol)
	uri, replaces := refers(t, in, out, proxytest.URI("carol"), ask.Replaces())
	next := alice.Invites(uri, phone.Header("Replaces", replaces))
	third := carol.IsCalled()
	if got := third.Invite.GetHeader("Replaces"); got == nil || !same(got.Value(), asked) {
		t.Errorf("carol is to replace %v, which is not her call %s", got, asked.Replaces())
	}
	third.Answers()
	next.IsAnswered()
	asked.HangsUp()
	ask.IsHungUp()
	in.HangsUp()
	out.IsHungUp()
	proxytest.Talk(next, third)
	third.HangsUp()
	next.IsHungUp()
}

// same says that a Replaces value names the call as its own phone knows it:
// its own tag is the to-tag (RFC 3891 §3).
func same(replaces string, c *proxytest.Call) bool {
	id, _, _ := strings.Cut(replaces, ";")
	_, local, _ := strings.Cut(c.Replaces(), ";from-tag=")
	return id == c.ID() && strings.Contains(replaces, ";to-tag="+local)
}

func TestTransferOutOfTheDomainIsRefused(t *testing.T) {
	protected(t, func(t *testing.T, _ *proxytest.Stage, out, in *proxytest.Call) {
		for _, to := range []string{"sip:trap@evil.example", "sip:trap@198.51.100.66", "https://evil.example/"} {
			if code := in.Asks("REFER", phone.Header("Refer-To", "<"+to+">")); code != 403 {
				t.Errorf("REFER to %s was answered %d; want 403", to, code)
			}
		}
		proxytest.Talk(out, in)
		out.HangsUp()
		in.IsHungUp()
	})
}
