package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// receiptOf is what the owners of the last call read of it.
func receiptOf(t *testing.T, s *proxytest.Stage) string {
	t.Helper()
	calls := s.Proxy.Calls()
	lines, ok := s.Proxy.Explain(calls[len(calls)-1].Ref)
	if !ok {
		t.Fatal("the last call is not known")
	}
	return strings.Join(lines, "\n")
}

// marked opens two phones that tell everything about themselves.
func marked(s *proxytest.Stage, change ...func(*phone.Config)) (alice, bob *proxytest.Phone) {
	for _, p := range []struct {
		name string
		to   **proxytest.Phone
	}{{"alice", &alice}, {"bob", &bob}} {
		*p.to = s.Phone(p.name, append(change, phone.TellAll)...)
		(*p.to).Registers()
	}
	return alice, bob
}

func TestReceiptOfAProtectedCall(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		alice, bob := marked(s)
		out, in := alice.Connect(bob)
		s.Wait(12 * time.Second)
		in.Does(func(ctx context.Context) error { return in.Hold(ctx) })
		during := receiptOf(t, s)
		out.HangsUp()
		in.IsHungUp()
		s.Wait(3 * time.Minute) // facts are forgotten by then
		after := receiptOf(t, s)
		for _, want := range []string{
			"the callee saw of the caller, in 5 messages and ",
			"the caller saw of the callee, in 6 messages and ",
			"  address: " + proxytest.Server.Addr().String() + "; codecs: PCMU, telephone-event; name: sip:alice@sotto.example",
			"  not: 1 address, 1 port, 3 device texts, 1 Call-ID, 1 tag, 3 names in SDP",
		} {
			if !strings.Contains(after, want) {
				t.Errorf("the receipt lacks %q:\n%s", want, after)
			}
		}
		if !strings.Contains(during, "the callee saw of the caller") {
			t.Errorf("while the call lasts there is no receipt:\n%s", during)
		}
		for _, never := range []string{
			"LEAKED", "not searched, as the server", alice.Local().Addr().String(), bob.Local().Addr().String(), "marked",
		} {
			if strings.Contains(after, never) {
				t.Errorf("the receipt has %q:\n%s", never, after)
			}
		}
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// What a name tells is the user's own doing, and found: the search is of the
// bytes, not of what the proxy means to send.
func TestReceiptTellsWhatLeaked(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		alice, bob := marked(s, func(c *phone.Config) { c.Display = c.Headers[0].Value })
		out, in := alice.Connect(bob)
		out.HangsUp()
		in.IsHungUp()
		got := receiptOf(t, s)
		if want := "LEAKED: the caller's device text, in INVITE, From: 1 time"; !strings.Contains(got, want) {
			t.Errorf("the receipt lacks %q:\n%s", want, got)
		}
		for line := range strings.Lines(got) {
			if strings.Contains(line, "LEAKED") && strings.Contains(line, "marked") {
				t.Errorf("the receipt says what leaked, and not only where: %s", line)
			}
		}
		if n := s.Proxy.Totals().Leaks; n == 0 {
			t.Error("no leak is counted")
		}
		s.Leaky()
	}, proxytest.Colleagues, proxytest.Protect("always"))
}
