// Package proxytest is a whole Sotto for tests: proxy, registrar, media
// engine and store on a network in memory and a fake clock, with four users
// and scripted phones. A test reads like a call:
//
//	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
//		s.Alice.Registers()
//		s.Bob.Registers()
//		out := s.Alice.Invites("bob")
//		in := s.Bob.IsCalled()
//		in.Rings()
//		in.Answers()
//		out.IsAnswered()
//		proxytest.Talk(out, in)
//		out.HangsUp()
//		in.IsHungUp()
//	})
//
// Whatever does not happen as told ends the test with the messages that went
// over the wire. After the script the stage waits until the server holds
// nothing any more: no transaction, call, facade, notice, media session or
// port; what does not end is reported, and so is a goroutine that is left.
package proxytest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/location"
	"sotto/proxy"
	"sotto/rtpengine"
	"sotto/store"
)

// Domain is the domain of the stage's users, and Password all their passwords.
const (
	Domain   = "sotto.example"
	Password = "open sesame"
)

// patience is how long a phone waits for what the script says (of fake time):
// longer than any timer of RFC 3261, timer C included.
const patience = 5 * time.Minute

// began is when every script begins.
var began = time.Date(2027, 1, 4, 9, 0, 0, 0, time.UTC)

// Stage is a server, its network and its users' phones.
type Stage struct {
	Alice, Bob, Carol, Mallory *Phone

	Net    *Net
	Store  *store.Store
	Proxy  *proxy.Proxy
	Engine *rtpengine.Engine

	t      *testing.T
	cfg    configs.Config
	chance func(string) io.Reader // nil: the system's
	path   string                 // of the store
	log    *slog.Logger
	loc    *location.Table
	phones []*Phone
	leaky  bool
	tls    struct{ server, phone *tls.Config }
}

// An Option changes the server's configuration.
type Option func(*configs.Config)

// Colleagues makes all users known to each other.
func Colleagues(c *configs.Config) { c.KnownDomains = []string{Domain} }

// Run runs a script on a stage of its own, on a fake clock.
func Run(t *testing.T, script func(*testing.T, *Stage), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { script(t, New(t, opts...)) })
}

// RunAgain is Run with random times that are the same in each run with the same
// seed: what then comes at another time is the server's doing, not chance's.
func RunAgain(t *testing.T, seed string, script func(*testing.T, *Stage), opts ...Option) {
	t.Helper()
	chance := func(moment string) io.Reader {
		return rand.NewChaCha8(sha256.Sum256([]byte(seed + "|" + moment)))
	}
	synctest.Test(t, func(t *testing.T) { script(t, newStage(t, chance, opts)) })
}

// New sets up a stage. It must be called inside a bubble of testing/synctest;
// at the end of the test the stage checks that nothing is left, and closes.
func New(t *testing.T, opts ...Option) *Stage {
	t.Helper()
	return newStage(t, nil, opts)
}

func newStage(t *testing.T, chance func(string) io.Reader, opts []Option) *Stage {
	t.Helper()
	time.Sleep(time.Until(began)) // a bubble begins in 2000, before Sotto's own epoch
	s := &Stage{t: t, chance: chance, cfg: config(), path: filepath.Join(dir(t), "sotto.db"), Net: newNet()}
	for _, o := range opts {
		o(&s.cfg)
	}
	s.log = slog.New(slog.NewTextHandler(s.Net.trace, &slog.HandlerOptions{Level: slog.LevelInfo}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", s.Net.trace)
		}
	})
	var err error
	s.tls.server, s.tls.phone, err = certificate()
	s.must(err)
	s.open()
	t.Cleanup(s.close)
	for _, who := range []struct {
		name string
		to   **Phone
	}{{"alice", &s.Alice}, {"bob", &s.Bob}, {"carol", &s.Carol}, {"mallory", &s.Mallory}} {
		s.must(s.Store.AddUser(user(who.name), Password))
		*who.to = s.Phone(who.name)
	}
	t.Cleanup(s.nothingLeft)
	return s
}

// dir makes a directory for the store, in memory where the system has such: a
// script proves nothing about the disk, and waits for it hundreds of times.
func dir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("/dev/shm", "sotto-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) }) // at worst it goes with the memory
	return d
}

// config is the operator's configuration of a stage.
func config() configs.Config {
	c := configs.Default()
	c.Domains = []string{Domain}
	c.Listen = []configs.Listen{
		{Transport: "udp", Addr: Server},
		{Transport: "tcp", Addr: Server},
		{Transport: "udp", Addr: Server6},
		{Transport: "tcp", Addr: Server6},
		{Transport: "tls", Addr: netip.AddrPortFrom(Server.Addr(), Server.Port()+1)},
		{Transport: "tls", Addr: netip.AddrPortFrom(Server6.Addr(), Server6.Port()+1)},
	}
	c.Media.Ports = configs.Ports{Min: 20000, Max: 20199}
	return c
}

// open starts the server on what the store has.
func (s *Stage) open() {
	s.t.Helper()
	var err error
	s.Store, err = store.Open(context.Background(), s.path, s.log)
	s.must(err)
	s.loc = location.New(location.Limits{PerAOR: s.cfg.Register.PerUser})
	snapshot, err := s.Store.Snapshot("bindings")
	s.must(err)
	s.must(s.loc.Restore(snapshot, time.Now()))
	s.Engine, err = rtpengine.New(s.engineConfig())
	s.must(err)
	media, err := s.Store.Media()
	s.must(err)
	s.Engine.Restore(media)
	s.Proxy, err = proxy.New(proxy.Options{
		Config: s.cfg, Store: s.Store, Location: s.loc, Engine: s.Engine, Log: s.log,
		Network: s.Net.Host(Server.Addr()), TLS: s.tls.server, Chance: s.chance,
	})
	s.must(err)
	_, err = s.Proxy.Start()
	s.must(err)
}

func (s *Stage) engineConfig() rtpengine.Config {
	m := s.cfg.Media
	host, host6 := Server.Addr(), Server6.Addr()
	var networks []rtpengine.Network
	for _, a := range m.Addresses {
		s.Net.Host(host, a.Local)
		networks = append(networks, rtpengine.Network{
			Prefix: a.For, Address: rtpengine.Address{Local: a.Local, Advertised: a.Advertised},
		})
	}
	return rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: host, Advertised: host}, {Local: host6, Advertised: host6}},
		Networks:  networks,
		PortMin:   m.Ports.Min, PortMax: m.Ports.Max, Rest: m.Rest, MaxSessions: m.MaxSessions,
		SilenceTimeout: m.SilenceTimeout, HalfTimeout: m.HalfTimeout, Log: s.log,
		Listen: func(a netip.AddrPort) (rtpengine.Wire, error) {
			return s.Net.Host(host).ListenPacket(a)
		},
		Keep: s.Store.KeepMedia,
		Timeout: func(id rtpengine.ID, why rtpengine.Reason) {
			s.Proxy.MediaDead(id, why)
		},
		Reported: func(id rtpengine.ID, to rtpengine.Side, packet []byte, secret bool) {
			s.Proxy.Reported(id, to, packet, secret)
		},
	}
}

// close ends the server, in the reverse order of its start.
func (s *Stage) close() {
	s.t.Helper()
	s.Proxy.Close()
	s.Engine.Close()
	s.must(s.Store.Close())
}

// Restart ends the server as a SIGKILL would, but for the store, which is
// closed properly, and starts it again. Running calls know nothing of it.
func (s *Stage) Restart() { s.Off(0) }

// Off is a Restart with a while between end and start: the quickest way to
// let days pass.
func (s *Stage) Off(d time.Duration) {
	s.t.Helper()
	s.close()
	time.Sleep(d)
	s.open()
}

// nothingLeft checks what the server holds. Calls and their media must be gone
// at once when the script is over, transactions and notices in their time. It
// closes the phones.
func (s *Stage) nothingLeft() {
	s.t.Helper()
	time.Sleep(time.Second)
	if now := s.Proxy.Totals(); !s.t.Failed() && now.Calls+now.Facades+now.Sessions+now.Ports > 0 {
		s.t.Errorf("after the script the server still holds %+v", now)
	}
	for range patience / time.Second {
		if s.t.Failed() || s.idle() {
			break
		}
		time.Sleep(time.Second)
	}
	if now := s.Proxy.Totals(); !s.t.Failed() && !s.idle() {
		s.t.Errorf("%v after the script the server still holds %+v", patience, now)
	}
	for _, p := range s.phones {
		p.Close()
	}
}

// Leaky says that the script has the server send what one party of a protected
// call knows to the other, on purpose: without it, a receipt that tells of a
// leak fails the test.
func (s *Stage) Leaky() { s.leaky = true }

// idle says that the server holds nothing but registrations, and has leaked nothing.
func (s *Stage) idle() bool {
	now := s.Proxy.Totals()
	if s.leaky {
		now.Leaks = 0
	}
	now.Bindings, now.Connections, now.Plane, now.WhyPlane, now.Room, now.Bound = 0, 0, "", "", 0, ""
	now.Unread, now.Bans, now.Dropped, now.Crowded, now.Unpaid = 0, 0, 0, 0, 0 // counts of what was
	now.Media = rtpengine.Relayed{}
	return now == proxy.Totals{}
}

// Set changes a user's setting.
func (s *Stage) Set(who, name, value string) {
	s.t.Helper()
	s.must(s.Store.SetSetting(user(who), name, value))
}

// Block puts a caller on a user's block list.
func (s *Stage) Block(who, caller string) {
	s.t.Helper()
	s.must(s.Store.Block(user(who), user(caller).String()))
}

// Wait lets time pass.
func (s *Stage) Wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// T is the test of the stage.
func (s *Stage) T() *testing.T { return s.t }

// must ends the test on an error.
func (s *Stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// user is the address of record of a user of the stage.
func user(name string) aor.AOR {
	a, err := aor.New(name, Domain)
	if err != nil {
		panic(err) // a name in a script
	}
	return a
}

// Protect sets protect_ip of the operator's configuration.
func Protect(value string) Option {
	return func(c *configs.Config) { c.ProtectIP = value }
}

// AOR is the address of record of a user of the stage.
func AOR(name string) aor.AOR { return user(name) }

// Written is how much the store has written to its log so far, while that has
// not grown to the thousand pages after which it begins anew.
func (s *Stage) Written() int64 {
	s.t.Helper()
	info, err := os.Stat(s.path + "-wal")
	s.must(err)
	return info.Size()
}

// LockStore makes another process write to the store's file, until unlock.
func (s *Stage) LockStore() (unlock func()) {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.path) // the driver is the store's
	s.must(err)
	tx, err := db.Conn(context.Background())
	s.must(err)
	_, err = tx.ExecContext(context.Background(), "BEGIN EXCLUSIVE")
	s.must(err)
	return func() {
		s.t.Helper()
		_, err := tx.ExecContext(context.Background(), "ROLLBACK")
		s.must(err)
		s.must(tx.Close())
		s.must(db.Close())
	}
}
