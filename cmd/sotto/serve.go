package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// serveCmd runs the server until a signal ends it.
type serveCmd struct {
	Config string `help:"Configuration file; without one the defaults." short:"c" type:"path"`
}

// Run implements the verb.
func (c *serveCmd) Run(t *tell) error {
	signals, stop := catch() // a signal during the start waits for its end
	defer stop()
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	s, err := openServer(cfg)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.start(); err != nil {
		return err
	}
	s.announce(t)
	return s.untilSignal(t, signals, c.Config)
}

// catch begins to collect the signals of untilSignal.
func catch() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}

// untilSignal waits for the end: SIGTERM and SIGINT drain, a second one ends
// at once, SIGHUP re-reads what can be re-read.
func (s *server) untilSignal(t *tell, signals <-chan os.Signal, config string) error {
	for sig := range signals {
		if sig == syscall.SIGHUP {
			s.reload(t, config)
			continue
		}
		break
	}
	t.say("no new calls; running calls get %s (a second signal ends at once)", s.cfg.Shutdown)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Shutdown)
	defer cancel()
	go func() {
		<-signals
		cancel()
	}()
	s.proxy.Drain(ctx)
	return nil
}
