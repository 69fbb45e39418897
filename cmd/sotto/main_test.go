package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sotto": main})
}

// TestScripts plays the sessions of testdata. Beside what testscript has there
// are: play, which carries out the lines of a session that begin with $ and
// writes what a person would have seen to "played"; mask, which writes an
// output to "masked" without what is random; fill, which puts an address of
// the script's own for HOST into a file; ready, which waits for a server's
// control socket; await, which waits for a text in a file; signal; dial and
// talk, which call with built-in phones; ping, which opens connections;
// roomy, which looks at the server's table of descriptors; and scrape, which
// compares the metrics with sotto status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// Nobody else on this machine has a port at this address.
			host := fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
			e.Vars = append(e.Vars, "HOST="+host, "TZ=UTC", "HOME="+e.WorkDir, "COLUMNS=100")
			e.Values["env"] = e.Vars
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"play": play, "mask": mask, "fill": fill, "ready": ready, "await": await, "signal": signalTo, "dial": dial,
			"talk": converseIn, "ping": ping, "roomy": roomy, "speak": speak, "scrape": scrape,
		},
		Condition: allowed,
	})
}

// allowed is what a script may ask of the machine: [netns] for a network
// namespace of its own, [caps] for taking capabilities away.
func allowed(condition string) (bool, error) {
	switch condition {
	case "netns":
		return exec.Command("unshare", "--net", "ip", "link", "set", "lo", "up").Run() == nil, nil
	case "caps":
		return exec.Command("setpriv", "--bounding-set=-all", "--inh-caps=-all", "true").Run() == nil, nil
	}
	return false, fmt.Errorf("no condition is named %q", condition)
}

// play SESSION carries out the lines that begin with $ and writes them, what
// came out and each exit code that is not 0 to the file "played".
func play(ts *testscript.TestScript, _ bool, args []string) {
	var all strings.Builder
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		sh := exec.Command("sh", "-c", command)
		sh.Dir = ts.MkAbs(".")
		sh.Env, _ = ts.Value("env").([]string)
		out, err := sh.CombinedOutput()
		all.WriteString(line + masked(ts, string(out)))
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			fmt.Fprintf(&all, "[%d]\n", exit.ExitCode())
		case err != nil:
			ts.Fatalf("%s: %v", command, err)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs("played"), []byte(all.String()), 0o600))
}

// mask FILE writes it to the file "masked" without what is random.
func mask(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs("masked"), []byte(masked(ts, ts.ReadFile(args[0]))), 0o600))
}

// masked hides what differs from run to run: with x where it stands in a
// column.
func masked(ts *testscript.TestScript, text string) string {
	for _, r := range [][2]string{
		{regexp.QuoteMeta(ts.Getenv("WORK")), "WORK"},
		{regexp.QuoteMeta(ts.Getenv("HOST")), "HOST"},
		{`/\S+/bin/sotto\b`, "SOTTO"},
		{`pt1\.[\w-]{100}`, "pt1.TOKEN"},
		{`pk1\.[\w-]{43}`, "pk1.KEY"},
		{`(password: )[\w-]{16}`, "${1}PASSWORD"},
		{`(phrase: )([a-z]+ ){11}[a-z]+`, "${1}TWELVE WORDS"},
		{`\d{4}-\d\d-\d\d`, "DATE"},
		{`\d\d:\d\d(:\d\d)?( UTC)?`, "TIME"},
		{`call [a-z0-9]+:`, "call xxxxxxxx:"},
		{`length: \d+s`, "length: SECONDS"},
		{`in \d+ messages?( and \d+ RTCP reports?)? sent`, "in SOME sent"}, // reports come when they come
		{`(?m)^((?:RTCP|packet) .*\D)\d+$`, "${1}SOME"},                    // reports and audio come when they come
		{`\(\d+ packets?, [\d.]+ kB\)`, "(SIZE)"},
		{`\d+ (packets|audio|RTCP)\b`, "N $1"},
		{`(slowest round trip \S+ ms of) \d+`, "$1 N"},
		{`passed on: \d+`, "passed on: N"},
		{`misses 0 of \d+`, "misses 0 of N"},
		{`\d+\.\d ms`, "N.N ms"},
		{`MOS \d\.\d`, "MOS N.N"},
		{`(?m)(^[█▀▄ ]+$\n)+`, "QR\n"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	for _, r := range []string{
		`127\.0\.0\.\d:(\d{5})`, `HOST:(\d{5})`, `s1-([\w-]+)…`, `s1-x+…([\w-]+)`, `t1-([\w-]{16})`, `\b([0-9a-f]{16})\b`,
		`(?m)^([a-z0-9 ]{8})  (?:ringing|talking|silenced|ended)`,
	} {
		text = crossed(text, regexp.MustCompile(r))
	}
	return text
}

// crossed puts an x for each character of what the group of r matches.
func crossed(text string, r *regexp.Regexp) string {
	b := []byte(text)
	for _, m := range r.FindAllSubmatchIndex(b, -1) {
		copy(b[m[2]:m[3]], strings.Repeat("x", m[3]-m[2]))
	}
	return string(b)
}

// fill FILE... puts the script's address into files.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := strings.ReplaceAll(ts.ReadFile(name), "HOST", ts.Getenv("HOST"))
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// patience is what a machine under load may take.
const patience = 30 * time.Second

// ready DIR waits until the server with that data directory takes verbs.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	path := ctlSocket(ts.MkAbs(args[0]))
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			ts.Check(c.Close())
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v", err)
		}
	}
}

// await FILE TEXT waits until a file has a text.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text := ts.ReadFile(args[0])
		if strings.Contains(text, args[1]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s has no %q:\n%s", args[0], args[1], text)
		}
	}
}

// signalTo NAME sends a signal to the commands in the background.
func signalTo(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "USR2": syscall.SIGUSR2,
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

// TestEveryVerbIsPlayed compares the scripts with the verbs that a desk knows.
func TestEveryVerbIsPlayed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	for verb := range (&desk{}).verbs() {
		if !bytes.Contains(all, []byte("sotto "+verb)) {
			t.Errorf("no script plays sotto %s", verb)
		}
	}
}
