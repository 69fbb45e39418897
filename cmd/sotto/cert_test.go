package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sotto/configs"
)

// certServer is a server that is asked for its certificate only.
func certServer(dir string) *server {
	cfg := configs.Default()
	cfg.DataDir = dir
	return &server{cfg: cfg}
}

// shown is the certificate that a phone would see.
func shown(t *testing.T, s *server, c *tls.Config) *tls.Certificate {
	t.Helper()
	pair, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: s.cfg.Domains[0]})
	must(t, err)
	return pair
}

// A renewed certificate is shown after it is read again; a damaged one changes nothing.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir, renewed := t.TempDir(), t.TempDir()
	s, other := certServer(dir), certServer(renewed)
	c, err := s.certificate()
	must(t, err)
	first := shown(t, s, c)
	must(t, os.WriteFile(s.pair.cert, []byte("damaged"), 0o600))
	if err := s.pair.load(); err == nil {
		t.Error("a damaged certificate was read")
	}
	if shown(t, s, c) != first {
		t.Error("a damaged certificate took the place of the one before")
	}
	_, err = other.certificate()
	must(t, err)
	for _, f := range []string{"tls.crt", "tls.key"} {
		text, err := os.ReadFile(filepath.Join(renewed, f))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, f), text, 0o600))
	}
	must(t, s.pair.load())
	if got := shown(t, s, c).Leaf.SerialNumber; got.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("the certificate of before is still shown")
	}
}

// A certificate made for trying is kept while it is good, and no longer.
func TestSelfSignedIsMadeAnewWhenExpired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		serial := func() string {
			s := certServer(dir)
			c, err := s.certificate()
			must(t, err)
			return shown(t, s, c).Leaf.SerialNumber.String()
		}
		first := serial()
		time.Sleep(selfSignedLife - time.Hour)
		if serial() != first {
			t.Error("a good certificate was made anew")
		}
		time.Sleep(2 * time.Hour)
		if serial() == first {
			t.Error("an expired certificate is shown")
		}
	})
}
