// Command flood measures what is left for users while a server is flooded:
// hostile datagrams from many addresses (INVITEs of strangers and in users'
// names, REGISTERs without and with wrong passwords, garbage), and users who
// call each other meanwhile, registered and with passwords. The server has one
// processor. `make bench-flood` runs it; results are in docs/strangers.md.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

// bound is what the server may have in memory (ours): of its 200,000
// transactions a sixteenth for calls of strangers, 12 KB each with what stands
// behind them, and three sixteenths for what else strangers may have open, 1.5 KB
// each; 50 MB that it has when nothing happens; and as much again for the collector.
const bound = 512 << 20

func main() {
	var f flood
	flag.StringVar(&f.program, "sotto", "", "the program to measure")
	flag.IntVar(&f.rate, "rate", 20000, "hostile datagrams a second")
	flag.IntVar(&f.from, "from", 2000, "addresses from which they come")
	flag.IntVar(&f.calls, "calls", 20, "calls of users a second")
	flag.DurationVar(&f.lasts, "for", 60*time.Second, "how long")
	flag.Parse()
	r, err := f.run()
	if err == nil {
		fmt.Println(r)
		err = r.verdict()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

// result is what came of a flood.
type result struct {
	lasted    time.Duration
	sent      int // hostile datagrams
	asked     int // calls of users
	setUp     []time.Duration
	failures  []error
	most      int           // memory of the server, bytes
	cpu       time.Duration // of the server
	fromUs    int           // datagrams that came back to the hostile addresses,
	bytesBack int           // and their bytes,
	bytesSent int           // beside those that were sent
	status    string        // what the server says of itself in the end
}

// percentile is one of the set-up times.
func (r result) percentile(p int) time.Duration {
	if len(r.setUp) == 0 {
		return 0
	}
	all := slices.Clone(r.setUp)
	slices.SortFunc(all, cmp.Compare[time.Duration])
	return all[min(len(all)*p/100, len(all)-1)].Round(100 * time.Microsecond)
}

// String is the report.
func (r result) String() string {
	s := r.lasted.Seconds()
	return fmt.Sprintf(`hostile:  %d datagrams in %.0f s, %.0f a second; %d answers; %.3f bytes back for each byte
calls:    %d of %d set up and ended; set-up %v (median), %v (p99), %v (most)
server:   %d MB at most, %.0f %% of one processor
%s`, r.sent, s, float64(r.sent)/s, r.fromUs, float64(r.bytesBack)/float64(max(r.bytesSent, 1)),
		len(r.setUp), r.asked, r.percentile(50), r.percentile(99), r.percentile(100),
		r.most>>20, 100*r.cpu.Seconds()/s, r.status)
}

// verdict says what is not as it must be.
func (r result) verdict() error {
	switch {
	case len(r.failures) > 0:
		return fmt.Errorf("%d calls failed; the first: %w", len(r.failures), r.failures[0])
	case r.percentile(99) > 500*time.Millisecond:
		return fmt.Errorf("a call in a hundred took %v to be set up", r.percentile(99))
	case r.most > bound:
		return fmt.Errorf("the server had %d MB", r.most>>20)
	case r.bytesBack > r.bytesSent:
		return fmt.Errorf("%d bytes went to addresses from which %d came", r.bytesBack, r.bytesSent)
	}
	return nil
}
