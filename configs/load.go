package configs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
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
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(raw), yaml.DisallowUnknownField())
	if err := dec.Decode(&c); err != nil && len(bytes.TrimSpace(raw)) > 0 {
		return Config{}, fmt.Errorf("%s:%w", path, located(err))
	}
	if key, err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s:%d: %s: %w", path, lineOf(raw, key), key, err)
	}
	return c, nil
}

// located puts a YAML error into the form "line:column: what".
func located(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return err
	}
	pos := ye.GetToken().Position
	what := ye.GetMessage()
	if strings.HasPrefix(what, "unknown field") {
		what += "; sotto.yaml shows all keys"
	}
	return fmt.Errorf("%d:%d: %s", pos.Line, pos.Column, what)
}

// lineOf is the line of a top-level key, 1 if it is not there.
func lineOf(raw []byte, key string) int {
	top, _, _ := strings.Cut(key, ".")
	for i, line := range strings.Split(string(raw), "\n") {
		if strings.HasPrefix(line, top+":") {
			return i + 1
		}
	}
	return 1
}

// check refuses values that cannot be right, and names the key.
func (c Config) check() (key string, err error) {
	for _, rule := range []struct {
		key string
		ok  bool
		do  string
	}{
		{"domains", len(c.Domains) > 0, "name at least one domain"},
		{"domains", !slices.Contains(c.Domains, ""), "a domain is empty"},
		{"listen", len(c.Listen) > 0, "name at least one listener, as udp:0.0.0.0:5060"},
		{"data_dir", c.DataDir != "", "name a directory"},
		{"tls", (c.TLS.Cert == "") == (c.TLS.Key == ""), "cert and key go together"},
		{"protect_ip", c.ProtectIP == "" || c.ProtectIP == "always", `write "always", or leave it out`},
		{"strangers", oneOf(c.Strangers, "uniform", "honest"), `write "uniform" or "honest"`},
		{"foreign", oneOf(c.Foreign, "off", "allow"), `write "off" or "allow"`},
		{"register.min", c.Register.Min >= time.Second, "write a time as 60s"},
		{"register.max", c.Register.Max >= c.Register.Min, "must not be below register.min"},
		{"register.per_user", c.Register.PerUser > 0, "must be at least 1"},
		{"notice.min_delay", c.Notice.MinDelay >= 0, "must not be negative"},
		{"notice.max_delay", c.Notice.MaxDelay >= c.Notice.MinDelay, "must not be below notice.min_delay"},
		{"media.rest", c.Media.Rest >= 0, "must not be negative"},
		{"log.level", oneOf(c.Log.Level, "debug", "info", "warn", "error"), "write debug, info, warn or error"},
		{"log.format", oneOf(c.Log.Format, "text", "json"), "write text or json"},
	} {
		if !rule.ok {
			return rule.key, errors.New(rule.do)
		}
	}
	return c.checkPeers()
}

// checkPeers refuses peers that cannot be recognised or reached.
func (c Config) checkPeers() (key string, err error) {
	names := map[string]bool{"": true}
	for _, p := range c.Peers {
		switch {
		case names[p.Name]:
			return "peers", fmt.Errorf("each peer needs a name of its own, %q has none", p.Name)
		case len(p.Addresses) == 0 && p.TLSName == "" && p.Target == "":
			return "peers", fmt.Errorf("peer %s needs addresses or tls_name to call in, or a target to be called", p.Name)
		case p.Target != "" && !strings.HasPrefix(p.Target, "sip:") && !strings.HasPrefix(p.Target, "sips:"):
			return "peers", fmt.Errorf("target of peer %s is no SIP URI; write one as sip:192.0.2.9:5060", p.Name)
		}
		names[p.Name] = true
	}
	if !names[c.DefaultRoute] {
		return "default_route", fmt.Errorf("no peer is named %q", c.DefaultRoute)
	}
	return "", nil
}

func oneOf(s string, words ...string) bool { return slices.Contains(words, s) }
