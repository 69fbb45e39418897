package e2e

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

// A program runs on a host; what it prints is kept.
type program struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu  sync.Mutex
	out []byte
}

// start runs a program until the end of the test.
func (h *host) start(name string, args ...string) *program {
	h.lab.t.Helper()
	p := &program{t: h.lab.t, name: h.name + "'s " + name, cmd: h.command(name, args...), ended: make(chan struct{})}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		p.stop()
		if p.t.Failed() {
			p.t.Logf("%s said:\n%s", p.name, tail(p.text(0), 6000))
		}
	})
	return p
}

// Write keeps what the program prints.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	return len(b), nil
}

// mark is the end of what was printed so far.
func (p *program) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// text is what was printed since mark.
func (p *program) text(mark int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.out[min(mark, len(p.out)):])
}

// says waits until the program has printed a match since mark and returns its
// first group, or all of it.
func (p *program) says(mark int, pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(patience)
	for {
		if m := re.FindStringSubmatch(p.text(mark)); m != nil {
			return m[len(m)-1]
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s never said %q; since then:\n%s", p.name, pattern, tail(p.text(mark), 3000))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// types writes a line to the program.
func (p *program) types(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s takes no input: %v", p.name, err)
	}
}

// ends waits until the program ends by itself and returns its exit code.
func (p *program) ends(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("%s does not end; it said:\n%s", p.name, tail(p.text(0), 3000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the program, politely first.
func (p *program) stop() {
	for _, sig := range []os.Signal{os.Interrupt, os.Kill} {
		_ = p.cmd.Process.Signal(sig)
		select {
		case <-p.ended:
			return
		case <-time.After(3 * time.Second):
		}
	}
}

// tail is the end of a text.
func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
