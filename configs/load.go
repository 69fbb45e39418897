package configs

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sotto/internal/aor"
)

// Load reads a configuration file over the defaults. An unknown key is an
// error, as is a value that cannot be right; the error names file, line and
// key, and says what to do.
func Load(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	return parse(path, raw)
}

// parse reads the text of a configuration file.
func parse(path string, raw []byte) (Config, error) {
	c, d := Default(), document{lines: map[string]int{}}
	if err := d.decode(raw, &c); err != nil {
		return Config{}, d.at(path, err)
	}
	if err := c.check(); err != nil {
		return Config{}, d.at(path, err)
	}
	return c, nil
}

// check refuses values that cannot be right, and brings domains into the form
// in which addresses have them.
func (c *Config) check() error {
	for _, rule := range []func() error{
		c.checkDomains, c.checkAdvertise, c.checkListen, c.checkValues, c.checkCodes, c.checkPeers,
	} {
		if err := rule(); err != nil {
			return err
		}
	}
	return nil
}

// checkDomains refuses lists that have something else than domains.
func (c *Config) checkDomains() error {
	if len(c.Domains) == 0 {
		return &problem{key: "domains", what: "name at least one domain"}
	}
	for _, list := range []struct {
		key string
		all []string
	}{{"domains", c.Domains}, {"known_domains", c.KnownDomains}, {"foreign_domains", c.ForeignDomains}} {
		for i, text := range list.all {
			host, ok := hostOf(text)
			if !ok {
				return &problem{
					key:  fmt.Sprintf("%s[%d]", list.key, i),
					what: fmt.Sprintf("%q is no domain; write one as example.com", text),
				}
			}
			list.all[i] = host
		}
	}
	for i, d := range c.StrangersIn {
		if !slices.Contains(c.Domains, d.Domain) {
			return &problem{
				key:  fmt.Sprintf("strangers_in[%d]", i),
				what: fmt.Sprintf("%q is not served here; name one of domains", d.Domain),
			}
		}
	}
	if len(c.ForeignDomains) > 0 && c.Foreign == "off" {
		return &problem{key: "foreign_domains", what: "counts only with foreign: allow; write that too, or leave it out"}
	}
	return nil
}

// hostOf is the canonical form of a host without a port.
func hostOf(text string) (string, bool) {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err != nil && strings.Contains(text, ":") {
		return "", false
	}
	a, err := aor.New("x", text)
	return a.Host(), err == nil
}

// checkAdvertise refuses what no phone could send to.
func (c *Config) checkAdvertise() error {
	_, ok := hostOf(c.Advertise)
	ip, err := netip.ParseAddr(strings.Trim(c.Advertise, "[]"))
	if c.Advertise == "" || ok && (err != nil || !ip.IsUnspecified()) {
		return nil
	}
	return &problem{
		key:  "advertise",
		what: fmt.Sprintf("%q is no host; write a name or an address without a port, as sip.example.com", c.Advertise),
	}
}

// checkListen refuses listeners that would be in each other's way.
func (c *Config) checkListen() error {
	if len(c.Listen) == 0 {
		return &problem{key: "listen", what: "name at least one listener, as udp:0.0.0.0:5060"}
	}
	stream := func(l Listen) string { return strings.Replace(l.Transport, "tls", "tcp", 1) }
	for i, l := range c.Listen {
		j := slices.IndexFunc(c.Listen[:i], func(o Listen) bool { return stream(o) == stream(l) && overlap(o.Addr, l.Addr) })
		if j >= 0 {
			return &problem{
				key: fmt.Sprintf("listen[%d]", i),
				what: fmt.Sprintf("listen[%d] has this address and port already; tcp and tls each need their own, "+
					"0.0.0.0 is all of IPv4 and [::] all there are", j),
			}
		}
		if m := c.Metrics.AddrPort; l.Transport != "udp" && m.IsValid() && overlap(l.Addr, m) {
			return &problem{
				key:  "metrics",
				what: fmt.Sprintf("listen[%d] has this address and port already; write another, as 127.0.0.1:9464", i),
			}
		}
	}
	return nil
}

// overlap says that nobody can listen on both: they are the same, or one is
// all addresses of the other's family, which :: is of both.
func overlap(a, b netip.AddrPort) bool {
	has := func(all, one netip.Addr) bool {
		return all == one || all == netip.IPv6Unspecified() || all == netip.IPv4Unspecified() && one.Is4()
	}
	return a.Port() == b.Port() && a.Port() != 0 && (has(a.Addr(), b.Addr()) || has(b.Addr(), a.Addr()))
}

// checkValues refuses single values, and pairs of them, that cannot be right.
func (c *Config) checkValues() error {
	for _, rule := range []struct {
		key string
		ok  bool
		do  string
	}{
		{"data_dir", c.DataDir != "", "name a directory"},
		{"tls.cert", c.TLS.Cert != "" || c.TLS.Key == "", "is missing beside tls.key; name both files, or none"},
		{"tls.key", c.TLS.Key != "" || c.TLS.Cert == "", "is missing beside tls.cert; name both files, or none"},
		{"protect_ip", oneOf(c.ProtectIP, "", "always"), `write "always", or leave it out`},
		{"strangers", oneOf(c.Strangers, "uniform", "honest"), `write "uniform" or "honest"`},
		{"foreign", oneOf(c.Foreign, "off", "allow"), `write "off" or "allow"`},
		{"register.min", c.Register.Min >= time.Second, "write a time of a second or more, as 60s"},
		{"register.max", c.Register.Max >= c.Register.Min, "must not be below register.min"},
		{
			"register.default", c.Register.Default >= c.Register.Min && c.Register.Default <= c.Register.Max,
			"must be between register.min and register.max",
		},
		{"register.per_user", c.Register.PerUser > 0, "must be at least 1"},
		{"notice.max_delay", c.Notice.MaxDelay >= c.Notice.MinDelay, "must not be below notice.min_delay"},
		{"media.ports", c.Media.Ports.Max-c.Media.Ports.Min >= 3, "has too few; a relayed call needs four"},
		{"media.addresses", reachesAll(c.Media.Addresses), "has only addresses for networks; name one for all others"},
		{"media.plane", oneOf(c.Media.Plane, "auto", "kernel", "user"), `write "auto", "kernel" or "user"`},
		{"media.coalesce", c.Media.Coalesce >= 0 && c.Media.Coalesce <= 10*time.Millisecond, "write a time from 0s to 10ms"},
		{"media.pause", c.Media.Pause >= 0 && c.Media.Pause <= 10*time.Millisecond, "write a time from 0s to 10ms"},
		{"log.level", oneOf(c.Log.Level, "debug", "info", "warn", "error"), "write debug, info, warn or error"},
		{"log.format", oneOf(c.Log.Format, "text", "json"), "write text or json"},
	} {
		if !rule.ok {
			return &problem{key: rule.key, what: rule.do}
		}
	}
	return nil
}

// reachesAll says that there is an address for whoever is in none of the networks.
func reachesAll(all []MediaAddress) bool {
	return len(all) == 0 || slices.ContainsFunc(all, func(a MediaAddress) bool { return !a.For.IsValid() })
}

// longestWindow is the longest that a store keeps open (package store).
const longestWindow = 24 * time.Hour

// checkCodes refuses feature codes that a phone cannot dial, or that mean two things.
func (c *Config) checkCodes() error {
	f := c.FeatureCodes
	for _, code := range []struct{ key, text string }{{"window_open", f.WindowOpen}, {"window_close", f.WindowClose}} {
		if code.text != "off" && (code.text == "" || len(code.text) > 16 || strings.Trim(code.text, "0123456789*#") != "") {
			return &problem{
				key:  "feature_codes." + code.key,
				what: fmt.Sprintf("%q cannot be dialled; write digits, * and #, as \"*62\", or off", code.text),
			}
		}
	}
	switch {
	case f.WindowOpen == f.WindowClose && f.WindowOpen != "off":
		return &problem{key: "feature_codes.window_close", what: "is window_open already; give each its own"}
	case f.Window < time.Minute || f.Window > longestWindow:
		return &problem{key: "feature_codes.window", what: "write a time from 1m to 24h"}
	}
	return nil
}

// checkPeers refuses peers that cannot be recognised or reached.
func (c *Config) checkPeers() error {
	names := map[string]bool{"": true}
	for i, p := range c.Peers {
		key := fmt.Sprintf("peers[%d]", i)
		switch {
		case p.Name == "":
			return &problem{key: key + ".name", what: "give each peer a name"}
		case names[p.Name]:
			return &problem{key: key + ".name", what: fmt.Sprintf("another peer is named %q; give each its own", p.Name)}
		}
		names[p.Name] = true
		if err := p.check(key, c.TLS.ClientCA != ""); err != nil {
			return err
		}
	}
	for _, use := range []struct{ key, name string }{{"default_route", c.DefaultRoute}, {"voicemail", c.Voicemail}} {
		if !names[use.name] {
			return &problem{key: use.key, what: fmt.Sprintf("no peer is named %q; peers has their names", use.name)}
		}
	}
	return c.checkVoicemail()
}

// checkVoicemail refuses a voicemail server that cannot be called.
func (c *Config) checkVoicemail() error {
	for _, p := range c.Peers {
		if p.Name == c.Voicemail && p.Target == "" {
			return &problem{key: "voicemail", what: fmt.Sprintf("peer %q has no target; write where to call it", p.Name)}
		}
	}
	return nil
}

// check refuses a peer that cannot be recognised or reached.
func (p Peer) check(key string, certificates bool) error {
	recognised := len(p.Addresses) > 0 || p.TLSName != ""
	for i, a := range p.Addresses {
		if a.Bits() == 0 {
			return &problem{key: fmt.Sprintf("%s.addresses[%d]", key, i), what: "is everybody; name the peer's own addresses"}
		}
	}
	switch {
	case !recognised && p.Target == "":
		return &problem{key: key, what: "needs addresses or tls_name to call in, or a target to be called"}
	case !recognised && p.Trusted:
		return &problem{key: key + ".trusted", what: "needs addresses or tls_name, by which the peer is recognised"}
	case !recognised && p.PSAP:
		return &problem{key: key + ".psap", what: "needs addresses or tls_name, by which the peer is recognised"}
	case p.TLSName != "" && !certificates:
		return &problem{key: key + ".tls_name", what: "needs tls.client_ca, which says whose certificates count"}
	case p.Target != "" && !sipTarget(p.Target):
		return &problem{
			key:  key + ".target",
			what: fmt.Sprintf("%q is no SIP URI; write one as sip:192.0.2.9:5060", p.Target),
		}
	}
	return nil
}

// sipTarget says that a text is a SIP URI with a host, to whose port something can be sent.
func sipTarget(text string) bool {
	scheme, rest, _ := strings.Cut(text, ":")
	if !oneOf(strings.ToLower(scheme), "sip", "sips") {
		return false
	}
	if i := strings.IndexAny(rest, ";?"); i >= 0 {
		rest = rest[:i]
	}
	at := rest[strings.LastIndexByte(rest, '@')+1:]
	_, err := aor.New("x", at)
	return err == nil && portIsGood(at)
}

// portIsGood says that a host has a port to which something can be sent, or none.
func portIsGood(host string) bool {
	i := strings.LastIndexByte(host, ':')
	if i < strings.LastIndexByte(host, ']') || i < 0 {
		return true
	}
	port, err := strconv.ParseUint(host[i+1:], 10, 16)
	return err == nil && port > 0
}

func oneOf(s string, words ...string) bool { return slices.Contains(words, s) }
