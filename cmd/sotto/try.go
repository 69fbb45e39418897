package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/store"
	"sotto/tokens"
)

// tryCmd runs the whole server on loopback, with users and tokens to try.
type tryCmd struct {
	Port *int   `help:"SIP port for UDP and TCP, 5060 or with --demo any free one; TLS is the next." placeholder:"PORT"`
	Host string `help:"Address to listen on." default:"127.0.0.1"`
	Keep string `help:"Keep the data in this directory; else it is gone at the end." type:"path"`
	Demo bool   `help:"Play the four calls with built-in phones, show what each party saw, and end."`
}

// tryDomain is the domain of the demo users; RFC 2606 keeps it free.
const tryDomain = "sotto.example"

// tryPassword is the password of all of them: it is printed, and good on this
// machine only.
const tryPassword = "try-me"

// Run implements the verb.
func (c *tryCmd) Run(t *tell) error {
	signals, stop := catch()
	defer stop()
	dir, cleanup, err := c.dir()
	if err != nil {
		return err
	}
	defer cleanup()
	cfg, err := c.config(dir)
	if err != nil {
		return err
	}
	s, err := openServer(cfg)
	if err != nil {
		return err
	}
	defer s.close()
	d, err := furnish(s.store, filepath.Join(dir, "bob.key"))
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if c.Demo {
		return d.play(t, s, signals)
	}
	phones, err := filepath.Abs(filepath.Join(dir, "phones"))
	if err != nil {
		return err
	}
	if err := handsets(phones, d.users(), s.bound[1].Addr); err != nil {
		return err
	}
	d.print(t, s, phones)
	s.untilSignal(t, signals, "")
	return nil
}

// dir is where the trial keeps its data.
func (c *tryCmd) dir() (string, func(), error) {
	if c.Keep != "" {
		return c.Keep, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "sotto-try-")
	if err != nil {
		return "", nil, fmt.Errorf("making a directory: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// config is the configuration of the trial.
func (c *tryCmd) config(dir string) (configs.Config, error) {
	ip, err := netip.ParseAddr(c.Host)
	port := c.port()
	switch {
	case err != nil || port < 0 || port > 65534:
		return configs.Config{}, hint(fmt.Errorf("%s and %d are no address and port", c.Host, port),
			"sotto try --host 127.0.0.1 --port 5060")
	case ip.IsUnspecified():
		return configs.Config{}, hint(fmt.Errorf("phones cannot be sent to %s", ip),
			"name an address of this machine that they reach, as sotto try --host 192.0.2.1")
	case c.Demo && !ip.Is4():
		return configs.Config{}, hint(errors.New("the demo's phones speak IPv4"), "leave out --host")
	}
	at := func(transport string, port int) configs.Listen {
		return configs.Listen{Transport: transport, Addr: netip.AddrPortFrom(ip, uint16(port))}
	}
	cfg := configs.Default()
	cfg.Domains, cfg.DataDir = []string{tryDomain}, dir
	cfg.Listen = []configs.Listen{at("udp", port), at("tcp", port)}
	if port > 0 {
		cfg.Listen = append(cfg.Listen, at("tls", port+1))
	}
	cfg.Log.Level = "warn"
	cfg.Shutdown = time.Second
	if c.Demo {
		cfg.Notice = configs.Notice{MinDelay: 200 * time.Millisecond, MaxDelay: 400 * time.Millisecond}
	}
	return cfg, nil
}

// port is the SIP port: the usual one for a person to dial, any for the demo.
func (c *tryCmd) port() int {
	switch {
	case c.Port != nil:
		return *c.Port
	case c.Demo:
		return 0
	}
	return 5060
}

// A demo is what the trial has set up.
type demo struct {
	alice, bob, carol, mallory aor.AOR
	carols                     tokens.Token // bob's, for carol
	revoked, expired           tokens.Token
	forOther                   tokens.Token // alice's, for carol
}

// users are everybody, in the order in which they are told.
func (d *demo) users() []aor.AOR { return []aor.AOR{d.alice, d.bob, d.carol, d.mallory} }

// furnish adds the demo users: alice is always protected, bob silences
// strangers, carol has a token of bob's, mallory has none.
func furnish(s *store.Store, keyFile string) (*demo, error) {
	d := &demo{}
	for name, a := range map[string]*aor.AOR{
		"alice": &d.alice, "bob": &d.bob, "carol": &d.carol, "mallory": &d.mallory,
	} {
		var err error
		if *a, err = aor.New(name, tryDomain); err != nil {
			return nil, err
		}
		if _, there := s.User(*a); there {
			continue
		}
		if err := s.AddUser(*a, tryPassword); err != nil {
			return nil, err
		}
	}
	for _, set := range []struct {
		who         aor.AOR
		name, value string
	}{
		{d.alice, "protect_ip", "always"},
		{d.bob, "silence_strangers", "on"},
		{d.carol, "protect_ip", "never"},
		{d.bob, "protect_ip", "strangers"},
	} {
		if err := s.SetSetting(set.who, set.name, set.value); err != nil {
			return nil, err
		}
	}
	return d, d.issue(s, keyFile)
}

// issue makes the tokens of the demo, and bob's key unless an earlier trial
// on the same data has made it.
func (d *demo) issue(s *store.Store, keyFile string) error {
	key, err := keptKey(keyFile)
	if err != nil {
		return err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return fmt.Errorf("key has no public half")
	}
	if err := s.AddKey(d.bob, public, "demo"); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	now := time.Now()
	for _, want := range []struct {
		to      *tokens.Token
		as, who aor.AOR
		at      time.Time
	}{
		{&d.carols, d.bob, d.carol, now},
		{&d.revoked, d.bob, d.carol, now},
		{&d.forOther, d.alice, d.carol, now},
		{&d.expired, d.bob, d.carol, now.Add(-60 * 24 * time.Hour)},
	} {
		g := tokens.Grant{Recipient: want.as, Caller: want.who, Expires: want.at.Add(tokens.Life)}
		if *want.to, err = tokens.Issue(key, g, want.at); err != nil {
			return err
		}
	}
	return s.Revoke(d.bob, d.revoked.Salt(), d.revoked.Expires())
}

// keptKey reads a key, and makes it if it is not there.
func keptKey(file string) (ed25519.PrivateKey, error) {
	if _, err := os.Stat(file); err == nil {
		return readKey(file)
	}
	key, err := tokens.NewKey()
	if err != nil {
		return nil, err
	}
	return key, writeKey(file, key)
}
