package bench

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/location"
	"sotto/proxy"
	"sotto/rtpengine"
	"sotto/store"
)

const (
	domain   = "bench.example"
	password = "open sesame"
)

// loopback is where everything is.
var loopback = netip.MustParseAddr("127.0.0.1")

// serve runs a server with users alice and bob and returns where it listens.
func serve(b *testing.B, protect string) netip.AddrPort {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	c := configs.Default()
	c.Domains, c.KnownDomains = []string{domain}, []string{domain}
	c.Listen = []configs.Listen{{Transport: "udp", Addr: netip.AddrPortFrom(loopback, 0)}}
	st, err := store.Open(context.Background(), filepath.Join(b.TempDir(), "sotto.db"), log)
	must(b, err)
	b.Cleanup(func() { must(b, st.Close()) })
	for _, name := range []string{"alice", "bob"} {
		a, err := aor.New(name, domain)
		must(b, err)
		must(b, st.AddUser(a, password))
		must(b, st.SetSetting(a, "protect_ip", protect))
		must(b, st.SetSetting(a, "recent_days", "0"))
	}
	engine, err := rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: loopback, Advertised: loopback}},
		PortMin:   2768, PortMax: 32767, Keep: st.KeepMedia, Log: log,
	})
	must(b, err)
	b.Cleanup(engine.Close)
	p, err := proxy.New(proxy.Options{
		Config: c, Store: st, Location: location.New(location.Limits{}), Engine: engine, Log: log,
	})
	must(b, err)
	bound, err := p.Start()
	must(b, err)
	b.Cleanup(p.Close)
	return bound[0].Addr
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs an operation as often as it takes.
func measure(b *testing.B, operation func()) {
	b.Helper()
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		operation()
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/1e3, "cpu-µs/op")
}
