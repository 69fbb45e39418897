package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/proxy/leaktest"
	"sotto/store"
)

// leaktestCmd plays calls between two built-in phones over a server and lists
// what each learnt of the other.
type leaktestCmd struct {
	Against   string   `help:"Any SIP server; else a Sotto on loopback, for this test alone." placeholder:"HOST:PORT"`
	Transport string   `help:"udp, tcp or tls." enum:"udp,tcp,tls" default:"udp"`
	CA        string   `help:"With tls: the certificates to trust, else the system's." type:"path" placeholder:"FILE"`
	User      []string `help:"A user of the server, as alice@example.com. Give two." placeholder:"USER"`
	Password  []string `help:"Their passwords, in the same order." placeholder:"PASSWORD" env:"SOTTO_LEAKTEST_PASSWORDS"`
	Local     []string `help:"The phones' addresses; else those that the system chooses." placeholder:"IP"`
	Verbose   bool     `help:"Tell of each play what leaked, in which message and form." short:"v"`
}

// Errors of the verb, beside those of a wrong command line.
var (
	errUnplayed = errors.New("nothing was found out")
	errLeaked   = errors.New("a party of a call learnt what the other did not mean to tell")
)

// Run implements the verb.
func (c *leaktestCmd) Run(t *tell) error {
	signals, stop := catch()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	cfg, end, err := c.prepare(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnplayed, err)
	}
	defer end()
	t.say("%d scenarios over %s %s, each begun by %s and by %s:\n",
		leaktest.Scenarios(), c.Transport, cfg.Server, cfg.Accounts[0].User, cfg.Accounts[1].User)
	plays, err := leaktest.Run(ctx, cfg, func(both [2]leaktest.Play) { c.progress(t, cfg, both) })
	if err != nil {
		return hint(fmt.Errorf("%w: %w", errUnplayed, err),
			"both users must be there, with these passwords, and each must be able to call the other")
	}
	return concluded(t, cfg, plays)
}

// prepare makes a server where none is named, and reads the accounts.
func (c *leaktestCmd) prepare(ctx context.Context) (leaktest.Config, func(), error) {
	if c.Against == "" {
		return c.own()
	}
	cfg := leaktest.Config{Transport: c.Transport}
	host, port, err := net.SplitHostPort(c.Against)
	if err != nil {
		return cfg, nil, hint(fmt.Errorf("%q is no host and port", c.Against), "sotto leaktest --against 192.0.2.1:5060")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return cfg, nil, hint(fmt.Errorf("%q is no port", port), "sotto leaktest --against 192.0.2.1:5060")
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return cfg, nil, hint(err, "name the server by its address")
	}
	cfg.Server = netip.AddrPortFrom(ips[0].Unmap(), uint16(n))
	if err := c.accounts(&cfg); err != nil {
		return cfg, nil, err
	}
	cfg.ServerName = cfg.Accounts[0].Domain // RFC 5922 §7.1
	err = c.trust(&cfg, c.CA)
	return cfg, func() {}, err
}

// trust reads the certificates that the phones trust.
func (c *leaktestCmd) trust(cfg *leaktest.Config, file string) error {
	if c.Transport != "tls" {
		return nil
	}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading certificates: %w", err)
	}
	cfg.TLS.RootCAs = x509.NewCertPool()
	if !cfg.TLS.RootCAs.AppendCertsFromPEM(text) {
		return hint(fmt.Errorf("%s has no certificate", file), "it must be PEM")
	}
	return nil
}

// accounts reads the users and where their phones are.
func (c *leaktestCmd) accounts(cfg *leaktest.Config) error {
	if len(c.User) != 2 || len(c.Password) > 2 || len(c.Local) > 2 {
		return hint(fmt.Errorf("%d users were named", len(c.User)),
			"sotto leaktest --against HOST:PORT --user alice@example.com --password A --user bob@example.com --password B")
	}
	locals, err := c.locals(cfg.Server.Addr())
	if err != nil {
		return err
	}
	for i, text := range c.User {
		a, err := user(text)
		if err != nil {
			return err
		}
		cfg.Accounts[i] = leaktest.Account{User: a.User(), Domain: a.Host(), Local: locals[i]}
		if i < len(c.Password) {
			cfg.Accounts[i].Password = c.Password[i]
		}
	}
	return nil
}

// locals are the addresses of the phones: on loopback two, elsewhere the one
// that leads to the server unless two are named.
func (c *leaktestCmd) locals(server netip.Addr) ([2]netip.Addr, error) {
	both := [2]netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	if !server.Is4() || !server.IsLoopback() {
		conn, err := net.Dial("udp", netip.AddrPortFrom(server, 9).String()) // sends nothing
		if err != nil {
			return both, err
		}
		defer conn.Close()
		at, err := netip.ParseAddrPort(conn.LocalAddr().String())
		if err != nil {
			return both, err
		}
		both = [2]netip.Addr{at.Addr().Unmap(), at.Addr().Unmap()}
	}
	for i, text := range c.Local {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return both, hint(fmt.Errorf("%q is no address", text), "sotto leaktest --local 192.0.2.7 --local 192.0.2.8")
		}
		both[i] = a
	}
	return both, nil
}

// own starts a server of ours, with two users who are always protected.
func (c *leaktestCmd) own() (leaktest.Config, func(), error) {
	cfg := leaktest.Config{Transport: c.Transport, ServerName: tryDomain}
	dir, err := os.MkdirTemp("", "sotto-leaktest-")
	if err != nil {
		return cfg, nil, fmt.Errorf("making a directory: %w", err)
	}
	s, err := c.ownServer(dir)
	if err != nil {
		_ = os.RemoveAll(dir) // the error tells more
		return cfg, nil, err
	}
	for i, name := range []string{"alice", "bob"} {
		cfg.Accounts[i] = leaktest.Account{
			User: name, Domain: tryDomain, Password: tryPassword, Local: netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}),
		}
	}
	for _, b := range s.bound {
		if b.Transport == c.Transport {
			cfg.Server = b.Addr
		}
	}
	end := func() {
		s.close()
		_ = os.RemoveAll(dir) // what is left is in a directory for such things
	}
	if err := c.trust(&cfg, filepath.Join(dir, "tls.crt")); err != nil {
		end()
		return cfg, nil, err
	}
	return cfg, end, nil
}

// ownServer starts the server in a directory.
func (c *leaktestCmd) ownServer(dir string) (*server, error) {
	cfg, err := (&tryCmd{Host: "127.0.0.1", Demo: true}).config(dir)
	if err != nil {
		return nil, err
	}
	cfg.Listen = append(cfg.Listen, configs.Listen{Transport: "tls", Addr: cfg.Listen[0].Addr})
	s, err := openServer(cfg)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"alice", "bob"} {
		if err := protectedUser(s.store, name); err != nil {
			s.close()
			return nil, err
		}
	}
	if err := s.start(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// protectedUser adds a user whose address is always protected.
func protectedUser(s *store.Store, name string) error {
	a, err := aor.New(name, tryDomain)
	if err != nil {
		return err
	}
	return errors.Join(s.AddUser(a, tryPassword), s.SetSetting(a, "protect_ip", "always"))
}

// progress tells how a scenario went.
func (c *leaktestCmd) progress(t *tell, cfg leaktest.Config, both [2]leaktest.Play) {
	how := "nothing leaked"
	if leaktest.Table(both[:]) != nil {
		how = "LEAKED"
	}
	t.say("  %-*s  %s", widest, both[0].Scenario, how)
	for _, p := range both {
		if p.Err != nil {
			t.say("    by %s, not to its end: %s", cfg.Accounts[p.By].User, strings.ReplaceAll(p.Err.Error(), "\n", "; "))
		}
		for i, found := range p.Found {
			for _, f := range found {
				if c.Verbose {
					t.say("    by %s: %s received in %s, %s: the %s of %s as %s", cfg.Accounts[p.By].User,
						cfg.Accounts[i].User, f.In, f.Where, leaktest.What(f.Marker), cfg.Accounts[1-i].User, f.Form)
				}
			}
		}
	}
}

// concluded prints the table of what leaked. The error says that something did.
func concluded(t *tell, cfg leaktest.Config, plays []leaktest.Play) error {
	rows := leaktest.Table(plays)
	short := 0
	for _, p := range plays {
		if p.Err != nil {
			short++
		}
	}
	t.say("\n%d plays, %d of them not to their end", len(plays), short)
	if len(rows) == 0 {
		t.say("Nothing leaked.")
		return nil
	}
	a, b := cfg.Accounts[0].User, cfg.Accounts[1].User
	t.say("")
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "where\t\t%s learnt of %s\t%s learnt of %s\tplays\n", b, a, a, b)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", r.Kind, r.Place, listed(r.Of[0]), listed(r.Of[1]), r.Plays)
	}
	_ = w.Flush() // to a terminal
	t.say("\nLeaked in %d headers, %d lines of SDP, %d other bodies, %d items of RTCP, %d other places.",
		leaktest.Count(rows, leaktest.Header), leaktest.Count(rows, leaktest.SDP), leaktest.Count(rows, leaktest.Body),
		leaktest.Count(rows, leaktest.RTCP), leaktest.Count(rows, leaktest.Packet))
	return errLeaked
}

// listed is a cell of the table.
func listed(what []string) string {
	if len(what) == 0 {
		return nothing
	}
	return strings.Join(what, ", ")
}
