package proxy

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func freshNonce(t *testing.T, n *nonceSource, now time.Time) nonceID {
	t.Helper()
	id, state := n.read(n.make("example.com", home, now), "example.com", home, now)
	if state != nonceFresh {
		t.Fatalf("new nonce is %v", state)
	}
	return id
}

func TestNonceIsOurs(t *testing.T) {
	n := newNonceSource(secretA)
	text := n.make("example.com", home, testNow)
	foreign := newNonceSource(secretB).make("example.com", home, testNow)
	for name, c := range map[string]struct {
		text, realm string
		at          time.Time
		want        nonceState
	}{
		"fresh":        {text, "example.com", testNow, nonceFresh},
		"at its end":   {text, "example.com", testNow.Add(nonceLife), nonceFresh},
		"old":          {text, "example.com", testNow.Add(nonceLife + 1), nonceStale},
		"future":       {text, "example.com", testNow.Add(-1), nonceStale},
		"other realm":  {text, "example.org", testNow, nonceForeign},
		"altered time": {"A" + text[1:], "example.com", testNow, nonceForeign},
		"altered mac":  {text[:len(text)-2] + "AA", "example.com", testNow, nonceForeign},
		"empty":        {"", "example.com", testNow, nonceForeign},
		"other key":    {foreign, "example.com", testNow, nonceForeign},
	} {
		if _, got := n.read(c.text, c.realm, home, c.at); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for from, want := range map[string]nonceState{
		"192.0.2.8": nonceElsewhere, "2001:db8::1": nonceElsewhere,
	} {
		if _, got := n.read(text, "example.com", netip.MustParseAddr(from), testNow); got != want {
			t.Errorf("from %s: %v, want %v", from, got, want)
		}
	}
	at6, beside6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2") // one party's
	if _, got := n.read(n.make("example.com", at6, testNow), "example.com", beside6, testNow); got != nonceFresh {
		t.Errorf("from another address of one network: %v", got)
	}
	if n.make("example.com", home, testNow) == text {
		t.Error("two nonces of one moment are the same")
	}
	if _, got := newNonceSource(secretA).read(text, "example.com", home, testNow); got != nonceFresh {
		t.Errorf("after a restart with the same key: %v", got)
	}
}

func TestWindow(t *testing.T) {
	var w window
	for i, c := range []struct {
		count uint32
		want  bool
	}{
		{0, false},
		{1, true},
		{1, false},
		{3, true},
		{2, true},
		{2, false},
		{3, false},
		{64, true},
		{4, true},
		{67, true},
		{3, false},
		{66, true},
		{65, true},
		{65, false},
		{1 << 30, true},
		{1<<30 - 63, true},
		{1<<30 - 64, false},
		{67, false},
	} {
		if got := w.take(c.count); got != c.want {
			t.Errorf("step %d, count %d: %v", i, c.count, got)
		}
	}
}

// The table never holds more than two generations, and what it forgot is not taken again.
func TestNonceTableIsBounded(t *testing.T) {
	n := newNonceSource(secretA)
	n.since = testNow
	first := freshNonce(t, n, testNow)
	if !n.use(first, 1, testNow) || n.use(first, 1, testNow) {
		t.Fatal("a count is taken once")
	}
	for i := range 2*maxNonces + 10 {
		at := testNow.Add(time.Duration(i+1) * time.Microsecond)
		var id nonceID
		binary.BigEndian.PutUint64(id[:], uint64(at.UnixNano()))
		copy(id[nonceTimeSize:], n.run[:])
		if !n.use(id, 1, at) {
			t.Fatalf("nonce %d refused", i)
		}
	}
	if len(n.used)+len(n.older) > 2*maxNonces {
		t.Errorf("%d nonces kept", len(n.used)+len(n.older))
	}
	if n.use(first, 1, testNow.Add(time.Second)) || n.use(first, 2, testNow.Add(time.Second)) {
		t.Error("a forgotten nonce is taken again")
	}
	if id := freshNonce(t, n, testNow.Add(time.Second)); !n.use(id, 1, testNow.Add(time.Second)) {
		t.Error("a new nonce is not taken")
	}
}

func TestOldNoncesAreForgotten(t *testing.T) {
	n := newNonceSource(secretA)
	n.since = testNow
	for i := range 20 {
		at := testNow.Add(time.Duration(i) * nonceLife)
		if !n.use(freshNonce(t, n, at), 1, at) {
			t.Fatalf("step %d refused", i)
		}
	}
	if kept := len(n.used) + len(n.older); kept > 4 {
		t.Errorf("%d nonces kept after they were over", kept)
	}
}
