package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sotto/proxy/flow"
)

var _ flow.Network = (*Host)(nil)

// connect returns both ends of a connection from the phone to the server.
func connect(t *testing.T, n *Net) (phone, server net.Conn) {
	t.Helper()
	l := listen(t, n.Host(v4), "192.0.2.1:5060")
	phone, err := n.Host(phoneIP).Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:5060"))
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return phone, server
}

func listen(t *testing.T, h *Host, addr string) net.Listener {
	t.Helper()
	l, err := h.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestConnectionHasAddressesAndCarriesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, server := connect(t, New())
		if phone.LocalAddr().String() != "198.51.100.7:49152" || phone.RemoteAddr().String() != "192.0.2.1:5060" ||
			server.LocalAddr().String() != "192.0.2.1:5060" || server.RemoteAddr().String() != "198.51.100.7:49152" {
			t.Error(phone.LocalAddr(), phone.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
		}
		carries(t, phone, server)
		carries(t, server, phone)
	})
}

// carries checks that what one end writes, the other reads.
func carries(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := from.Write([]byte("hello, you")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5) // a stream has no borders
	for _, want := range []string{"hello", ", you"} {
		if _, err := io.ReadFull(to, b); err != nil || string(b) != want {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestConnectionIsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.Delay(50 * time.Millisecond)
		began := time.Now()
		phone, server := connect(t, n)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("connected after %v", took)
		}
		began = time.Now()
		_, _ = phone.Write([]byte("hello"))
		_ = phone.Close()
		b, err := io.ReadAll(server)
		if took := time.Since(began); string(b) != "hello" || err != nil || took != 50*time.Millisecond {
			t.Errorf("%q, %v, after %v", b, err, took)
		}
	})
}

func TestEndArrivesAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.Delay(50 * time.Millisecond)
		phone, server := connect(t, n)
		began := time.Now()
		_ = phone.Close()
		_, err := server.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, io.EOF) || took != 50*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestClosedEndsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, server := connect(t, New())
		go func() {
			time.Sleep(time.Second)
			_ = phone.Close()
		}()
		if _, err := phone.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("own end: %v", err)
		}
		if _, err := phone.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("own end: %v", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("other end: %v", err)
		}
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, server := connect(t, New())
		began := time.Now()
		_ = phone.SetReadDeadline(began.Add(time.Minute))
		time.AfterFunc(time.Second, func() { _ = phone.SetReadDeadline(began.Add(3 * time.Second)) })
		_, err := phone.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		_, _ = server.Write([]byte("x"))
		if _, err := phone.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		_ = phone.SetReadDeadline(time.Time{})
		if n, err := phone.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("deadline lifted: %d, %v", n, err)
		}
	})
}

func TestWriterWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, server := connect(t, New())
		_ = phone.SetWriteDeadline(time.Now().Add(time.Second))
		sent := bytes.Repeat([]byte("x"), window+10)
		n, err := phone.Write(sent)
		if n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
		_ = phone.SetWriteDeadline(time.Time{})
		go func() {
			_, _ = phone.Write(sent)
			_ = phone.Close()
		}()
		if b, err := io.ReadAll(server); len(b) != n+len(sent) || err != nil {
			t.Errorf("%d, %v", len(b), err)
		}
	})
}

func TestDialToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		h := n.Host(phoneIP)
		n.Host(v4)
		if _, err := h.Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:5060")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := h.Dial(ctx, netip.MustParseAddrPort("192.0.2.99:5060"))
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("no such host: %v after %v", err, took)
		}
		if _, err := h.Dial(ctx, netip.MustParseAddrPort("[2001:db8::1]:5060")); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("no address of the family: %v", err)
		}
	})
}

func TestListenerClosesWhatNobodyAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l := listen(t, n.Host(v4), "0.0.0.0:5060")
		c, err := n.Host(phoneIP).Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:5060"))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		listen(t, n.Host(v4), "0.0.0.0:5060")
	})
}

func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		listen(t, n.Host(v4), "192.0.2.1:5060")
		for i := range maxBacklog + 1 {
			_, err := n.Host(phoneIP).Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:5060"))
			if (err != nil) != (i == maxBacklog) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}
