package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"sotto/configs"
	"sotto/proxy"
)

// scrape ADDRESS reads the metrics into the file "scraped", and compares them
// with what sotto status says. After ! nobody must listen there.
func scrape(ts *testscript.TestScript, gone bool, args []string) {
	at := strings.ReplaceAll(args[0], "HOST", ts.Getenv("HOST"))
	code, page, err := get("http://" + at + metricsPath)
	if gone {
		if err == nil {
			ts.Fatalf("somebody listens at %s: %d", at, code)
		}
		return
	}
	ts.Check(err)
	if code != http.StatusOK {
		ts.Fatalf("%d: %s", code, page)
	}
	ts.Check(os.WriteFile(ts.MkAbs("scraped"), []byte(page), 0o600))
	lines, err := askServer(ctlSocket(ts.MkAbs("data")), ctlAsk{Verb: "status"})
	ts.Check(err)
	if len(lines) != len(figures()) {
		ts.Fatalf("%d lines of %d figures", len(lines), len(figures()))
	}
	for i, f := range figures() {
		label, said, _ := strings.Cut(lines[i], "  ")
		n, found := valueIn(page, f)
		said, _, _ = strings.Cut(strings.TrimSpace(said), " ")
		// What a question itself takes is of another moment.
		moves := f.label == "goroutines" || f.label == "descriptors" || f.label == "user packets"
		_, words := strconv.ParseUint(said, 10, 64)
		if !found || words == nil && n != said && !moves {
			ts.Fatalf("%s is %s in status, %s in the metrics: %s (%v)", label, said, f.metric, n, found)
		}
	}
}

// valueIn is the value of a figure on a page of metrics.
func valueIn(page string, f figure) (value string, found bool) {
	for line := range strings.Lines(page) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndexByte(line, '}'); i >= 0 {
			value = strings.TrimSpace(line[i+1:])
		}
		name, labels, _ := strings.Cut(name, "{")
		if name == f.metric && (len(f.tags) != 1 || f.text != nil || strings.Contains(labels, f.tags[0].value(standing{}))) {
			return value, true
		}
	}
	return "", false
}

// get reads a page over a connection of its own.
func get(url string) (code int, page string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// A figure's name and kind are those of the field, and each counts what it is called.
func TestFigures(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range figures() {
		key := f.metric
		for _, tag := range f.tags {
			key += "," + tag.name + "=" + tag.value(standing{})
		}
		if seen[f.label] || seen[key] {
			t.Errorf("%s (%s) is there twice", f.label, key)
		}
		seen[f.label], seen[key] = true, true
		if total := strings.HasSuffix(f.metric, "_total"); total != (f.kind == prometheus.CounterValue) ||
			!strings.HasPrefix(f.metric, "sotto_") || !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s, a %v, is named %s (%s)", f.label, f.kind, f.metric, f.help)
		}
	}
	now := standing{Totals: proxy.Totals{
		Bindings: 1, Connections: 2, Transactions: 3, Calls: 4, Facades: 5, Notices: 6, Sessions: 7, Ports: 8, Resting: 9,
		Leaks: 13, Bans: 14, Unread: 15, Dropped: 16, Crowded: 17, Unpaid: 18, Room: 22, Bound: "ports",
		Plane: "kernel", WhyPlane: "eBPF", Gathering: 2, Gathers: "eth0 1ms, eth1 640µs",
	}, goroutines: 19, descriptors: 20, fileLimit: 21}
	now.Media.Flows, now.Media.Kernel, now.Media.User = 10, 11, 12
	for i, f := range figures() {
		want := strconv.Itoa(i + 1)
		switch f.label {
		case "room for calls":
			want += " (ports)"
		case "media plane":
			want = "kernel (eBPF)"
		case "packets gather":
			want = "eth0 1ms, eth1 640µs"
		case "program":
			continue
		}
		if got := f.line(now); got != want {
			t.Errorf("%s: %s, want %s", f.label, got, want)
		}
	}
}

// The listener has one page, gives nobody much of the server, and is free again
// at once.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	cfg := configs.Default()
	cfg.DataDir, cfg.Log.Level, cfg.Media.Plane = t.TempDir(), "error", "user"
	cfg.Listen = []configs.Listen{{Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}}
	cfg.Metrics = configs.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
	s, err := openServer(cfg)
	must(t, err)
	closed := false
	defer func() {
		if !closed {
			s.close()
		}
	}()
	must(t, s.start())
	at := s.metrics.addr.String()
	for path, want := range map[string]int{metricsPath: 200, "/": 404, "/metrics/x": 404, "/debug/pprof/": 404} {
		if code, _, err := get("http://" + at + path); code != want || err != nil {
			t.Errorf("%s: %d %v, want %d", path, code, err, want)
		}
	}
	for request, want := range map[string]string{
		"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n":                              "HTTP/1.1 405 ",
		"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 4*metricsHeader) + "\r\n\r\n": "HTTP/1.1 431 ",
	} {
		if got := answerTo(t, at, request); !strings.HasPrefix(got, want) {
			t.Errorf("%.20q…: %q, want %s", request, got, want)
		}
	}
	full(t, at)
	begun := time.Now()
	s.close()
	if closed = true; time.Since(begun) > patience/2 {
		t.Errorf("it took %s to close", time.Since(begun))
	}
	l, err := net.Listen("tcp", at)
	must(t, err)
	must(t, l.Close())
}

// full has connections that say nothing take all there are: one more waits
// until one of them goes.
func full(t *testing.T, at string) {
	t.Helper()
	var idle []net.Conn
	for range metricsConns {
		c, err := net.Dial("tcp", at)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		idle = append(idle, c)
	}
	late, err := net.Dial("tcp", at)
	must(t, err)
	defer late.Close()
	_, err = fmt.Fprintf(late, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", metricsPath)
	must(t, err)
	must(t, late.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if n, err := late.Read(make([]byte, 1)); err == nil {
		t.Errorf("connection %d was served: %d bytes", metricsConns+1, n)
	}
	must(t, idle[0].Close())
	must(t, late.SetReadDeadline(time.Now().Add(patience)))
	got, err := io.ReadAll(late)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("%v: %.100s", err, got)
	}
}

// answerTo is the first line of the answer to a request.
func answerTo(t *testing.T, at, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", at)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(c, request) // a header that is too long is not read to its end
	line, err := bufio.NewReader(c).ReadString('\n')
	must(t, err)
	return line
}
