// Command media compares what relaying a packet costs: in Sotto's two planes,
// in Debian's rtpengine (in user space), in a forwarder in C that does nothing
// else, and where nobody relays. `make bench-media` runs it, as root.
//
// Phones, relay and receiver are in three network namespaces of its own; the
// phones have one processor, the relay and the system's work for it the other.
// CPU time is that of the relay's process, of the threads that receive for its
// two interfaces, and of the soft interrupts that were put off: sending, and
// the receiver that counts and drops, are in it, and "no relay" is what
// remains without a relay. All is measured in turns of seconds, in one run;
// what is shown are medians, with the lowest and the highest beside.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are what may be asked for.
type options struct {
	lasting  time.Duration
	reps     int
	sessions int
	many     int // sessions that are many, and fit
	stages   string
	only     string
	burst    time.Duration
	coalesce time.Duration
	halt     bool
}

func main() {
	var err error
	if sub := subcommand(os.Args); sub != nil {
		err = sub(os.Args[2:])
	} else {
		var o options
		flag.DurationVar(&o.lasting, "for", 400*time.Millisecond, "length of a turn, less than a second")
		flag.IntVar(&o.reps, "reps", 7, "turns of each")
		flag.IntVar(&o.sessions, "sessions", 1000, "sessions")
		flag.StringVar(&o.stages, "stages", "", "of rates,most,sessions,streams,processors; all if empty")
		flag.DurationVar(&o.burst, "burst", 0, "have packets leave together, at multiples of this time")
		flag.DurationVar(&o.coalesce, "coalesce", 0, "have packets gather for this time at the interfaces of every relay")
		flag.BoolVar(&o.halt, "halt", false, "let the relay's processor halt when it has nothing to do")
		flag.StringVar(&o.only, "only", "", "contestants whose name has this in it, separated by semicolons")
		flag.Parse()
		err = compare(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// subcommand is another job of this program; nil: to compare.
func subcommand(args []string) func([]string) error {
	if len(args) < 2 {
		return nil
	}
	return map[string]func([]string) error{"relay": relayMain, "soak": soakMain, "soaked": soakedMain}[args[1]]
}

// openFiles is enough for many sessions of any contestant, which open four
// files for each, and some of their own.
const (
	openFiles = 100000
	many      = 5000
	ownFiles  = 400
)

// fits raises the limit of open files, and says how many of many sessions fit
// where that is not permitted.
func fits() (int, error) {
	limit := unix.Rlimit{Cur: openFiles, Max: openFiles}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		return many, nil
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("open files: %w", err)
	}
	return min(many, int(limit.Max-ownFiles)/4), nil
}

// compare runs everything and writes the tables.
func compare(o options) (err error) {
	if runtime.NumCPU() < 2 {
		return errors.New("it takes two processors: the phones' and the relay's")
	}
	o.many, err = fits()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the temporary directory
	forward, err := compile(dir)
	if err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.lab.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM)
	go func() {
		<-interrupted
		b.lab.close()
		os.Exit(1)
	}()
	if !o.halt {
		if err := b.lab.wake(); err != nil {
			return err
		}
	}
	_, missing := exec.LookPath("rtpengine")
	if missing != nil {
		fmt.Fprintln(os.Stderr, "rtpengine is not installed: it is left out")
	}
	who := slices.DeleteFunc(contestants(forward, missing == nil), func(c contestant) bool {
		return !slices.ContainsFunc(strings.Split(o.only, ";"), func(s string) bool { return strings.Contains(c.name, s) })
	})
	return b.all(o, who)
}

// compile makes the baseline of its source; it is run from the root of the repository.
func compile(dir string) (string, error) {
	out := filepath.Join(dir, "forward")
	c := exec.Command("cc", "-O2", "-Wall", "-pthread", "-o", out, "bench/media/baseline/forward.c")
	if text, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the baseline: %w: %s", err, text)
	}
	return out, nil
}
