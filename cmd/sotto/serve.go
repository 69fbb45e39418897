package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// serveCmd runs the server until a signal ends it.
type serveCmd struct {
	Config string `help:"Configuration file; without one the defaults." short:"c" type:"path"`
}

// Run implements the verb.
func (c *serveCmd) Run(t *tell) error {
	signals, stop := catch(syscall.SIGUSR2) // a signal during the start waits for its end
	defer stop()
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := portsFit(cfg.Media.Ports); err != nil {
		return err
	}
	s, err := openServer(cfg)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		s.close()
		return err
	}
	s.announce(t)
	exe := s.untilSignal(t, signals, c.Config)
	s.follows = exe != ""
	s.close()
	if exe == "" {
		return nil
	}
	return syscall.Exec(exe, os.Args, os.Environ())
}

// catch begins to collect the signals of untilSignal.
func catch(more ...os.Signal) (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 2)
	signal.Notify(signals, append(more, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)...)
	return signals, func() { signal.Stop(signals) }
}

// untilSignal waits for the end: SIGTERM and SIGINT drain, a second one ends
// at once, SIGHUP re-reads what can be re-read. SIGUSR2 names the program to
// hand over to, once the server is closed; "" is none.
func (s *server) untilSignal(t *tell, signals <-chan os.Signal, config string) (exe string) {
	for sig := range signals {
		switch sig {
		case syscall.SIGHUP:
			s.reload(t, config)
		case syscall.SIGUSR2:
			exe, err := successor(config)
			if err == nil {
				t.say("handing over to %s; calls go on", exe)
				return exe
			}
			t.warn("not handed over: %v", err)
		default:
			s.drain(t, signals)
			return ""
		}
	}
	return ""
}

// drain lets running calls end, for a bounded time.
func (s *server) drain(t *tell, signals <-chan os.Signal) {
	t.say("no new calls; running calls get %s (a second signal ends at once)", s.cfg.Shutdown)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Shutdown)
	defer cancel()
	go func() {
		<-signals
		cancel()
	}()
	s.proxy.Drain(ctx)
}

// successorPatience is how long a new program may take to say that it runs (ours).
const successorPatience = 10 * time.Second

// successor is the program to hand over to: ours, as it is on disk now. It
// must run, and like the configuration, before the server that runs is given up.
func successor(config string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	args := []string{"check", config}
	if config == "" {
		args = []string{"--help"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), successorPatience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, exe, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", exe, args[0], err, bytes.TrimRight(out, "\n"))
	}
	return exe, nil
}
