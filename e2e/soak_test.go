package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// soakCalls are how many calls TestSoak makes; E2E_SOAK=5000 makes more.
const soakCalls = 250

// TestSoak makes many protected calls with media, fifty at a time. None is
// lost, and afterwards nothing of them is left in the server.
func TestSoak(t *testing.T) {
	t.Parallel()
	n := soakCalls
	if text := os.Getenv("E2E_SOAK"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, false)
	l.uncaptured = true
	l.media = ", ports: 20000-29999, rest: 1s"
	s := l.serve(acquainted)
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.sipp("alice", "udp"), s.sipp("bob", "udp")
	b := bob.play("register", "", "-d", "3600000", "-oocsf", bob.scenario("answer", ""), "-rtp_echo", "-l", "1000")
	eventually(t, "bob is registered", func() bool { return s.status("bindings") == 1 })
	before := map[string]int{}
	settled(s, before)
	began, used := time.Now(), cpuTime(s)
	stats := filepath.Join(alice.dir, "soak.csv")
	a := alice.play("soak", "bob", "-d", "2000", "-r", "25", "-l", "50", "-m", strconv.Itoa(n),
		"-trace_stat", "-stf", stats)
	most := 0
	for running := true; running; {
		select {
		case <-a.ended:
			running = false
		case <-time.After(500 * time.Millisecond):
			most = max(most, s.status("media sessions"))
		}
	}
	took, used := time.Since(began), cpuTime(s)-used
	if code := a.ends(patience); code != 0 {
		t.Errorf("not all calls succeeded (%d):\n%s", code, tail(a.text(0), 3000))
	}
	after := map[string]int{}
	settled(s, after)
	t.Logf("%d calls in %v, %d at a time, %v of CPU; before %v, afterwards %v",
		n, took.Round(time.Second), most, used.Round(10*time.Millisecond), before, after)
	t.Logf("the caller's SIPp counts %s", lastRow(t, stats, "SuccessfulCall(C)", "FailedCall(C)", "Retransmissions(C)"))
	for _, what := range []string{"goroutines", "descriptors"} { // a verb of before may still be closing its own
		eventually(t, what+" are as before", func() bool { return s.status(what) <= before[what] })
	}
	if most < 20 {
		t.Errorf("only %d calls at a time", most)
	}
	b.quits()
}

// settled waits until nothing of any call is left, transactions included,
// which the RFC keeps for 32 s, and notes what the process has open.
func settled(s *server, counts map[string]int) {
	s.lab.t.Helper()
	s.idle()
	for _, what := range []string{"transactions", "resting ports"} {
		eventually(s.lab.t, "no "+what+" are left", func() bool { return s.status(what) == 0 })
	}
	for _, what := range []string{"bindings", "connections", "goroutines", "descriptors"} {
		counts[what] = s.status(what)
	}
}

// cpuTime is what the server's process has used in user and system mode.
func cpuTime(s *server) time.Duration {
	s.lab.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.proc.cmd.Process.Pid))
	if err != nil {
		s.lab.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may have spaces
	fields := strings.Fields(rest)
	var ticks int // of 10 ms (sysconf(_SC_CLK_TCK))
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			s.lab.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// lastRow is what the last row of SIPp's statistics has in some columns.
func lastRow(t *testing.T, file string, columns ...string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	rows := lines(text)
	if err != nil || len(rows) < 2 {
		t.Fatalf("reading SIPp's statistics: %d rows, %v", len(rows), err)
	}
	names, values := strings.Split(rows[0], ";"), strings.Split(rows[len(rows)-1], ";")
	var found []string
	for i, name := range names[:min(len(names), len(values))] {
		if slices.Contains(columns, name) {
			found = append(found, name+" "+values[i])
		}
	}
	return strings.Join(found, ", ")
}
