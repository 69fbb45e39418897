package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// A pair is the ports of a session toward its parties.
type pair [2]uint16

// control sets sessions up: n from the first on; or n, each ended at once.
type control interface {
	add(first, n int) ([]pair, error)
	churn(n int) error
}

// A relay is a running contestant; without a process it is none at all.
type relay struct {
	control
	cmd *exec.Cmd
}

func (r *relay) pid() int {
	if r.cmd == nil {
		return 0
	}
	return r.cmd.Process.Pid
}

func (r *relay) stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill() // gone already is as good
		_ = r.cmd.Wait()         // it was killed, and says so
	}
}

// A contestant is one way to relay.
type contestant struct {
	name  string
	start func(l *lab) (*relay, error)
	setUp bool // it takes sessions by descriptions

	routed bool   // phones send to each other
	like   string // the contestant in C that does the same, if not inC
}

// The contestants' names, which the table's ratios are made of.
const (
	noRelay   = "no relay"
	router    = "the system routes"
	kernel    = "sotto, kernel"
	kernelCo  = "sotto, kernel, coalesce 1 ms"
	user      = "sotto, user space, no pause"
	userPause = "sotto, user space, pause 1 ms"
	userCo    = "sotto, user, coalesce 1 ms"
	inC       = "C"
	inCTwo    = "C, two threads"
	inCPause  = "C, two threads, pause 1 ms"
	incumbent = "rtpengine, user space"
)

// contestants are all that can run here.
func contestants(forward string, withIncumbent bool) []contestant {
	sotto := func(plane string, pause, coalesce time.Duration) func(*lab) (*relay, error) {
		return func(l *lab) (*relay, error) { return startSotto(l, plane, pause, coalesce, 1) }
	}
	baseline := func(threads int, pause time.Duration) func(*lab) (*relay, error) {
		return func(l *lab) (*relay, error) {
			return &relay{control: &inSource{l: l, program: forward, threads: threads, pause: pause}}, nil
		}
	}
	nobody := func(*lab) (*relay, error) { return &relay{control: nothing{}}, nil }
	all := []contestant{
		{name: noRelay, start: nobody},
		{name: router, start: nobody, routed: true},
		{name: kernel, start: sotto("kernel", 0, 0), setUp: true},
		{name: kernelCo, start: sotto("kernel", 0, time.Millisecond)},
		{name: user, start: sotto("user", 0, 0), setUp: true, like: inCTwo},
		{name: userPause, start: sotto("user", time.Millisecond, 0), setUp: true, like: inCPause},
		{name: userCo, start: sotto("user", time.Millisecond, time.Millisecond), like: inCPause},
		{name: inC, start: baseline(1, 0)},
		{name: inCTwo, start: baseline(2, 0), like: inCTwo},
		{name: inCPause, start: baseline(2, time.Millisecond), like: inCPause},
	}
	if withIncumbent {
		all = append(all, contestant{
			name: incumbent, setUp: true, start: func(l *lab) (*relay, error) { return startIncumbent(l, 1) },
		})
	}
	return all
}

// withThreads are the contestants that can have several threads for packets.
func withThreads(threads int, withIncumbent bool) []contestant {
	sotto := func(pause, coalesce time.Duration) func(*lab) (*relay, error) {
		return func(l *lab) (*relay, error) { return startSotto(l, "user", pause, coalesce, threads) }
	}
	all := []contestant{
		{name: user, start: sotto(0, 0)},
		{name: userPause, start: sotto(time.Millisecond, 0)},
		{name: userCo, start: sotto(time.Millisecond, time.Millisecond)},
	}
	if withIncumbent {
		all = append(all, contestant{
			name: incumbent, start: func(l *lab) (*relay, error) { return startIncumbent(l, threads) },
		})
	}
	return all
}

// nothing relays nothing: packets end where the relay would be.
type nothing struct{}

func (nothing) add(first, n int) ([]pair, error) { return fixed(first, n), nil }
func (nothing) churn(int) error                  { return errors.ErrUnsupported }

// fixed are the ports of relays that are not asked for any.
func fixed(first, n int) []pair {
	all := make([]pair, n)
	for i := range all {
		port := uint16(portMin + 4*(first+i))
		all[i] = pair{port, port + 2}
	}
	return all
}

// inSource is the baseline, whose sessions are those that it is started with.
type inSource struct {
	l       *lab
	program string
	threads int
	pause   time.Duration
}

func (c *inSource) churn(int) error                  { return errors.ErrUnsupported }
func (c *inSource) add(first, n int) ([]pair, error) { return fixed(first, n), nil }

// launch starts the baseline with its sessions.
func (c *inSource) launch(n int) (*exec.Cmd, error) {
	cmd := c.l.command(
		1, c.program, strconv.Itoa(c.threads), strconv.FormatInt(c.pause.Microseconds(), 10), strconv.Itoa(n),
		c.l.at.String(), strconv.Itoa(portMin), c.l.parties[0].addr.String(), strconv.Itoa(callerPort),
		c.l.parties[1].addr.String(), strconv.Itoa(calleePort))
	_, err := begin(cmd)
	return cmd, err
}

// begin starts a program and waits until it says that it is ready.
func begin(cmd *exec.Cmd) (*bufio.Scanner, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		_ = cmd.Process.Kill() // it has failed already
		return nil, errors.Join(fmt.Errorf("%s does not start", cmd), cmd.Wait())
	}
	return lines, nil
}

// engine is Sotto's engine in its process.
type engine struct {
	in  io.Writer
	out *bufio.Scanner
}

func startSotto(l *lab, plane string, pause, coalesce time.Duration, threads int) (*relay, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := l.command(threads, self, "relay", "-at", l.at.String(), "-plane", plane, "-pause", pause.String(),
		"-coalesce", coalesce.String(),
		"-caller", l.parties[0].addr.String(), "-callee", l.parties[1].addr.String())
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := begin(cmd)
	if err != nil {
		return nil, err
	}
	return &relay{engine{in, out}, cmd}, nil
}

func (e engine) add(first, n int) ([]pair, error) {
	fmt.Fprintln(e.in, "add", first, n)
	all := make([]pair, 0, n)
	for e.out.Scan() {
		if e.out.Text() == "ready" {
			return all, nil
		}
		var p pair
		if _, err := fmt.Sscan(e.out.Text(), &p[0], &p[1]); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return nil, errors.New("the engine has ended")
}

func (e engine) churn(n int) error {
	fmt.Fprintln(e.in, "churn", n)
	if !e.out.Scan() || e.out.Text() != "ready" {
		return errors.New("the engine has ended")
	}
	return nil
}

// startIncumbent starts Debian's rtpengine, without its kernel module and with
// a thread for packets for each processor that it has.
func startIncumbent(l *lab, threads int) (*relay, error) {
	cmd := l.command(threads, "rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--config-file=none",
		"--table=-1", fmt.Sprintf("--num-threads=%d", threads), "--interface="+l.at.String(), "--listen-ng="+ngAt,
		fmt.Sprintf("--port-min=%d", portMin), fmt.Sprintf("--port-max=%d", portMax),
		"--delete-delay=0", "--timeout=3600", "--endpoint-learning=immediate")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n, err := newDaemon(l)
	if err != nil {
		_ = cmd.Process.Kill() // it has failed already
		return nil, errors.Join(err, cmd.Wait())
	}
	return &relay{n, cmd}, nil
}
