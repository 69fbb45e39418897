package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"sotto/rtpengine"
)

// Where the parties of session i are, and the ports that relays may have: a
// fifth more than many sessions take, as an operator has it.
const (
	callerPort = 20000
	calleePort = 40000
	portMin    = 10000
	portMax    = 33999
)

// audio is the description of a party.
func audio(at netip.Addr, port int) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n"+
		"m=audio %[2]d RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"+
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n", at, port)
}

// relayMain is Sotto's engine in a process of its own. It reads commands:
//
//	add FIRST N   sets sessions up, and writes the ports toward both parties
//	churn N       sets N sessions up and ends each at once
//
// and writes "ready" when it has done so.
func relayMain(args []string) error {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	at := flags.String("at", "", "address of the relay")
	plane := flags.String("plane", "user", "user or kernel")
	pause := flags.Duration("pause", 0, "media.pause")
	coalesce := flags.Duration("coalesce", 0, "media.coalesce")
	parties := [2]netip.Addr{}
	flags.TextVar(&parties[0], "caller", netip.Addr{}, "address of the callers")
	flags.TextVar(&parties[1], "callee", netip.Addr{}, "address of the callees")
	if err := flags.Parse(args); err != nil {
		return err
	}
	local, err := netip.ParseAddr(*at)
	if err != nil {
		return err
	}
	e, err := rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: local, Advertised: local}}, PortMin: portMin, PortMax: portMax,
		Plane: rtpengine.Plane(*plane), Pause: *pause, Coalesce: *coalesce, SilenceTimeout: time.Hour, HalfTimeout: time.Hour,
	})
	if err != nil {
		return err
	}
	defer e.Close()
	if _, _, err := e.Gathers(); err != nil {
		return err
	}
	fmt.Println("ready")
	return obey(e, parties, os.Stdin, os.Stdout)
}

// obey does what it reads.
func obey(e *rtpengine.Engine, parties [2]netip.Addr, in io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var (
			first, n int
			err      error
		)
		if _, no := fmt.Sscanf(lines.Text(), "add %d %d", &first, &n); no == nil {
			err = add(e, parties, first, n, w)
		} else if _, no := fmt.Sscanf(lines.Text(), "churn %d", &n); no == nil {
			err = churn(e, parties, n)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "ready")
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// add sets sessions up that stay.
func add(e *rtpengine.Engine, parties [2]netip.Addr, first, n int, w io.Writer) error {
	for i := first; i < first+n; i++ {
		id := rtpengine.ID(1 + i)
		if err := setUp(e, id, parties, i); err != nil {
			return err
		}
		r, _ := e.Query(id)
		fmt.Fprintln(w, r.Streams[0].Caller.Relay.Port(), r.Streams[0].Callee.Relay.Port())
	}
	return nil
}

// churn sets sessions up and ends each at once.
func churn(e *rtpengine.Engine, parties [2]netip.Addr, n int) error {
	for i := range n {
		id := rtpengine.ID(1<<32 + i)
		if err := setUp(e, id, parties, i); err != nil {
			return err
		}
		e.Delete(id)
	}
	return nil
}

// setUp sets one session up.
func setUp(e *rtpengine.Engine, id rtpengine.ID, parties [2]netip.Addr, i int) error {
	_, offer := e.Offer(id, rtpengine.Body{
		From: rtpengine.Caller, SDP: audio(parties[0], callerPort+i), Source: parties[0], Toward: rtpengine.V4,
	})
	_, answer := e.Answer(id, rtpengine.Body{
		From: rtpengine.Callee, SDP: audio(parties[1], calleePort+i), Source: parties[1], Toward: rtpengine.V4,
	})
	return errors.Join(offer, answer)
}
