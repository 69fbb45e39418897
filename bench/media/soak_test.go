package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// The test's program is also the engine's process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "soaked" {
		if err := soakedMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "soaked:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Calls come and go for some seconds, with each plane. No packet that came to
// the relay is lost, each is accounted for, and nothing of the calls is left.
// `make soak` is the same, for longer.
func TestSoak(t *testing.T) {
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("it takes root, and some seconds")
	}
	t.Run("kernel", func(t *testing.T) {
		if part := inKernel(briefly(t, "kernel", 0)); part < 0.9 {
			t.Errorf("the kernel relayed only %.3f of the packets", part)
		}
	})
	t.Run("user", func(t *testing.T) {
		if part := inKernel(briefly(t, "user", 0)); part > 0 {
			t.Errorf("the kernel relayed %.3f of the packets", part)
		}
	})
	t.Run("gathered", func(t *testing.T) {
		const some = 5 * time.Millisecond // in which ten come by each interface
		if a := briefly(t, "kernel", some); a.gathered == 0 {
			t.Error("no packets gathered")
		}
	})
}

// inKernel is which part of the packets the kernel relayed.
func inKernel(a account) float64 { return float64(a.last.Relayed.Kernel) / float64(a.sent) }

// briefly soaks a plane for some seconds.
func briefly(t *testing.T, plane string, coalesce time.Duration) account {
	t.Helper()
	s := soak{
		lasting: 6 * time.Second, every: time.Second, sessions: 40, rate: 50, life: 2 * time.Second,
		plane: plane, pause: time.Millisecond, coalesce: coalesce, rest: time.Second, out: t.Output(),
	}
	a, err := s.run()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.verdict(); err != nil {
		t.Error(err)
	}
	if a.last.Begun < 100 || a.sent < 12000 {
		t.Errorf("only %d calls and %d packets", a.last.Begun, a.sent)
	}
	return a
}
