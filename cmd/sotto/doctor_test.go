package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"sotto/configs"
	"sotto/proxy/resolve"
)

// An issued certificate is one that a CA of the test's own has made.
type issued struct {
	names       []string
	ends        time.Duration // from now
	public      bool          // signed by a CA that the machine knows
	mode        os.FileMode   // of the key
	wrongKey    bool
	withoutFile bool
}

// write makes the certificate and its key, and returns the operator's TLS section.
func (c issued) write(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey) configs.TLS {
	t.Helper()
	key, other := newTestKey(t), newTestKey(t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, DNSNames: c.names,
		NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: time.Now().Add(c.ends),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signer, signerKey := ca, caKey
	if !c.public {
		signer, signerKey = leaf, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, signer, &key.PublicKey, signerKey)
	must(t, err)
	if c.wrongKey {
		key = other
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	files := configs.TLS{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	if c.withoutFile {
		return files
	}
	must(t, os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	must(t, os.Chmod(files.Key, c.mode))
	return files
}

func newTestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// knownCA makes a CA that this process takes for one of the system's.
func knownCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newTestKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-200 * 24 * time.Hour), NotAfter: time.Now().Add(200 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	must(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	t.Setenv("SSL_CERT_FILE", file) // read once, when first needed: nothing else in this package needs it
	return ca, key
}

// diagnosis is what a doctor has found, without the paths of the test.
func diagnosis(d *doctor) string {
	text := strings.Join(d.findings, "\n")
	for _, f := range []string{d.cfg.TLS.Cert, d.cfg.TLS.Key} {
		if f != "" {
			text = strings.ReplaceAll(text, f, filepath.Base(f))
		}
	}
	return text
}

// What phones would hold against a certificate is said before they do.
func TestDoctorOnCertificates(t *testing.T) {
	ca, caKey := knownCA(t)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		issued
		want []string // beginnings of the findings, in order
	}{
		"good": {
			issued{names: []string{"a.org", "b.org"}, ends: 60*day + time.Hour, public: true, mode: 0o640},
			[]string{"ok: c.pem is good for 60 days", "ok: c.pem is for a.org, b.org", "ok: c.pem leads to a CA"},
		},
		"for everything": {
			issued{names: []string{"*.org"}, ends: 60*day + time.Hour, public: true, mode: 0o600},
			[]string{"ok: c.pem is good for 60 days", "ok: c.pem is for a.org, b.org", "ok: c.pem leads to a CA"},
		},
		"ends soon, for one domain, unknown CA, open key": {
			issued{names: []string{"a.org", "sip.b.org"}, ends: 5*day + time.Hour, mode: 0o644},
			[]string{
				"warning: c.pem ends in 5 days", "hint: renew it",
				"error: c.pem is not for b.org; it is for a.org, sip.b.org", "hint: phones compare it with the domain",
				"warning: c.pem leads to no CA", "hint: put the certificates between",
				"error: k.pem can be read by everybody (0644)", "hint: chmod o= k.pem",
			},
		},
		"ended": {
			issued{names: []string{"a.org", "b.org"}, ends: -day, public: true, mode: 0o600},
			[]string{"error: c.pem has ended on", "hint: renew it", "ok: c.pem is for a.org, b.org", "ok: c.pem leads to a CA"},
		},
		"another's key": {
			issued{names: []string{"a.org", "b.org"}, ends: 60 * day, public: true, mode: 0o600, wrongKey: true},
			[]string{"error: tls.cert and tls.key: tls: private key does not match", "hint: tls.cert is the certificate"},
		},
		"no file": {issued{withoutFile: true}, []string{"error: tls.cert and tls.key: open c.pem: no such file", "hint: "}},
	} {
		d := &doctor{now: time.Now(), cfg: configs.Config{
			Domains: []string{"a.org", "b.org"},
			Listen:  []configs.Listen{{Transport: "tls", Addr: netip.MustParseAddrPort("192.0.2.1:5061")}},
			TLS:     c.write(t, ca, caKey),
		}}
		d.certificate()
		got := strings.Split(diagnosis(d), "\n")
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && strings.HasPrefix(got[i], c.want[i])
		}
		if !ok || strings.Contains(diagnosis(d), "PRIVATE KEY") {
			t.Errorf("%s:\n%s\nwant\n%s", name, diagnosis(d), strings.Join(c.want, "\n"))
		}
	}
}

// A nameServer answers from records.
type nameServer []string

// ServeDNS implements dns.Handler.
func (s nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	res := new(dns.Msg)
	res.SetReply(q)
	res.Rcode = dns.RcodeNameError
	for _, text := range s {
		rr, err := dns.NewRR(text)
		if err != nil || !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		res.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Question[0].Qtype {
			res.Answer = append(res.Answer, rr)
		}
	}
	_ = w.WriteMsg(res) // who has gone needs none
}

// start runs the name server on loopback.
func (s nameServer) start(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	up, done := make(chan struct{}), make(chan struct{})
	server := &dns.Server{PacketConn: c, Handler: s, NotifyStartedFunc: func() { close(up) }}
	go func() {
		defer close(done)
		_ = server.ActivateAndServe() // Shutdown ends it
	}()
	<-up
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return c.LocalAddr().String()
}

// Whether a domain leads to this server is said, and never an error.
func TestDoctorOnDNS(t *testing.T) {
	t.Parallel()
	server := nameServer{
		"here.org. IN NAPTR 10 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.here.org.",
		"_sips._tcp.here.org. IN SRV 0 0 5061 sip.here.org.",
		"sip.here.org. IN A 198.51.100.7",
		"_sip._udp.both.org. IN SRV 0 0 5060 sip.here.org.",
		"_sip._udp.both.org. IN SRV 1 0 5060 old.both.org.",
		"old.both.org. IN A 203.0.113.1",
		"_sip._tcp.port.org. IN SRV 0 0 5070 sip.here.org.",
		"moved.org. IN A 203.0.113.1",
	}.start(t)
	const not = ", which is not where this server listens"
	const srv = "\nhint: _sips._tcp.DOMAIN. SRV 0 0 5061 HOST., and _sip._tcp and _sip._udp with 5060; HOST is this server"
	for domain, want := range map[string]string{
		"here.org":      "ok: DNS: here.org leads here, to tls 198.51.100.7:5061",
		"both.org":      "note: DNS: both.org leads here, to udp 198.51.100.7:5060, and elsewhere, to udp 203.0.113.1:5060",
		"port.org":      "warning: DNS: port.org leads to tcp 198.51.100.7:5070" + not + srv,
		"moved.org":     "warning: DNS: moved.org leads to udp 203.0.113.1:5060" + not + srv,
		"gone.org":      "note: DNS: gone.org leads nowhere; phones must be told the server" + srv,
		"sotto.example": "note: DNS: sotto.example is in no DNS, being reserved (RFC 6761); phones must be told the server",
		"192.0.2.1":     "note: DNS: 192.0.2.1 is in no DNS, being reserved (RFC 6761); phones must be told the server",
	} {
		d := &doctor{resolver: resolve.New(server), cfg: configs.Config{
			Domains: []string{domain}, Advertise: "sip.here.org",
			Listen: []configs.Listen{
				{Transport: "udp", Addr: netip.MustParseAddrPort("10.0.0.5:5060")},
				{Transport: "tls", Addr: netip.MustParseAddrPort("10.0.0.5:5061")},
			},
		}}
		d.names(t.Context())
		if got, want := diagnosis(d), strings.ReplaceAll(want, "DOMAIN", domain); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", domain, got, want)
		}
	}
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	must(t, dead.Close())
	d := &doctor{resolver: resolve.New(dead.LocalAddr().String()), cfg: configs.Config{Domains: []string{"here.org"}}}
	d.names(t.Context())
	if got := diagnosis(d); got != "note: DNS: nobody answers where here.org leads" {
		t.Error(got)
	}
}

// Who can reach media, and who is told another address, is said.
func TestDoctorOnAddresses(t *testing.T) {
	t.Parallel()
	own := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.0.0.5/24"),
		netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64"),
	}
	for name, c := range map[string]struct {
		listen, advertise string
		media             []string
		want              string
	}{
		"public": {listen: "192.0.2.7", want: "ok: media on 192.0.2.7"},
		"1:1 NAT": {
			listen: "10.0.0.5", advertise: "198.51.100.7", media: []string{"10.0.0.5=198.51.100.7"},
			want: "ok: media on 10.0.0.5, which phones know as 198.51.100.7",
		},
		"half a NAT": {
			listen: "10.0.0.5", advertise: "198.51.100.7",
			want: "warning: media on 10.0.0.5: phones are told 198.51.100.7 for SIP, and a private address for media\n" +
				"hint: media: {addresses: [10.0.0.5=198.51.100.7]}",
		},
		"private": {
			listen: "10.0.0.5",
			want: "note: media on 10.0.0.5: phones outside of this network do not reach it\n" +
				"hint: behind a 1:1 NAT, media: {addresses: [10.0.0.5=PUBLIC]}, and advertise",
		},
		"a neighbour's": {
			listen: "192.0.2.8",
			want: "error: media on 192.0.2.8: this machine has no such address\n" +
				"hint: set media.addresses to one that it has; behind a 1:1 NAT to 10.0.0.5=192.0.2.1, its own first",
		},
		"one family": {
			listen: "2001:db8::7", media: []string{"192.0.2.7"},
			want: "ok: media on 192.0.2.7\n" +
				"warning: udp [2001:db8::7]:5060 has phones of a family that media.addresses has not\n" +
				"hint: calls of theirs that are relayed are refused; add an address of their family to media.addresses",
		},
		"inside and outside": {
			listen: "10.0.0.5", media: []string{"10.0.0.5=198.51.100.7", "10.0.0.5 for 10.0.0.0/8", "10.0.1.1 for 10.1.0.0/16"},
			want: "ok: media on 10.0.0.5, which phones know as 198.51.100.7\n" +
				"ok: media on 10.0.0.5 for the phones of 10.0.0.0/8\n" +
				"error: media on 10.0.1.1: this machine has no such address\n" +
				"hint: set media.addresses to one that it has; behind a 1:1 NAT to 10.0.0.5=192.0.2.1, its own first",
		},
		"loopback": {listen: "127.3.2.1", want: "note: media on 127.3.2.1: only programs of this machine reach it"},
	} {
		d := &doctor{own: own, cfg: configs.Config{
			Advertise: c.advertise,
			Listen:    []configs.Listen{{Transport: "udp", Addr: netip.AddrPortFrom(netip.MustParseAddr(c.listen), 5060)}},
		}}
		for _, text := range c.media {
			var a configs.MediaAddress
			must(t, a.UnmarshalText([]byte(text)))
			d.cfg.Media.Addresses = append(d.cfg.Media.Addresses, a)
		}
		if d.mediaAddresses(); diagnosis(d) != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, diagnosis(d), c.want)
		}
	}
}

// A socket with a smaller queue than it asks for is worth a note, of which both
// ways out are said.
func TestDoctorOnBuffers(t *testing.T) {
	t.Parallel()
	for got, want := range map[int]string{
		16 << 20: "ok: a burst of SIP over UDP finds a buffer of 16777216 bytes",
		212992: "note: a burst of SIP over UDP, as after a power cut, finds a buffer of 212992 bytes, not of 16777216\n" +
			"hint: AmbientCapabilities=CAP_NET_ADMIN in the service, or sysctl -w net.core.rmem_max=16777216",
	} {
		d := &doctor{}
		if d.burst(16<<20, got); diagnosis(d) != want {
			t.Errorf("%d:\n%s\nwant\n%s", got, diagnosis(d), want)
		}
	}
	d := &doctor{}
	if d.buffers(configs.Config{Listen: []configs.Listen{{Transport: "tcp"}}}); len(d.findings) != 0 {
		t.Errorf("of a server without UDP: %s", diagnosis(d))
	}
}
