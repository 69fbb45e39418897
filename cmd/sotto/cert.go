package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"sotto/configs"
)

// certificate is the TLS configuration of the server: the operator's
// certificate, or one of our own for trying. nil: nothing listens on TLS.
func (s *server) certificate() (*tls.Config, error) {
	if !slices.ContainsFunc(s.cfg.Listen, func(l configs.Listen) bool { return l.Transport == "tls" }) {
		return nil, nil
	}
	cert, key := s.cfg.TLS.Cert, s.cfg.TLS.Key
	if cert == "" {
		cert, key = filepath.Join(s.cfg.DataDir, "tls.crt"), filepath.Join(s.cfg.DataDir, "tls.key")
		if err := s.selfSigned(cert, key); err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
	}
	s.pair = &keyPair{cert: cert, key: key}
	if err := s.pair.load(); err != nil {
		return nil, certHint(err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.pair.get, GetClientCertificate: s.pair.getClient}
	if s.cfg.TLS.ClientCA == "" {
		return c, nil
	}
	pemText, err := os.ReadFile(s.cfg.TLS.ClientCA)
	if err != nil {
		return nil, certHint(fmt.Errorf("reading tls.client_ca: %w", err))
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !c.ClientCAs.AppendCertsFromPEM(pemText) {
		return nil, hint(fmt.Errorf("%s has no certificate", s.cfg.TLS.ClientCA), "it must be PEM")
	}
	return c, nil
}

// certHint adds to the error of a certificate's file what to do about it.
func certHint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return hint(err, "let the user who runs sotto read it, and nobody else")
	}
	return hint(err, "check tls.cert, tls.key and tls.client_ca")
}

// A keyPair is a certificate and its key in files. It is read again on SIGHUP,
// since certificates are renewed every few weeks. Safe for concurrent use.
type keyPair struct {
	cert, key string
	now       atomic.Pointer[tls.Certificate]
}

// load reads the files; on an error what was read before goes on.
func (k *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return fmt.Errorf("reading certificate: %w", err)
	}
	k.now.Store(&pair)
	return nil
}

// get implements tls.Config.GetCertificate.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.now.Load(), nil }

// getClient implements tls.Config.GetClientCertificate: trunks may ask who we are.
func (k *keyPair) getClient(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return k.now.Load(), nil
}

// selfSignedLife is how long a certificate of our own is good.
const selfSignedLife = 365 * 24 * time.Hour

// selfSigned makes a certificate for trying, where there is none that is good.
func (s *server) selfSigned(certFile, keyFile string) error {
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && time.Now().Before(pair.Leaf.NotAfter) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.cfg.Domains[0]}, DNSNames: s.cfg.Domains,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, l := range s.cfg.Listen {
		if ip := l.Addr.Addr(); !ip.IsUnspecified() {
			t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	s.did = append(s.did, "made a self-signed certificate "+certFile+"; phones will not trust it")
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := renameio.WriteFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return renameio.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
