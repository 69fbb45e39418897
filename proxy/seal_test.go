package proxy

import (
	"net/netip"
	"testing"
	"time"
)

func testSealer(t testing.TB) *sealer {
	t.Helper()
	s, err := newSealer([]byte("0123456789abcdef0123456789abcdef"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTypicalBoxIsShort(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	b := box{
		leg: calleeLeg, mark: markOf("x"), session: 1 << 63, binding: 1 << 62, salt: 7,
		expires: now.Add(24 * time.Hour), aor: "alice@example.com",
		target: "sip:alice@192.168.77.23:40312;transport=udp",
		flow: flowRef{
			Transport: "udp", Local: netip.MustParseAddrPort("198.51.100.1:5060"),
			Peer: netip.MustParseAddrPort("203.0.113.9:40312"),
		},
	}
	text, err := testSealer(t).seal(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) >= 200 {
		t.Errorf("typical box has %d characters: %s", len(text), text)
	}
}
