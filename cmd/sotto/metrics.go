package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"sotto/proxy/flow"
)

// The metrics: what sotto status says, for a monitoring system. They are the
// operator's: they have no user in them, but who makes a call and reads them
// beside it could tell a silenced user from an absent one.

// metricsKey is where the operator has written the address.
const metricsKey = "metrics"

// Limits (ours). A scrape takes milliseconds and comes every few seconds from
// one or two monitoring systems; their connections are of ownDescriptors.
const (
	metricsPath    = "/metrics"
	metricsConns   = 8
	metricsScrapes = 4
	metricsHeader  = 8 << 10
	metricsTimeout = 10 * time.Second
	metricsIdle    = 2 * time.Minute // above usual intervals, so that a connection serves for all
	metricsEnd     = time.Second     // for a scrape under way when the server ends
)

// A metricsServer serves the metrics.
type metricsServer struct {
	addr netip.AddrPort
	http *http.Server
	done chan struct{}
}

// serveMetrics opens the listener for the metrics.
func serveMetrics(s *server) (*metricsServer, error) {
	l, err := net.Listen(flow.Family("tcp", s.cfg.Metrics.Addr()), s.cfg.Metrics.String())
	if err != nil {
		return nil, bindHint(fmt.Errorf("listening for metrics: %w", err), metricsKey)
	}
	log := slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	all := prometheus.NewRegistry()
	all.MustRegister(collector{s.standing}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(all, promhttp.HandlerOpts{
		ErrorLog: log, MaxRequestsInFlight: metricsScrapes,
	}))
	m := &metricsServer{
		addr: l.Addr().(*net.TCPAddr).AddrPort(),
		http: &http.Server{
			Handler: mux, ErrorLog: log, MaxHeaderBytes: metricsHeader,
			ReadHeaderTimeout: metricsTimeout, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout,
			IdleTimeout: metricsIdle,
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(m.done)
		_ = m.http.Serve(netutil.LimitListener(l, metricsConns)) // always ErrServerClosed
	}()
	return m, nil
}

// close frees the port, so that the next process finds it free, and finishes
// the scrapes under way.
func (m *metricsServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), metricsEnd)
	defer cancel()
	if m.http.Shutdown(ctx) != nil {
		_ = m.http.Close() // whoever is that slow is cut off
	}
	<-m.done
}

// A collector has the figures as metrics.
type collector struct{ standing func() standing }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range figures() {
		out <- f.desc()
	}
}

// Collect implements prometheus.Collector: all figures are of one moment.
func (c collector) Collect(out chan<- prometheus.Metric) {
	now := c.standing()
	for _, f := range figures() {
		var values []string
		for _, t := range f.tags {
			values = append(values, t.value(now))
		}
		m, err := prometheus.NewConstMetric(f.desc(), f.kind, float64(f.count(now)), values...)
		if err != nil {
			m = prometheus.NewInvalidMetric(f.desc(), err)
		}
		out <- m
	}
}

// desc is the metric without its value.
func (f figure) desc() *prometheus.Desc {
	var names []string
	for _, t := range f.tags {
		names = append(names, t.name)
	}
	return prometheus.NewDesc(f.metric, f.help, names, nil)
}
