package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sotto/configs"
	"sotto/location"
	"sotto/proxy"
	"sotto/rtpengine"
	"sotto/store"
)

// A server is everything that runs behind `sotto serve` and `sotto try`.
type server struct {
	cfg     configs.Config
	log     *slog.Logger
	level   slog.LevelVar
	store   *store.Store
	loc     *location.Table
	engine  *rtpengine.Engine
	proxy   *proxy.Proxy
	metrics *metricsServer              // nil: off
	told    atomic.Pointer[proxy.Proxy] // of media, which may come before there is a proxy
	ctl     *ctlServer
	bound   []proxy.Bound
	files   budget
	pair    *keyPair // nil without TLS
	release func()   // of the data directory
	follows bool     // another program, in this process
	did     []string // what the first start made, for the operator
}

// openServer builds store, location, engine and proxy, in that order. On an
// error what was opened is closed again.
func openServer(cfg configs.Config) (*server, error) {
	s := &server{cfg: cfg}
	s.log = newLog(cfg.Log, &s.level)
	if err := s.openAll(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) openAll() error {
	if err := s.openData(); err != nil {
		return err
	}
	media := s.engineConfig()
	s.room(&media)
	var err error
	if s.engine, err = rtpengine.New(media); err != nil {
		return hint(fmt.Errorf("starting media engine: %w", err),
			"a server that listens on all addresses must be told where phones reach it: media: {addresses: [192.0.2.1]}")
	}
	kept, err := s.store.Media()
	if err != nil {
		return fmt.Errorf("reading media sessions: %w", err)
	}
	if n := s.engine.Restore(kept); n > 0 {
		s.log.Info("calls of the last run go on", "media sessions", n)
	}
	tlsConfig, err := s.certificate()
	if err != nil {
		return err
	}
	s.proxy, err = proxy.New(proxy.Options{
		Config: s.cfg, Store: s.store, Location: s.loc, Engine: s.engine, TLS: tlsConfig, Log: s.log,
	})
	s.told.Store(s.proxy)
	return err
}

// room shares the descriptors that this process may have between media and
// connections.
func (s *server) room(media *rtpengine.Config) {
	s.files = budgetOf(s.cfg)
	enlarge(s.files.total())
	s.cfg.Limits.Connections, media.MaxSockets = s.files.connections, s.files.sockets
}

// openData makes the data directory, opens the store and takes the bindings
// of the last run from it.
func (s *server) openData() error {
	if _, err := os.Stat(s.cfg.DataDir); os.IsNotExist(err) {
		s.did = append(s.did, "made data directory "+s.cfg.DataDir)
	}
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return hint(fmt.Errorf("making data directory: %w", err), "set data_dir to a directory that this user may write")
	}
	var err error
	s.release, err = claim(s.cfg.DataDir)
	switch {
	case errors.Is(err, errClaimed):
		return hint(err, "stop it, or set another data_dir")
	case err != nil:
		return err
	}
	if s.store, err = openStore(s.cfg.DataDir, s.log); err != nil {
		return err
	}
	s.loc = location.New(location.Limits{PerAOR: s.cfg.Register.PerUser})
	snapshot, err := s.store.Snapshot("bindings")
	if err != nil {
		return fmt.Errorf("reading bindings: %w", err)
	}
	if err := s.loc.Restore(snapshot, time.Now()); err != nil {
		s.log.Warn("bindings of the last run are unreadable; phones will register again", "err", err)
	}
	return nil
}

// storeFile is where a server keeps what must not be lost.
func storeFile(dataDir string) string { return filepath.Join(dataDir, "sotto.db") }

// openStore opens the store of a data directory.
func openStore(dataDir string, log *slog.Logger) (*store.Store, error) {
	st, err := store.Open(context.Background(), storeFile(dataDir), log)
	if err != nil {
		return nil, hint(fmt.Errorf("opening store: %w", err),
			"if the disk is full, free some space; if the file is damaged, restore it from a backup")
	}
	return st, nil
}

// engineConfig is the operator's media section in the engine's words.
func (s *server) engineConfig() rtpengine.Config {
	m := s.cfg.Media
	everybody, networks := relayAddresses(s.cfg)
	c := rtpengine.Config{
		Addresses: everybody, Networks: networks, PortMin: m.Ports.Min, PortMax: m.Ports.Max, Rest: m.Rest,
		MaxSessions:    m.MaxSessions,
		SilenceTimeout: m.SilenceTimeout, HalfTimeout: m.HalfTimeout, Keep: s.store.KeepMedia, Log: s.log,
		Pause: m.Pause, Coalesce: m.Coalesce, Plane: rtpengine.Plane(m.Plane), Pin: m.Pin,
		Timeout: func(id rtpengine.ID, why rtpengine.Reason) {
			if p := s.told.Load(); p != nil {
				p.MediaDead(id, why)
			}
		},
		Reported: func(id rtpengine.ID, to rtpengine.Side, packet []byte, secret bool) {
			if p := s.told.Load(); p != nil {
				p.Reported(id, to, packet, secret)
			}
		},
	}
	return c
}

// relayAddresses are the addresses to relay on: where the operator names none,
// those that SIP listens on.
func relayAddresses(cfg configs.Config) (everybody []rtpengine.Address, networks []rtpengine.Network) {
	for _, m := range cfg.Media.Addresses {
		a := rtpengine.Address{Local: m.Local, Advertised: m.Advertised}
		if m.For.IsValid() {
			networks = append(networks, rtpengine.Network{Prefix: m.For, Address: a})
			continue
		}
		everybody = append(everybody, a)
	}
	if len(cfg.Media.Addresses) > 0 {
		return everybody, networks
	}
	seen := map[netip.Addr]bool{}
	for _, l := range cfg.Listen {
		ip := l.Addr.Addr()
		if ip.IsUnspecified() || seen[ip] {
			continue
		}
		seen[ip] = true
		everybody = append(everybody, rtpengine.Address{Local: ip, Advertised: ip})
	}
	return everybody, nil
}

// start opens the listeners and, as the last, the control socket: who can ask
// the server finds all of it.
func (s *server) start() error {
	var err error
	if s.bound, err = s.proxy.Start(); err != nil {
		return bindHint(err, "listen (sotto try: --port)")
	}
	if s.cfg.Metrics.IsValid() {
		if s.metrics, err = serveMetrics(s); err != nil {
			return err
		}
	}
	s.ctl, err = serveCtl(s)
	return err
}

// bindHint adds to the error of a listener what to do about it; key is where
// the operator has written its address.
func bindHint(err error, key string) error {
	name, _, _ := strings.Cut(key, " ")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(err, "end the program that has this port, or set another with %s", key)
	case errors.Is(err, syscall.EACCES):
		return hint(err, "ports below 1024 are for root; set another with %s", name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint(err, "set %s to an address of this machine, or to 0.0.0.0 for all", name)
	}
	return err
}

// close ends everything, in the reverse order of its start.
func (s *server) close() {
	if s.ctl != nil {
		s.ctl.close()
	}
	if s.metrics != nil {
		s.metrics.close()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	switch {
	case s.engine == nil:
	case s.follows:
		s.engine.HandOver()
	default:
		s.engine.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Error("store not closed cleanly", "err", err)
		}
	}
	if s.release != nil {
		s.release()
	}
}

// reload takes from the files what can change while the server runs: how
// much is logged, and the certificate. The rest keeps until a restart.
func (s *server) reload(t *tell, path string) {
	cfg, err := loadConfig(path)
	if err != nil {
		t.warn("configuration not re-read: %v", err)
		return
	}
	setLevel(&s.level, cfg.Log.Level)
	read := "log level is " + cfg.Log.Level
	if s.pair != nil {
		if err := s.pair.load(); err != nil {
			t.warn("the certificate of before goes on: %v", err)
		} else {
			read += "; certificate read again"
		}
	}
	t.say("%s; anything else in the file needs a restart", read)
}

// announce tells the operator what runs, and what the first start made.
func (s *server) announce(t *tell) {
	s.logRoom()
	for _, d := range s.did {
		t.say("%s", d)
	}
	for _, b := range s.bound {
		t.say("listening on %s %s", b.Transport, b.Addr)
	}
	if s.metrics != nil {
		t.say("metrics at http://%s%s", s.metrics.addr, metricsPath)
	}
	t.say("serving %s; data in %s", strings.Join(s.cfg.Domains, ", "), s.cfg.DataDir)
	if len(s.store.Users()) == 0 {
		var data string
		if s.cfg.DataDir != configs.Default().DataDir {
			data = " --data " + s.cfg.DataDir
		}
		t.say("no users yet; sotto user add NAME@%s%s adds one", s.cfg.Domains[0], data)
	}
}

// logRoom says how many calls can be relayed at a time; that descriptors bound
// them, and not what the operator wrote, is worth a warning.
func (s *server) logRoom() {
	calls, bound := s.engine.Room()
	say := s.log.Info
	if bound == rtpengine.Descriptors {
		say = s.log.Warn
	}
	say("room for relayed calls", "calls", calls, "bound", bound, "descriptors", s.files.limit,
		"for_media", s.files.sockets, "for_connections", s.files.connections)
}
