package main

import (
	"bytes"
	"context"
	_ "embed" // kamailio.cfg
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sotto/internal/aor"
	"sotto/store"
)

//go:embed kamailio.cfg
var kamailioConfig string

// serverCPU is the processor that servers are bound to; the generator is
// bound to another one where there is (scripts/bench-sip.sh).
const serverCPU = "0"

// A server is the program that is measured, with all its processes.
type server struct {
	cmd *exec.Cmd
	out bytes.Buffer // what it says
}

// launch starts a program on the servers' processor, in a group of its own.
func launch(dir, program string, args ...string) (*server, error) {
	s := &server{cmd: exec.Command("taskset", append([]string{"-c", serverCPU, program}, args...)...)}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// stop ends a server and everything that it started.
func (s *server) stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // gone already is as good
	_ = s.cmd.Wait()                                      // it was killed, and says so
}

// ready registers all users, which a server that has just started may need
// several tries for.
func (s *server) ready(l *load) error {
	for range 10 {
		time.Sleep(300 * time.Millisecond)
		if r := l.registrations(l.cfg.users, 0, 10); r.done == r.asked {
			return nil
		}
	}
	return errors.New("its users cannot register:\n" + s.out.String())
}

// startSotto starts Sotto with a store of its own. The caller is a trunk that
// is trusted, as Kamailio takes an INVITE without asking who calls.
func startSotto(dir, program string, p place, protect string) (*server, error) {
	if err := fill(dir, p); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`domains: [%s]
known_domains: [%s]
listen: ["udp:%s"]
data_dir: %s
limits: {exempt: [127.0.0.0/8]}
log: {level: error}
peers:
  - name: load
    addresses: [%s]
    trusted: true
`, p.domain, p.domain, p.server, dir, p.caller.Addr())
	if protect != "" {
		text += "protect_ip: " + protect + "\n"
	}
	config := filepath.Join(dir, "sotto.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return launch(dir, program, "serve", "-c", config)
}

// fill makes a store with the users of a load.
func fill(dir string, p place) error {
	s, err := store.Open(context.Background(), filepath.Join(dir, "sotto.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for i := range p.users {
		a, err := aor.New(userName(i), p.domain)
		if err == nil {
			err = s.AddUser(a, passwordOf(i))
		}
		if err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

// startKamailio starts Kamailio at its best: one worker for one processor, and
// the fast allocator instead of the one that helps debugging.
func startKamailio(dir string, p place, switches []string) (*server, error) {
	text := strings.NewReplacer(
		"@SERVER@", p.server.String(), "@DOMAIN@", p.domain, "@USERS@", strconv.Itoa(p.users),
	).Replace(kamailioConfig)
	config := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{"-f", config, "-DD", "-E", "-x", "fm", "-X", "fm", "-m", "256", "-M", "32", "-Y", dir, "-w", dir}
	for _, d := range switches {
		args = append(args, "-A", d)
	}
	return launch(dir, "kamailio", args...)
}

// cpu is what all processes of the server have used so far, to the nanosecond.
func (s *server) cpu() (time.Duration, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if group, err := syscall.Getpgid(pid); err != nil || group != s.cmd.Process.Pid {
			continue
		}
		tasks, err := filepath.Glob(d + "/task/*/schedstat")
		if err != nil {
			return 0, err
		}
		for _, t := range tasks {
			total += schedstat(t)
		}
	}
	if total == 0 {
		return 0, errors.New("the server has ended:\n" + s.out.String())
	}
	return total, nil
}

// schedstat is the time on a processor of one thread; of one that has ended, 0.
func schedstat(file string) time.Duration {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}
