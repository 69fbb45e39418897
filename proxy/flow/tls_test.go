package flow

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sotto/internal/memnet"
)

// certificate is one for sip.example.com, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"sip.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A handshake that does not end is cut off, and one that does hands up what
// the peer has shown.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, pool := certificate(t)
		n, h := memnet.New(), &hall{}
		m := New(Config{
			Network: n.Host(ours.Addr()), Handler: h,
			TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
		})
		if _, err := m.Listen("tls", ours); err != nil {
			t.Fatal(err)
		}
		phone := n.Host(theirs)
		silent := dial(t, phone)
		if got := ends(t, silent); got < 4*time.Second || got > 6*time.Second {
			t.Errorf("a handshake that does not begin was cut off after %v", got)
		}
		c := tls.Client(dial(t, phone), &tls.Config{RootCAs: pool, ServerName: "sip.example.com"})
		if _, err := io.WriteString(c, options("")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n, _ := h.heard(); n != 1 || !h.flows[0].Secure() || h.flows[0].TLS() == nil {
			t.Errorf("%d messages over TLS", n)
		}
		_ = c.Close()
		m.Close()
	})
}

// As a client we talk only to who shows the name that was asked for
// (RFC 5922 §7.3).
func TestServerWithAnotherName(t *testing.T) {
	for name, good := range map[string]bool{"sip.example.com": true, "other.example.com": false} {
		synctest.Test(t, func(t *testing.T) { reaches(t, name, good) })
	}
}

// reaches checks whether a message gets to a server that is asked for by a name.
func reaches(t *testing.T, name string, good bool) {
	t.Helper()
	cert, pool := certificate(t)
	n, h, far := memnet.New(), &hall{}, &hall{}
	server := New(Config{
		Network: n.Host(theirs), Handler: far,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
	})
	at := netip.AddrPortFrom(theirs, 5061)
	if _, err := server.Listen("tls", at); err != nil {
		t.Fatal(err)
	}
	m := New(
		Config{
			Network: n.Host(ours.Addr()),
			Handler: h,
			TLS:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
	)
	f, err := m.To("tls", at, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Send([]byte(options(""))); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if got, _ := far.heard(); got == 1 != good {
		t.Errorf("%s: %d messages arrive", name, got)
	}
	if _, closed := h.heard(); closed == 0 != good {
		t.Errorf("%s: %d connections were closed", name, closed)
	}
	m.Close()
	server.Close()
}
