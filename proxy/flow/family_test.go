package flow

import (
	"net/netip"
	"testing"
)

// What is said to be IPv4's is not opened to IPv6, whose firewall nobody has
// thought of; :: is open to both.
func TestAllAddressesAreOfOneFamily(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": true, "[::]:0": false} {
		addr := netip.MustParseAddrPort(at)
		pc, err := realNetwork{}.ListenPacket(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		l, err := realNetwork{}.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		for what, is := range map[string]string{"udp": pc.LocalAddr().String(), "tcp": l.Addr().String()} {
			if got := netip.MustParseAddrPort(is).Addr().Is4(); got != want {
				t.Errorf("%s %s listens on %s", what, at, is)
			}
		}
	}
}
