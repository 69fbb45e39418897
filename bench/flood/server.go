package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sotto/internal/aor"
	"sotto/store"
)

// Where everybody is: addresses of their own, so that nothing else on the
// machine is in the way. The hostile ones are 127.97.0.0 to 127.97.255.255.
var (
	serverAt = netip.MustParseAddrPort("127.96.0.1:5060")
	phonesAt = netip.MustParseAddr("127.96.0.2")
)

const (
	domain   = "flood.example"
	password = "Correct-Horse-7"
)

// server is a running sotto.
type server struct {
	program, dir string
	cmd          *exec.Cmd
	out          bytes.Buffer
}

// serve starts the program, on one processor, with n users.
func serve(program, dir string, n int) (*server, error) {
	s, err := store.Open(context.Background(), filepath.Join(dir, "sotto.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	for i := range n {
		a, err := aor.New(userName(i), domain)
		if err == nil {
			err = s.AddUser(a, password)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sotto.yaml")
	text := fmt.Sprintf("domains: [%s]\nknown_domains: [%s]\nlisten: [\"udp:%s\"]\ndata_dir: %s\nlog: {level: warn}\n",
		domain, domain, serverAt, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	v := &server{program: program, dir: dir}
	v.cmd = exec.Command("taskset", "-c", "0", program, "serve", "-c", config)
	v.cmd.Stdout, v.cmd.Stderr = &v.out, &v.out
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if _, err = v.status(); err == nil {
			return v, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	v.close()
	return nil, fmt.Errorf("the server does not start: %w\n%s", err, v.out.String())
}

// userName is the name of the i-th user.
func userName(i int) string { return "user" + strconv.Itoa(i) }

// status is what the server says that it holds.
func (v *server) status() (string, error) {
	out, err := exec.Command(v.program, "status", "--data", v.dir).Output()
	return strings.TrimSpace(string(out)), err
}

// close ends the server.
func (v *server) close() {
	_ = v.cmd.Process.Kill() // it may have ended
	_ = v.cmd.Wait()
}

// memory is what the server has in memory.
func (v *server) memory() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", v.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	pages, err := strconv.Atoi(f[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}

// cpu is what the server has used, the system's work for it included.
func (v *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	const utime, stime, ticks = 11, 12, 100 // proc(5), from the state on; USER_HZ
	if len(f) <= stime {
		return 0
	}
	u, err1 := strconv.Atoi(f[utime])
	k, err2 := strconv.Atoi(f[stime])
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(u+k) * time.Second / ticks
}
