package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"sotto/rtpengine"
)

// Media and signalling each have their own descriptors, however few there are.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		limit, connections, sockets int // asked for
		want                        budget
	}{
		{65536, 20000, 10000, budget{65536, 30128, 20000, 10000}},
		{20000, 20000, 10000, budget{20000, 30128, 9872, 10000}},
		{20000, 20000, 40000, budget{20000, 60128, 4968, 14904}}, // three quarters
		{1024, 20000, 10000, budget{1024, 30128, 224, 672}},
		{1024, 10, 10000, budget{1024, 10138, 10, 672}},
		{64, 20000, 10000, budget{64, 30128, 1, 1}}, // none: 0 would mean the default
	} {
		got := share(c.limit, c.connections, c.sockets)
		if got != c.want {
			t.Errorf("share(%d, %d, %d) = %+v", c.limit, c.connections, c.sockets, got)
		}
		if n := ownDescriptors + got.connections + got.sockets; n > c.limit && c.limit > ownDescriptors {
			t.Errorf("%+v comes to %d", got, n)
		}
	}
	few := rtpengine.Config{PortMin: 20000, PortMax: 29999, MaxSockets: share(64, 20000, 10000).sockets}
	if calls, bound := few.Room(); calls != 0 || bound != "descriptors" {
		t.Errorf("with no descriptors there is room for %d calls, by %s", calls, bound)
	}
}

// The limit is raised as far as the hard one lets it, and beyond it only with
// CAP_SYS_RESOURCE. It is a process of its own whose limits change.
func TestRaise(t *testing.T) {
	if os.Getenv("RAISE_TO") != "" {
		n, _ := strconv.Atoi(os.Getenv("RAISE_TO"))
		had := limits(t)
		fmt.Println("\nresult", had.Max, raise(n), limits(t).Cur)
		return
	}
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip("no prlimit here")
	}
	for _, c := range []struct{ limit, to string }{{"100:600", "500"}, {"100:600", "2000"}} {
		cmd := exec.Command("prlimit", "--nofile="+c.limit, os.Args[0], "-test.run=^TestRaise$")
		cmd.Env = append(os.Environ(), "RAISE_TO="+c.to)
		out, err := cmd.CombinedOutput()
		m := regexp.MustCompile(`result (\d+) (\d+) (\d+)`).FindStringSubmatch(string(out))
		if err != nil || m == nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := "600"
		if capable(t, unix.CAP_SYS_RESOURCE) && c.to == "2000" {
			want = "2000"
		}
		if m[1] != "600" || m[2] != want || m[3] != want {
			t.Errorf("of %s, %s asked for: hard %s, said %s, holds %s; want %s", c.limit, c.to, m[1], m[2], m[3], want)
		}
	}
}

// capable says that this process has a capability (capabilities(7)).
func capable(t *testing.T, which uint) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	m := regexp.MustCompile(`(?m)^CapEff:\t([0-9a-f]+)$`).FindSubmatch(text)
	if err != nil || m == nil {
		t.Skip("no capabilities here")
	}
	all, err := strconv.ParseUint(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return all>>which&1 == 1
}

func limits(t *testing.T) (l unix.Rlimit) {
	t.Helper()
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// The system's table of descriptors has its size before the first call.
func TestEnlarge(t *testing.T) {
	if int(limits(t).Cur) < 3000 {
		t.Skip("the limit is too low to see it")
	}
	enlarge(3000)
	if n := fromProc(t, "self/status", `FDSize:\s+(\d+)`); n < 3000 {
		t.Errorf("the table has room for %d", n)
	}
	if all := descriptors(); all > 200 {
		t.Errorf("%d descriptors are open: the one that made the table large was to be closed", all)
	}
}

// roomy checks that the table of the server in the background has its size
// already, as far as media.ports' default needs it.
func roomy(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		pid := strconv.Itoa(c.Process.Pid)
		may := fromProc(ts, pid+"/limits", `Max open files\s+(\d+)`)
		if n := fromProc(ts, pid+"/status", `FDSize:\s+(\d+)`); n < min(may, ownDescriptors+10000) {
			ts.Fatalf("of %d descriptors the table has room for %d", may, n)
		}
	}
}

// fromProc is a number that the system tells of a process.
func fromProc(t interface{ Fatalf(string, ...any) }, file, pattern string) int {
	text, err := os.ReadFile(filepath.Join("/proc", file))
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if err != nil || m == nil {
		t.Fatalf("%s has no %s: %v", file, pattern, err)
	}
	n, _ := strconv.Atoi(string(m[1])) // digits, and few
	return n
}
