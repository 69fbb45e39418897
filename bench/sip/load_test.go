package main

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sotto/configs"
	"sotto/location"
	"sotto/proxy"
	"sotto/rtpengine"
	"sotto/store"
)

// serve starts a server for a load in this process.
func serve(t *testing.T, p place, protect string) *proxy.Proxy {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	must(t, fill(dir, p))
	st, err := store.Open(context.Background(), filepath.Join(dir, "sotto.db"), log)
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	host := p.server.Addr()
	engine, err := rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: host, Advertised: host}}, PortMin: 20000, PortMax: 20999, Log: log,
	})
	must(t, err)
	t.Cleanup(engine.Close)
	c := configs.Default()
	c.Domains, c.KnownDomains, c.ProtectIP = []string{p.domain}, []string{p.domain}, protect
	c.Listen = []configs.Listen{{Transport: "udp", Addr: p.server}}
	c.Limits.Exempt = []configs.Prefix{{Prefix: netip.PrefixFrom(p.callee.Addr(), 32)}} // whose phones send nothing again
	c.Peers = []configs.Peer{{
		Name: "load", Trusted: true, Addresses: []configs.Prefix{{Prefix: netip.PrefixFrom(p.caller.Addr(), 32)}},
	}}
	px, err := proxy.New(proxy.Options{
		Config: c, Store: st, Location: location.New(location.Limits{PerAOR: 10}), Engine: engine, Log: log,
	})
	must(t, err)
	_, err = px.Start()
	must(t, err)
	t.Cleanup(px.Close)
	return px
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryCallIsDone holds the generator and a server to one another: no
// message may be lost, and nothing may be left.
func TestEveryCallIsDone(t *testing.T) {
	for _, protect := range []string{"", "always"} {
		t.Run("protect "+protect, func(t *testing.T) {
			p := at()
			p.server = netip.MustParseAddrPort("127.0.95.1:5060")
			p.caller = netip.MustParseAddrPort("127.0.95.2:5060")
			p.callee = netip.MustParseAddrPort("127.0.95.3:5060")
			p.users, p.ring, p.hold = 10, 5*time.Millisecond, 5*time.Millisecond
			px := serve(t, p, protect)
			l, err := newLoad(p)
			must(t, err)
			t.Cleanup(func() { must(t, l.close()) })
			if r := l.registrations(p.users, 0, 2); r.done != p.users {
				t.Fatalf("%d of %d registered; refused: %v", r.done, p.users, r.refused)
			}
			if r := l.calls(100, 100, 0); r.done != 100 || len(r.setUp) != 100 {
				t.Errorf("%d of 100 calls done, %d rang; refused: %v", r.done, len(r.setUp), r.refused)
			}
			if now := left(px); now.Calls+now.Sessions+now.Ports > 0 {
				t.Errorf("left behind: %+v", now)
			}
		})
	}
}

// left is what a server holds, once it has had the time to note that the last
// call is over: the caller hears of it first.
func left(px *proxy.Proxy) proxy.Totals {
	now := px.Totals()
	for deadline := time.Now().Add(patience); now.Calls+now.Sessions+now.Ports > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		now = px.Totals()
	}
	return now
}

func TestMessagesAreRead(t *testing.T) {
	m := parse([]byte("SIP/2.0 200 OK\r\nVia: a\r\nRecord-Route: <sip:1>\r\nRecord-Route: <sip:2>\r\n" +
		"From: <sip:x>;tag=1\r\nTo: <sip:y>;tag=2\r\nCall-ID: 1-2-3\r\nCSeq: 1 INVITE\r\n" +
		"Contact: <sip:z@h>;q=1\r\n\r\nbody"))
	if m.code != 200 || !m.of("INVITE") || m.of("BYE") || string(m.callID) != "1-2-3" ||
		string(m.contact) != "sip:z@h" || len(m.routes) != 2 || string(m.routes[1]) != "<sip:2>" {
		t.Errorf("read %+v", m)
	}
	if m := parse([]byte("BYE sip:z SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n")); m.code != 0 || string(m.method) != "BYE" {
		t.Errorf("read %+v", m)
	}
}
