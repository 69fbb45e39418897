// Package configs has what the operator writes: the types, their defaults and
// their manual, which is the comment of each field and becomes sotto.yaml.
package configs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is the operator's configuration, fixed at the start of the server.
// What a user may change while it runs is a setting (package store).
type Config struct {
	// Domains are the SIP domains served here. Users are user@domain.
	Domains []string `yaml:"domains"`
	// Listen has the addresses for SIP, as transport:address:port. Transports: udp, tcp, tls.
	// 0.0.0.0 is all addresses of IPv4, [::] all there are; with these alone media.addresses is needed.
	Listen []Listen `yaml:"listen"`
	// Advertise is the host name or address under which phones reach this
	// server, if it is not the address that it listens on.
	Advertise string `yaml:"advertise"`
	// DataDir holds the database, the keys, the control socket and a
	// certificate made for trying.
	DataDir string `yaml:"data_dir"`
	// TLS has the certificate for tls listeners. Without one a self-signed
	// certificate is made, which phones will not trust.
	TLS TLS `yaml:"tls"`
	// Media is about relayed audio and video.
	Media Media `yaml:"media"`
	// ProtectIP, if "always", protects every call, whatever the users' settings say.
	ProtectIP string `yaml:"protect_ip"`
	// KnownDomains are domains whose users are no strangers to anybody here:
	// a company's PBX lists its own domain.
	KnownDomains []string `yaml:"known_domains"`
	// Strangers is "uniform" (a stranger hears the same whatever the
	// recipient's state) or "honest" (a stranger hears the devices of
	// recipients who do not silence strangers).
	Strangers string `yaml:"strangers"`
	// StrangersIn has domains served here in which that is otherwise, as domain=uniform or domain=honest.
	StrangersIn []DomainStrangers `yaml:"strangers_in"`
	// Voicemail names the peer to which a stranger's call goes that has rung to
	// its end (half a minute), whatever the recipient's state. It gets the user that was dialled.
	Voicemail string `yaml:"voicemail"`
	// Peers are other servers: trunks, a PBX.
	Peers []Peer `yaml:"peers"`
	// DefaultRoute names the peer for numbers that no user here has.
	DefaultRoute string `yaml:"default_route"`
	// Foreign is "off" or "allow": may users call domains that are not served here?
	Foreign string `yaml:"foreign"`
	// ForeignDomains, if any, are the only foreign domains that may be called.
	ForeignDomains []string `yaml:"foreign_domains"`
	// Register bounds registrations.
	Register Register `yaml:"register"`
	// Notice is about the message that tells of silenced calls.
	Notice Notice `yaml:"notice"`
	// FeatureCodes are what a user dials to change a setting of the user's own.
	FeatureCodes FeatureCodes `yaml:"feature_codes"`
	// Limits protect the server. Without a line, or with 0, what is shown here holds.
	Limits Limits `yaml:"limits"`
	// Shutdown is how long running calls may go on after SIGTERM.
	Shutdown time.Duration `yaml:"shutdown"`
	// Metrics is the address and port of a page for Prometheus, http://…/metrics, with what "sotto
	// status" counts. It names no user and no address, but is for you only: who can read
	// it sees your load, and beside a call of his own if that was silenced. So keep it on
	// loopback or on a network for monitoring. Without the line there is none.
	Metrics Address `yaml:"metrics"`
	// Log says how much is logged.
	Log Log `yaml:"log"`
}

// Address is an address and port of TCP; zero: none.
type Address struct{ netip.AddrPort }

// UnmarshalText reads "127.0.0.1:9464" or "[::1]:9464".
func (a *Address) UnmarshalText(b []byte) error {
	at, err := netip.ParseAddrPort(string(b))
	if err != nil {
		return fmt.Errorf("%q is no address and port; write one as 127.0.0.1:9464 or \"[::1]:9464\"", b)
	}
	a.AddrPort = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	return nil
}

// Listen is one listener.
type Listen struct {
	Transport string
	Addr      netip.AddrPort
}

// UnmarshalText reads "udp:0.0.0.0:5060" or "tls:[::]:5061".
func (l *Listen) UnmarshalText(b []byte) error {
	transport, addr, ok := strings.Cut(string(b), ":")
	if !ok || transport != "udp" && transport != "tcp" && transport != "tls" {
		return fmt.Errorf("%q is no listener; write transport:address:port, as udp:0.0.0.0:5060", b)
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no address and port; write one as 0.0.0.0:5060 or [::]:5060", addr)
	}
	l.Transport, l.Addr = transport, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (l Listen) MarshalText() ([]byte, error) {
	return []byte(l.Transport + ":" + l.Addr.String()), nil
}

// DomainStrangers is what strangers meet in one domain.
type DomainStrangers struct{ Domain, Strangers string }

// UnmarshalText reads "example.com=honest".
func (d *DomainStrangers) UnmarshalText(b []byte) error {
	domain, strangers, _ := strings.Cut(string(b), "=")
	host, ok := hostOf(strings.TrimSpace(domain))
	if strangers = strings.TrimSpace(strangers); !ok || !oneOf(strangers, "uniform", "honest") {
		return fmt.Errorf("%q says nothing of a domain; write one as example.com=honest or example.com=uniform", b)
	}
	d.Domain, d.Strangers = host, strangers
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d DomainStrangers) MarshalText() ([]byte, error) {
	return []byte(d.Domain + "=" + d.Strangers), nil
}

// TLS names certificate files.
type TLS struct {
	// Cert is the file of the certificate chain, PEM.
	Cert string `yaml:"cert"`
	// Key is the file of its private key, PEM.
	Key string `yaml:"key"`
	// ClientCA is a file of CAs whose certificates identify trunks (peers.tls_name).
	ClientCA string `yaml:"client_ca"`
}

// Media configures the media engine.
type Media struct {
	// Addresses to relay on, as address or local=advertised behind a 1:1 NAT. One that is for the phones of
	// a network only has that behind it, as 10.0.0.5 for 10.0.0.0/8; all others get the first of their family.
	// Without any: the addresses of the listeners.
	Addresses []MediaAddress `yaml:"addresses"`
	// Ports for RTP and RTCP, first-last. A relayed call needs four. None may be one that the
	// system gives to other programs (net.ipv4.ip_local_port_range, less ip_local_reserved_ports).
	Ports Ports `yaml:"ports"`
	// MaxSessions bounds the relayed calls; 0: as many as there are ports for.
	MaxSessions int `yaml:"max_sessions"`
	// Rest is how long a port is left alone after a call.
	Rest time.Duration `yaml:"rest"`
	// SilenceTimeout ends a call in which neither party has sent anything for so long.
	SilenceTimeout time.Duration `yaml:"silence_timeout"`
	// HalfTimeout ends a call in which only one party has sent anything for so long, or that is on hold
	// and neither has.
	HalfTimeout time.Duration `yaml:"half_timeout"`
	// Plane relays in the "kernel" (eBPF; needs CAP_BPF and CAP_NET_ADMIN), in
	// "user" space, or, if "auto", in the kernel where that is permitted.
	Plane string `yaml:"plane"`
	// Pin is a directory in a BPF file system where what the kernel relays
	// outlives a restart, also one after a crash, so that nobody hears it.
	// Where it cannot be made the flows end with the process.
	Pin string `yaml:"pin"`
	// Pause lets packets gather, so that many share one wake-up of the relay: at
	// most so much is added to the delay of a packet, and nothing from 50,000
	// packets/s of a processor on. 0 relays each at once.
	Pause time.Duration `yaml:"pause"`
	// Coalesce lets packets gather at network interfaces that receive 4,000 to
	// 60,000 of them a second, which makes receiving them cheaper, in both
	// planes: at most so much is added to the delay of all that comes by such an
	// interface (gro_flush_timeout). Needs CAP_NET_ADMIN and Linux 6.13, or root.
	// 0 leaves interfaces alone.
	Coalesce time.Duration `yaml:"coalesce"`
}

// MediaAddress is where media is relayed, and how the phones know it.
type MediaAddress struct {
	Local, Advertised netip.Addr
	For               netip.Prefix // whose phones it is for; zero: everybody's
}

// UnmarshalText reads "192.0.2.1", "10.0.0.5=192.0.2.1" or "10.0.0.5 for 10.0.0.0/8".
func (m *MediaAddress) UnmarshalText(b []byte) error {
	text, network, limited := strings.Cut(string(b), " for ")
	if limited {
		n, err := netip.ParsePrefix(strings.TrimSpace(network))
		if err != nil || n.Addr().Is4In6() {
			return fmt.Errorf("%q is for no network; write one as 10.0.0.5 for 10.0.0.0/8", b)
		}
		m.For = n.Masked()
	}
	local, advertised, mapped := strings.Cut(text, "=")
	if !mapped {
		advertised = local
	}
	l, err1 := netip.ParseAddr(strings.TrimSpace(local))
	a, err2 := netip.ParseAddr(strings.TrimSpace(advertised))
	if err1 != nil || err2 != nil || l.IsUnspecified() || a.IsUnspecified() || l.Unmap().Is4() != a.Unmap().Is4() {
		return fmt.Errorf("%q is no media address; write one as 192.0.2.1 or 10.0.0.5=192.0.2.1", b)
	}
	m.Local, m.Advertised = l.Unmap(), a.Unmap()
	if limited && m.For.Addr().Is4() != m.Local.Is4() {
		return fmt.Errorf("%q has a network of another family; write one as 10.0.0.5 for 10.0.0.0/8", b)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (m MediaAddress) MarshalText() ([]byte, error) {
	text := m.Local.String()
	if m.Local != m.Advertised {
		text += "=" + m.Advertised.String()
	}
	if m.For.IsValid() {
		text += " for " + m.For.String()
	}
	return []byte(text), nil
}

// Ports is a range of ports.
type Ports struct{ Min, Max uint16 }

// UnmarshalText reads "20000-29999".
func (p *Ports) UnmarshalText(b []byte) error {
	lo, hi, ok := strings.Cut(string(b), "-")
	l, err1 := strconv.ParseUint(strings.TrimSpace(lo), 10, 16)
	h, err2 := strconv.ParseUint(strings.TrimSpace(hi), 10, 16)
	if !ok || err1 != nil || err2 != nil || l < 1024 || h <= l {
		return fmt.Errorf("%q is no range of ports; write one as 20000-29999, above 1023", b)
	}
	p.Min, p.Max = uint16(l), uint16(h)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (p Ports) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d-%d", p.Min, p.Max), nil }

// Peer is another server.
type Peer struct {
	// Name is how this file and the log call it.
	Name string `yaml:"name"`
	// Addresses from which it calls, as address or prefix.
	Addresses []Prefix `yaml:"addresses"`
	// TLSName is the name in the certificate that it shows.
	TLSName string `yaml:"tls_name"`
	// Target is the SIP URI to send calls to.
	Target string `yaml:"target"`
	// Trusted says that its word on who calls counts (RFC 3325).
	Trusted bool `yaml:"trusted"`
	// PSAP says that its calls are call-backs of emergency centres (RFC 7090).
	PSAP bool `yaml:"psap"`
}

// Prefix is an address or a range of addresses.
type Prefix struct{ netip.Prefix }

// UnmarshalText reads "192.0.2.1" or "192.0.2.0/24".
func (p *Prefix) UnmarshalText(b []byte) error {
	s := string(b)
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		p.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil || n.Addr().Is4In6() {
		return fmt.Errorf("%q is no address or prefix; write one as 192.0.2.1 or 192.0.2.0/24", s)
	}
	p.Prefix = n.Masked()
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Register bounds registrations.
type Register struct {
	// Min is the shortest registration that is taken (RFC 3261 §10.3: 423 below).
	Min time.Duration `yaml:"min"`
	// Max is the longest; a phone that asks for more gets this.
	Max time.Duration `yaml:"max"`
	// Default is for phones that ask for nothing.
	Default time.Duration `yaml:"default"`
	// PerUser is how many devices a user may have.
	PerUser int `yaml:"per_user"`
}

// Notice configures the notice of silenced calls.
type Notice struct {
	// MinDelay and MaxDelay are the bounds of a random wait before the notice,
	// so that it does not tell when exactly the call came.
	MinDelay time.Duration `yaml:"min_delay"`
	MaxDelay time.Duration `yaml:"max_delay"`
}

// FeatureCodes configures what a user dials to change a setting.
type FeatureCodes struct {
	// WindowOpen lets anybody ring for a while ("I expect a call"); "off": no such code.
	WindowOpen string `yaml:"window_open"`
	// WindowClose ends that while; "off": no such code.
	WindowClose string `yaml:"window_close"`
	// Window is how long a window that was opened by its code stays open.
	Window time.Duration `yaml:"window"`
}

// Limits protect the server.
type Limits struct {
	// Connections of all phones over TCP and TLS.
	Connections int `yaml:"connections"`
	// ConnectionsPerAddress of one address.
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// Transactions under way at a time. A quarter of them is for strangers, a sixteenth
	// for the calls of people who have proved nothing: what is more is dropped.
	Transactions int `yaml:"transactions"`
	// MessagesPerAddress a second, until a user behind it has proved to be one; eight
	// seconds' worth at once: an office of 40 phones that start together. What is
	// more is dropped.
	MessagesPerAddress int `yaml:"messages_per_address"`
	// InvitesPerAddress a minute, of callers who have proved nothing; 60 at once. Who
	// calls more often is a machine.
	InvitesPerAddress int `yaml:"invites_per_address"`
	// MessagesOfStrangers a second, of all addresses together where no user has proved to
	// be one: a third of what one processor does. What is more is dropped, so that
	// users' calls find room in every flood.
	MessagesOfStrangers int `yaml:"messages_of_strangers"`
	// RequestsPerUser a second, with the user's password; five seconds' worth at
	// once. More is answered 503.
	RequestsPerUser int `yaml:"requests_per_user"`
	// Ban is how long an address is not heard that guesses passwords or sends
	// what is no SIP. "sotto bans list" shows which, "sotto bans clear" ends it.
	Ban time.Duration `yaml:"ban"`
	// Exempt are addresses to which none of these five applies, as none does to peers:
	// a load balancer, a load test.
	Exempt []Prefix `yaml:"exempt"`
}

// Log configures the log.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is text or json.
	Format string `yaml:"format"`
}

// Default is the configuration without a file.
func Default() Config {
	return Config{
		Domains: []string{"localhost"},
		Listen: []Listen{
			{"udp", netip.MustParseAddrPort("127.0.0.1:5060")},
			{"tcp", netip.MustParseAddrPort("127.0.0.1:5060")},
			{"tls", netip.MustParseAddrPort("127.0.0.1:5061")},
		},
		DataDir: "data",
		Media: Media{
			Ports: Ports{20000, 29999}, Rest: 10 * time.Second,
			SilenceTimeout: 60 * time.Second, HalfTimeout: time.Hour, Plane: "auto",
			Pin: "/sys/fs/bpf/sotto", Pause: time.Millisecond,
		},
		Strangers: "uniform", Foreign: "off",
		Register:     Register{Min: time.Minute, Max: 2 * time.Hour, Default: time.Hour, PerUser: 10},
		Notice:       Notice{MinDelay: 2 * time.Second, MaxDelay: 20 * time.Second},
		FeatureCodes: FeatureCodes{WindowOpen: "*62", WindowClose: "*63", Window: 30 * time.Minute},
		Shutdown:     30 * time.Second,
		Log:          Log{Level: "info", Format: "text"},
	}
}
