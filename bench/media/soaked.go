package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"sotto/rtpengine"
)

// A state is what Sotto's engine holds at a moment.
type state struct {
	Heap              uint64 // bytes in use
	Goroutines, Files int
	Sessions          int
	Ports, Resting    int
	Kept              int // sessions of which something is kept for the next process
	Begun             int // sessions, since the start
	Gathers           int // interfaces at which packets gather
	Relayed           rtpengine.Relayed
	Dropped           map[string]uint64 // by rule, of the sessions that have ended
}

// lost is how many packets the engine had and did not relay.
func (s state) lost() (n uint64) {
	for _, d := range s.Dropped {
		n += d
	}
	return n
}

// A soaked engine has sessions that come and go in slots.
type soaked struct {
	e       *rtpengine.Engine
	parties [2]netip.Addr
	slots   []rtpengine.ID // 0: empty
	state   state

	mu   sync.Mutex
	kept map[uint64][]byte
}

// soakedMain is Sotto's engine in a process of its own. It reads commands:
//
//	swap SLOT   ends the slot's session, if any, sets a new one up, and writes its ports
//	end SLOT    ends the slot's session
//	state       writes what the engine holds
func soakedMain(args []string) error {
	flags := flag.NewFlagSet("soaked", flag.ExitOnError)
	at := flags.String("at", "", "address of the relay")
	plane := flags.String("plane", "user", "user or kernel")
	pause := flags.Duration("pause", 0, "media.pause")
	coalesce := flags.Duration("coalesce", 0, "media.coalesce")
	rest := flags.Duration("rest", 0, "media.rest")
	slots := flags.Int("slots", 1, "sessions at a time")
	s := &soaked{kept: map[uint64][]byte{}}
	s.state.Dropped = map[string]uint64{}
	flags.TextVar(&s.parties[0], "caller", netip.Addr{}, "address of the callers")
	flags.TextVar(&s.parties[1], "callee", netip.Addr{}, "address of the callees")
	if err := flags.Parse(args); err != nil {
		return err
	}
	local, err := netip.ParseAddr(*at)
	if err != nil {
		return err
	}
	s.slots = make([]rtpengine.ID, *slots)
	s.e, err = rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: local, Advertised: local}}, PortMin: portMin, PortMax: portMax,
		Rest: *rest, Plane: rtpengine.Plane(*plane), Pause: *pause, Coalesce: *coalesce,
		Keep: s.keep, SilenceTimeout: time.Hour, HalfTimeout: time.Hour,
	})
	if err != nil {
		return err
	}
	defer s.e.Close()
	fmt.Println("ready")
	return s.obey(os.Stdin, os.Stdout)
}

// keep is the store.
func (s *soaked) keep(changes map[uint64][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, text := range changes {
		if text == nil {
			delete(s.kept, id)
		} else {
			s.kept[id] = text
		}
	}
	return nil
}

// obey does what it reads; each command has one line of JSON as its answer.
func (s *soaked) obey(in io.Reader, out io.Writer) error {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var (
			i      int
			answer any
			err    error
		)
		if _, no := fmt.Sscanf(lines.Text(), "swap %d", &i); no == nil {
			s.end(i)
			answer, err = s.begin(i)
		} else if _, no := fmt.Sscanf(lines.Text(), "end %d", &i); no == nil {
			s.end(i)
			answer = struct{}{}
		} else {
			answer = s.now()
		}
		if err == nil {
			err = json.NewEncoder(out).Encode(answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin sets a session up.
func (s *soaked) begin(i int) (p pair, err error) {
	id := rtpengine.NewID()
	if err := setUp(s.e, id, s.parties, i); err != nil {
		return p, err
	}
	r, ok := s.e.Query(id)
	if !ok {
		return p, errors.New("a session that was set up is not there")
	}
	s.slots[i] = id
	s.state.Begun++
	return pair{r.Streams[0].Caller.Relay.Port(), r.Streams[0].Callee.Relay.Port()}, nil
}

// end ends a session, and adds what of it was not relayed.
func (s *soaked) end(i int) {
	r, ok := s.e.Delete(s.slots[i])
	s.slots[i] = 0
	if !ok {
		return
	}
	for _, side := range []rtpengine.SideReport{r.Streams[0].Caller, r.Streams[0].Callee} {
		for why, n := range side.Dropped {
			s.state.Dropped[why] += n
		}
	}
}

// now is the state.
func (s *soaked) now() state {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	st := s.state
	st.Heap, st.Goroutines, st.Sessions = m.HeapInuse, runtime.NumGoroutine(), s.e.Sessions()
	st.Ports, st.Resting = s.e.Ports()
	st.Relayed = s.e.Relayed()
	st.Gathers, _, _ = s.e.Gathers()
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		st.Files = len(files) - 1 // the directory itself
	}
	s.mu.Lock()
	st.Kept = len(s.kept)
	s.mu.Unlock()
	return st
}
