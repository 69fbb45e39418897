package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// soakCalls are how many calls TestSoak makes; E2E_SOAK=5000 makes more.
const soakCalls = 250

// TestSoak makes many protected calls with media, fifty at a time. None is
// lost, and afterwards nothing of them is left in the server.
func TestSoak(t *testing.T) {
	n := soakCalls
	if text := os.Getenv("E2E_SOAK"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, false)
	l.uncaptured = true
	s := l.serve(acquainted + "\nmedia: {ports: 20000-29999, rest: 1s}")
	s.set("alice", "protect_ip", "always")
	s.set("bob", "protect_ip", "always")
	alice, bob := s.sipp("alice", "udp"), s.sipp("bob", "udp")
	b := bob.play("register", "", "-d", "3600000", "-oocsf", bob.scenario("answer", ""), "-rtp_echo", "-l", "1000")
	eventually(t, "bob is registered", func() bool { return s.status("bindings") == 1 })
	before := map[string]int{}
	settled(s, before)
	began := time.Now()
	a := alice.play("soak", "bob", "-d", "2000", "-r", "25", "-l", "50", "-m", strconv.Itoa(n))
	most := 0
	for running := true; running; {
		select {
		case <-a.ended:
			running = false
		case <-time.After(500 * time.Millisecond):
			most = max(most, s.status("media sessions"))
		}
	}
	took := time.Since(began)
	if code := a.ends(patience); code != 0 {
		t.Errorf("not all calls succeeded (%d):\n%s", code, tail(a.text(0), 3000))
	}
	after := map[string]int{}
	settled(s, after)
	t.Logf("%d calls in %v, %d at a time; before %v, afterwards %v", n, took.Round(time.Second), most, before, after)
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
