package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sotto/configs"
)

// renewBefore is how many days before its end a certificate should have been
// renewed (ours: ACME clients renew a month before, a Let's Encrypt certificate).
const renewBefore = 14 * 24 * time.Hour

// certificate says if phones will trust the server: its certificate, the chain,
// the names, and how long.
func (d *doctor) certificate() {
	if !slices.ContainsFunc(d.cfg.Listen, func(l configs.Listen) bool { return l.Transport == "tls" }) {
		return
	}
	cert, key := d.cfg.TLS.Cert, d.cfg.TLS.Key
	own := cert == ""
	if own {
		cert, key = filepath.Join(d.cfg.DataDir, "tls.crt"), filepath.Join(d.cfg.DataDir, "tls.key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	switch {
	case own:
		d.warn("TLS has a certificate of its own making, which phones do not trust")
		d.hint("set tls.cert and tls.key to one for %s", strings.Join(d.cfg.Domains, ", "))
		return
	case errors.Is(err, fs.ErrPermission):
		d.wrong("tls.cert and tls.key: %v", err)
		d.hint("let the user who runs sotto read them; run this as that user")
		return
	case err != nil:
		d.wrong("tls.cert and tls.key: %v", err)
		d.hint("tls.cert is the certificate and what signed it, tls.key its private key, both PEM")
		return
	}
	d.lasts(pair.Leaf, cert)
	d.covers(pair.Leaf, cert)
	d.chain(pair, cert)
	if st, err := os.Stat(key); err == nil && st.Mode().Perm()&0o007 != 0 { // a group of those who need it is usual
		d.wrong("%s can be read by everybody (%04o)", key, st.Mode().Perm())
		d.hint("chmod o= %s", key)
	}
	d.clientCA()
}

// lasts says how long a certificate is good.
func (d *doctor) lasts(leaf *x509.Certificate, file string) {
	days := int(leaf.NotAfter.Sub(d.now).Hours() / 24)
	switch {
	case d.now.After(leaf.NotAfter):
		d.wrong("%s has ended on %s", file, leaf.NotAfter.UTC().Format(time.DateOnly))
		d.hint("renew it, then systemctl reload sotto")
	case d.now.Before(leaf.NotBefore):
		d.wrong("%s begins on %s only", file, leaf.NotBefore.UTC().Format(time.DateOnly))
		d.hint("is the clock right?")
	case leaf.NotAfter.Sub(d.now) < renewBefore:
		d.warn("%s ends in %d days, on %s", file, days, leaf.NotAfter.UTC().Format(time.DateOnly))
		d.hint("renew it, then systemctl reload sotto")
	default:
		d.ok("%s is good for %d days", file, days)
	}
}

// covers says if a certificate is for the domains, as phones compare it with
// what their users typed (RFC 5922 §7.2).
func (d *doctor) covers(leaf *x509.Certificate, file string) {
	var missing []string
	for _, name := range d.cfg.Domains {
		if leaf.VerifyHostname(name) != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		d.ok("%s is for %s", file, strings.Join(d.cfg.Domains, ", "))
		return
	}
	d.wrong("%s is not for %s; it is for %s", file, strings.Join(missing, ", "), strings.Join(leaf.DNSNames, ", "))
	d.hint("phones compare it with the domain, not with the name of the server (RFC 5922): get one for every domain")
}

// chain says if a phone finds its way from a certificate to a CA that it knows.
func (d *doctor) chain(pair tls.Certificate, file string) {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	// How long it lasts has been said.
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: pair.Leaf.NotBefore})
	if err == nil {
		d.ok("%s leads to a CA that this machine knows", file)
		return
	}
	d.warn("%s leads to no CA that this machine knows: %v", file, err)
	d.hint("put the certificates between it and its CA into the file (fullchain.pem), or have phones know your CA")
}

// clientCA says if the CAs of trunks can be read.
func (d *doctor) clientCA() {
	if d.cfg.TLS.ClientCA == "" {
		return
	}
	text, err := os.ReadFile(d.cfg.TLS.ClientCA)
	switch {
	case err != nil:
		d.wrong("tls.client_ca: %v", err)
		d.hint("let the user who runs sotto read it")
	case !x509.NewCertPool().AppendCertsFromPEM(text):
		d.wrong("tls.client_ca: %s has no certificate", d.cfg.TLS.ClientCA)
		d.hint("it must be PEM")
	}
}
