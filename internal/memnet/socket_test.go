package memnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	v4      = netip.MustParseAddr("192.0.2.1")
	v6      = netip.MustParseAddr("2001:db8::1")
	phoneIP = netip.MustParseAddr("198.51.100.7")
)

// open opens a socket that is closed with the test.
func open(t *testing.T, h *Host, addr string) PacketConn {
	t.Helper()
	s, err := h.ListenPacket(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func send(t *testing.T, s PacketConn, to, text string) {
	t.Helper()
	if n, err := s.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); err != nil || n != len(text) {
		t.Fatalf("sending %q to %s: %d, %v", text, to, n, err)
	}
}

// receive waits for a datagram: its text, and where from.
func receive(t *testing.T, s PacketConn) string {
	t.Helper()
	b := make([]byte, 100)
	n, from, err := s.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s from %s", b[:n], from)
}

// all closes s after a while and returns the text of what came until then.
func all(s PacketConn) []string {
	time.AfterFunc(time.Minute, func() { _ = s.Close() })
	var texts []string
	b := make([]byte, 100)
	for {
		n, _, err := s.ReadFromUDPAddrPort(b)
		if err != nil {
			return texts
		}
		texts = append(texts, string(b[:n]))
	}
}

func TestDatagramArrivesAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := open(t, n.Host(v4), "192.0.2.1:5060"), open(t, n.Host(phoneIP), "198.51.100.7:0")
		n.Delay(30 * time.Millisecond)
		began := time.Now()
		send(t, b, "192.0.2.1:5060", "hello")
		if got := receive(t, a); got != "hello from 198.51.100.7:49152" {
			t.Error(got)
		}
		if took := time.Since(began); took != 30*time.Millisecond {
			t.Errorf("under way for %v", took)
		}
	})
}

func TestReaderWaitsForLaterDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := open(t, n.Host(v4), "192.0.2.1:5060"), open(t, n.Host(phoneIP), "198.51.100.7:5060")
		time.AfterFunc(time.Hour, func() { send(t, b, "192.0.2.1:5060", "late") })
		if got := receive(t, a); !strings.HasPrefix(got, "late") {
			t.Error(got)
		}
	})
}

func TestLossCountsFromNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := open(t, n.Host(v4), "192.0.2.1:5060"), open(t, n.Host(phoneIP), "198.51.100.7:5060")
		send(t, b, "192.0.2.1:5060", "0")
		n.Lose(1, 3)
		for i := range 4 {
			send(t, b, "192.0.2.1:5060", fmt.Sprint(i+1))
		}
		if got := all(a); !slices.Equal(got, []string{"0", "2", "4"}) {
			t.Errorf("arrived: %q", got)
		}
		if n.Sent() != 5 || n.Lost() != 2 {
			t.Errorf("%d sent, %d lost", n.Sent(), n.Lost())
		}
	})
}

func TestFateReordersAndCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := open(t, n.Host(v4), "192.0.2.1:5060"), open(t, n.Host(phoneIP), "198.51.100.7:5060")
		n.Decide(func(d Datagram) Fate {
			switch string(d.Data) {
			case "slow":
				return Fate{Delay: time.Second}
			case "twice":
				return Fate{Copies: 1}
			case "never":
				return Fate{Lost: true}
			}
			return Fate{}
		})
		for _, text := range []string{"slow", "twice", "never", "last"} {
			send(t, b, "192.0.2.1:5060", text)
		}
		if got := all(a); !slices.Equal(got, []string{"twice", "twice", "last", "slow"}) {
			t.Errorf("arrived: %q", got)
		}
	})
}

func TestDualStackSocketHasMappedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a := open(t, n.Host(v4, v6), "[::]:5060")
		b := open(t, n.Host(phoneIP, netip.MustParseAddr("2001:db8::7")), "[::]:5070")
		send(t, b, "192.0.2.1:5060", "four")
		if got := receive(t, a); got != "four from [::ffff:198.51.100.7]:5070" {
			t.Error(got)
		}
		send(t, b, "[2001:db8::1]:5060", "six")
		if got := receive(t, a); got != "six from [2001:db8::7]:5070" {
			t.Error(got)
		}
		send(t, a, "[::ffff:198.51.100.7]:5070", "back")
		if got := receive(t, b); got != "back from [::ffff:192.0.2.1]:5060" {
			t.Error(got)
		}
	})
}

func TestSocketOfOneAddressIsPreferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		h := n.Host(v4)
		open(t, h, "0.0.0.0:5060")
		own := open(t, h, "192.0.2.1:5060")
		send(t, open(t, n.Host(phoneIP), "198.51.100.7:5060"), "192.0.2.1:5060", "hello")
		if got := receive(t, own); !strings.HasPrefix(got, "hello") {
			t.Error(got)
		}
	})
}

func TestSocketsThatCannotBe(t *testing.T) {
	h := New().Host(v4)
	open(t, h, "192.0.2.1:5060")
	for addr, want := range map[string]error{
		"192.0.2.1:5060":    syscall.EADDRINUSE,
		"198.51.100.7:5060": syscall.EADDRNOTAVAIL,
	} {
		if _, err := h.ListenPacket(netip.MustParseAddrPort(addr)); !errors.Is(err, want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestDatagramsThatCannotBeSent(t *testing.T) {
	s := open(t, New().Host(v4), "192.0.2.1:5060")
	all := open(t, New().Host(v4), "[::]:5060")
	closed := open(t, New().Host(v4), "192.0.2.1:5060")
	_ = closed.Close()
	for _, c := range []struct {
		name string
		from PacketConn
		to   string
		size int
		want error
	}{
		{"too large", s, "198.51.100.7:5060", 65508, syscall.EMSGSIZE},
		{"other family", s, "[2001:db8::1]:5060", 1, syscall.EAFNOSUPPORT},
		{"no address of the family", all, "[2001:db8::1]:5060", 1, syscall.ENETUNREACH},
		{"closed", closed, "198.51.100.7:5060", 1, net.ErrClosed},
		{"to nobody", s, "198.51.100.7:5060", 65507, nil},
	} {
		_, err := c.from.WriteToUDPAddrPort(make([]byte, c.size), netip.MustParseAddrPort(c.to))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCloseFreesReaderAndPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New().Host(v4)
		s := open(t, h, "192.0.2.1:5060")
		time.AfterFunc(time.Second, func() { _ = s.Close() })
		if _, _, err := s.ReadFromUDPAddrPort(nil); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := s.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
		open(t, h, "192.0.2.1:5060")
	})
}

func TestUnreadSocketOverflows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := open(t, n.Host(v4), "192.0.2.1:5060"), open(t, n.Host(phoneIP), "198.51.100.7:5060")
		for range maxWaiting + 5 {
			send(t, b, "192.0.2.1:5060", "x")
		}
		if got := len(all(a)); got != maxWaiting {
			t.Errorf("%d arrived", got)
		}
	})
}
