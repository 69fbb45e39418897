package e2e

import (
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sotto/rtpengine"
)

// The planes. E2E_PLANE=user or E2E_PLANE=kernel plays everything with that
// one. Without it the tests that are the core of calling are played with each,
// and all others with what the server chooses.
const (
	userPlane   = string(rtpengine.PlaneUser)
	kernelPlane = string(rtpengine.PlaneKernel)
)

// chosenPlane is that of a test which is not played with each.
func chosenPlane() string {
	if p := os.Getenv("E2E_PLANE"); p != "" {
		return p
	}
	return string(rtpengine.PlaneAuto)
}

// inEachPlane plays a test with each plane, or with the one that was asked for.
func inEachPlane(t *testing.T, test func(t *testing.T, plane string)) {
	t.Helper()
	planes := []string{userPlane, kernelPlane}
	if p := os.Getenv("E2E_PLANE"); p != "" {
		planes = []string{p}
	}
	for _, plane := range planes {
		t.Run(plane, func(t *testing.T) {
			t.Parallel()
			needs(t)
			if plane == kernelPlane {
				needsKernelPlane(t)
			}
			test(t, plane)
		})
	}
}

// hasKernelPlane says why there is none here.
var hasKernelPlane = sync.OnceValue(func() error {
	lo := netip.MustParseAddr("127.0.0.1")
	e, err := rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: lo, Advertised: lo}}, PortMin: 29990, PortMax: 29999,
		Plane: rtpengine.PlaneKernel,
	})
	if err == nil {
		e.Close()
	}
	return err
})

func needsKernelPlane(t *testing.T) {
	t.Helper()
	switch err := hasKernelPlane(); {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// pinDir makes a BPF file system of the server's own, in which flows outlive
// the process. Where that is not permitted they do not.
func (s *server) pinDir() string {
	t := s.lab.t
	t.Helper()
	if err := os.MkdirAll(s.pins, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", s.pins, "bpf", 0, "mode=0700"); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(s.pins, unix.MNT_DETACH) })
	}
	return s.pins
}

// aCall is fewer packets than two phones send that have heard one another
// (audible waits for 60 of each).
const aCall = 100

// relayed waits until the packets of the server's calls, since it started, were
// relayed by the plane that the lab has. In the kernel all are but the first of
// each phone, RTCP and STUN. How many are the first depends on how busy the
// machine is, so this is best asked while there is a call.
func (s *server) relayed() {
	t := s.lab.t
	t.Helper()
	var kernel, user int
	defer func() {
		t.Helper()
		t.Logf("relayed with plane %s: %d packets in the kernel, %d in user space", s.lab.plane, kernel, user)
	}()
	eventually(t, "the plane has relayed the packets", func() bool {
		kernel, user = s.status("kernel packets"), s.status("user packets")
		switch s.lab.plane {
		case userPlane:
			return kernel == 0 && user >= aCall
		case kernelPlane:
			return kernel >= aCall && user <= kernel/4
		}
		return true
	})
}

// TestPlaneOfOneCall has the operator take one call into user space, where its
// packets can be looked at, and give it back. Nobody hears a difference.
func TestPlaneOfOneCall(t *testing.T) {
	t.Parallel()
	needs(t)
	needsKernelPlane(t)
	p := newPair(t, kernelPlane)
	p.talks()
	ref := p.s.callUnderWay()
	flows := func(n int) {
		t.Helper()
		eventually(t, "the kernel has flows, or none", func() bool { return p.s.status("kernel flows") == n })
	}
	flows(2)
	p.s.sotto("plane", ref, "user")
	kernel, user := p.s.status("kernel packets"), p.s.status("user packets")
	audible(p.alice.host)
	audible(p.bob.host)
	if n := p.s.status("kernel packets") - kernel; n > 0 {
		t.Errorf("%d packets of a call in user space were relayed in the kernel", n)
	}
	if n := p.s.status("user packets") - user; n < aCall {
		t.Errorf("only %d packets were relayed in user space", n)
	}
	p.s.sotto("plane", ref, "auto")
	flows(2)
	p.bob.hangsUp()
	p.ends()
	if out, err := p.s.try("plane", ref, "user"); err == nil {
		t.Errorf("an ended call is in user space: %s", out)
	}
	eventually(t, "bob has heard alice", func() bool { return p.bob.hears(callerTone) })
	eventually(t, "alice has heard bob", func() bool { return p.alice.hears(calleeTone) })
}

// callUnderWay is how the server names its only call.
func (s *server) callUnderWay() string {
	s.lab.t.Helper()
	for _, l := range lines([]byte(s.sotto("calls"))) {
		if f := strings.Fields(l); len(f) > 1 && f[1] == "talking" {
			return f[0]
		}
	}
	s.lab.t.Fatal("nobody talks")
	return ""
}
