package flow

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// What answers comes from the address that was asked, of however many the machine
// has (RFC 3581 §4), and so does what follows over the flow.
func TestAnswersComeFromWhereWasAsked(t *testing.T) {
	for _, c := range []struct{ listen, dial string }{
		{"0.0.0.0:0", "127.0.0.5"}, {"[::]:0", "127.0.0.5"}, {"[::]:0", "::1"}, {"127.0.0.6:0", "127.0.0.6"},
	} {
		t.Run(c.listen+" "+c.dial, func(t *testing.T) {
			h := &hall{}
			m := New(Config{Handler: h, Limits: Limits{SocketBuffer: 1 << 16}})
			defer m.Close()
			h.answer = func(f *Flow) {
				found := m.Find(f.Ref())
				if found == nil || f.Send([]byte("answer")) != nil || found.Send([]byte("later")) != nil {
					t.Error("not sent")
				}
			}
			at, err := m.Listen("udp", netip.MustParseAddrPort(c.listen))
			if err != nil {
				t.Skipf("listening: %v", err)
			}
			hears(t, netip.AddrPortFrom(netip.MustParseAddr(c.dial), at.Port()), "answer", "later")
		})
	}
}

// hears asks at an address, and expects datagrams from there.
func hears(t *testing.T, at netip.AddrPort, all ...string) {
	t.Helper()
	phone, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at)) // hears nobody else
	if err != nil {
		t.Skipf("dialling: %v", err)
	}
	t.Cleanup(func() { _ = phone.Close() })
	if _, err := io.WriteString(phone, options("")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = phone.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, want := range all {
		n, err := phone.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("from %s came %q, %v; want %q", at, buf[:n], err, want)
		}
	}
}
