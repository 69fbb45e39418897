// Package rtpengine is Sotto's own media engine: it re-writes session
// descriptions so that media runs through it, and relays the packets.
//
// It is not the daemon of the same name; it has that daemon's verbs (offer,
// answer, delete, query), SDP in and SDP out, so that either can stand in for
// the other. It knows no SIP: it is given descriptions, an ID and where the
// signalling of a party comes from.
//
// The way of an RTP packet:
//
//  1. loop_linux.go (or loop.go, over any Wire): a batch of packets is read
//  2. stream.go: RTP, RTCP, STUN, DTLS, ZRTP or nothing that belongs here?
//  3. latch.go: is this the party whose packets we take? else drop and count
//  4. count.go: packets, bytes, loss, jitter, last heard
//  5. rtcp.go, for RTCP in the clear: nothing that names the sender passes
//     ice.go, for STUN: the check of the party's agent leads media to where it is
//  6. out to the other party, from the engine's own address and port
//
// session.go holds what was negotiated, sdp.go re-writes a description line by
// line from an allow-list, pair.go opens the sockets that it needs, ports.go
// hands out ports.
package rtpengine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"sotto/rtpengine/coalesce"
	"sotto/rtpengine/kernel"
)

// ID names a session. It is random: nobody who sees one learns of another.
type ID uint64

// NewID makes an ID, never 0.
func NewID() ID {
	for {
		if id := ID(random()); id != 0 {
			return id
		}
	}
}

// random is a number that nobody can guess.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

// Side is one of the two parties of a session.
type Side uint8

// The sides; they are fixed for the life of a session.
const (
	Caller Side = iota
	Callee
)

// Other is the other side.
func (s Side) Other() Side { return Callee - s }

// String is "caller" or "callee".
func (s Side) String() string {
	if s == Caller {
		return "caller"
	}
	return "callee"
}

// Errors that a caller branches on. None holds anything of a description.
var (
	ErrNoPorts    = errors.New("no free port")
	ErrNoSockets  = errors.New("no descriptor for another socket")
	ErrNoSessions = errors.New("too many sessions")
	ErrUnsafe     = errors.New("session description cannot be made safe")
	ErrUnknown    = errors.New("no such session")
	ErrClosed     = errors.New("engine is closed")
)

// Reason says why a session is reported dead.
type Reason string

// The reasons.
const (
	NoMedia   Reason = "no media from either party"
	HalfMedia Reason = "no media from one party"
)

// Wire is one socket of the engine.
type Wire interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	Close() error
}

// Config is what an engine is made of.
type Config struct {
	Addresses        []Address                          // at least one; of a family the first is used
	Networks         []Network                          // whose parties have addresses of their own
	PortMin, PortMax uint16                             // inclusive
	Rest             time.Duration                      // a released port is left alone for so long
	MaxSessions      int                                // 0: as many as there are ports for
	MaxSockets       int                                // open at a time; 0: as many as there are ports
	SilenceTimeout   time.Duration                      // both parties silent; 0: never
	HalfTimeout      time.Duration                      // one party silent; 0: never
	Listen           func(netip.AddrPort) (Wire, error) // nil: the real network
	Timeout          func(ID, Reason)                   // told of a dead session; must not block
	Reported         func(ID, Side, []byte, bool)       // RTCP as sent to a side; encrypted or not; must not block
	Keep             func(map[uint64][]byte) error      // by ID; nil: sessions end with the process (keep.go)
	Workers          int                                // event loops; 0: one for each processor
	Pause            time.Duration                      // at most one wake-up of a loop in this time; 0: none
	Coalesce         time.Duration                      // packets gather at interfaces for so long at most; 0: they do not
	Plane            Plane                              // by what packets are relayed; zero: user space
	Pin              string                             // where the kernel's flows outlive the process; Restore is called
	Log              *slog.Logger                       // nil: none
}

// Engine relays media. Safe for concurrent use.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	ports *ports
	loops []*loop

	kernel *kernel.Plane // nil: user space relays everything
	why    string

	gathers    *coalesce.Coalescer // nil: not asked for, or ungathered
	ungathered error

	room struct {
		calls int
		bound string
	}

	mu       sync.Mutex
	sessions map[ID]*session
	gone     []ID // ended since they were last kept
	relayed  tally
	closed   bool
	changed  chan struct{}
	stop     chan struct{}
	wait     sync.WaitGroup
}

// New makes an engine and starts its event loops.
func New(c Config) (*Engine, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New("no media address; set media.addresses")
	}
	if c.PortMax <= c.PortMin {
		return nil, fmt.Errorf("ports %d to %d are no range", c.PortMin, c.PortMax)
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: c, log: c.Log, ports: newPorts(c.PortMin, c.PortMax, c.Rest, c.MaxSockets),
		sessions: map[ID]*session{}, stop: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	e.room.calls, e.room.bound = c.Room()
	if err := e.openPlane(); err != nil {
		return nil, err
	}
	e.coalesce()
	for range c.Workers {
		l, err := newLoop(c.Listen, c.Pause, e.gathers, e.log)
		if err != nil {
			e.Close()
			return nil, fmt.Errorf("starting event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	e.wait.Add(1)
	go e.watch()
	if c.Keep != nil {
		e.wait.Add(1)
		go e.keeper()
	}
	return e, nil
}

// Close ends all sessions and waits for the event loops.
func (e *Engine) Close() { e.close(false) }

// HandOver is Close for a process that another one follows: the kernel goes on
// relaying, until the next one has restored the sessions or a lease has ended.
func (e *Engine) HandOver() { e.close(true) }

func (e *Engine) close(leave bool) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	e.mu.Unlock()
	close(e.stop)
	e.wait.Wait() // sessions are kept as they are now, for the next process
	e.mu.Lock()
	all := e.sessions
	e.sessions = map[ID]*session{}
	e.mu.Unlock()
	for _, s := range all {
		s.close(leave)
	}
	for _, l := range e.loops {
		l.close()
	}
	if e.gathers != nil {
		e.gathers.Close()
	}
	switch {
	case e.kernel == nil:
	case leave:
		e.kernel.HandOver()
	default:
		e.kernel.Close()
	}
}

// Body is a description and what is known of the party that wrote it.
type Body struct {
	From   Side
	SDP    []byte
	Source netip.Addr // where the party's signalling comes from; zero: only the signalled address counts
	Toward Family     // what the other party can receive
	Other  netip.Addr // where the other party's signalling goes; zero: in none of Config.Networks
	Split  bool       // a carrier whose media comes from elsewhere than its signalling
}

// Offer takes an offer and returns it for the other party. A session of that
// ID is made if there is none. The same offer gets the same ports again. It
// fails with ErrUnsafe, ErrNoPorts, ErrNoSockets, ErrNoSessions or ErrClosed;
// then nothing of the session has changed.
func (e *Engine) Offer(id ID, b Body) ([]byte, error) {
	s, made, err := e.session(id, true)
	if err != nil {
		return nil, err
	}
	out, err := s.offer(b)
	if err != nil && made {
		e.drop(id)
	}
	e.touch()
	return out, err
}

// Answer takes the answer to the last offer and returns it for the party that
// offered. It may come several times (a 183 and then a 200), and differ. It
// fails with ErrUnsafe, ErrUnknown, ErrNoPorts, ErrNoSockets or ErrClosed; then
// nothing of the session has changed.
func (e *Engine) Answer(id ID, b Body) ([]byte, error) {
	s, _, err := e.session(id, false)
	if err != nil {
		return nil, err
	}
	defer e.touch()
	return s.answer(b)
}

// Rollback forgets the last offer, which was refused: what was negotiated
// before it holds again. Of an unknown session nothing happens.
func (e *Engine) Rollback(id ID) {
	if s, _, err := e.session(id, false); err == nil {
		s.rollback()
	}
}

// session finds a session, or makes it.
func (e *Engine) session(id ID, create bool) (s *session, made bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s = e.sessions[id]
	switch {
	case e.closed:
		return nil, false, ErrClosed
	case s != nil:
		return s, false, nil
	case !create:
		return nil, false, ErrUnknown
	case e.cfg.MaxSessions > 0 && len(e.sessions) >= e.cfg.MaxSessions:
		return nil, false, ErrNoSessions
	}
	s = newSession(e, e.loops[uint64(id)%uint64(len(e.loops))], id)
	e.sessions[id] = s
	e.relayed.begin(s)
	return s, true, nil
}

// drop takes a session out of the table and ends it.
func (e *Engine) drop(id ID) *session {
	e.mu.Lock()
	s := e.sessions[id]
	delete(e.sessions, id)
	if s != nil && e.cfg.Keep != nil {
		e.gone = append(e.gone, id)
	}
	e.mu.Unlock()
	e.touch()
	if s != nil {
		s.close(false)
	}
	return s
}

// Delete ends a session and says what it was; false if there was none.
func (e *Engine) Delete(id ID) (Report, bool) {
	s := e.drop(id)
	if s == nil {
		return Report{}, false
	}
	return s.report(), true
}

// Query says what a session is doing; false if there is none.
func (e *Engine) Query(id ID) (Report, bool) {
	s, _, err := e.session(id, false)
	if err != nil {
		return Report{}, false
	}
	return s.report(), true
}

// Sessions is the number of sessions.
func (e *Engine) Sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

// Ports is how many ports are in use, and how many rest after a call.
func (e *Engine) Ports() (used, resting int) { return e.ports.count(time.Now()) }

// watchEvery is how often sessions are looked at for dead media (ours: the
// timeouts are tens of seconds).
const watchEvery = time.Second

// watch reports sessions whose media has died, and has the kernel asked again
// for flows that it has declined.
func (e *Engine) watch() {
	defer e.wait.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			for id, why := range e.dead(now) {
				if e.cfg.Timeout != nil {
					e.cfg.Timeout(id, why)
				}
			}
		}
	}
}

// dead lists the sessions that have just been found dead.
func (e *Engine) dead(now time.Time) map[ID]Reason {
	e.mu.Lock()
	all := slices.Collect(maps.Values(e.sessions))
	e.mu.Unlock()
	found := map[ID]Reason{}
	for _, s := range all {
		if e.kernel != nil {
			s.reconsider(now)
		}
		if why, ok := s.died(now, e.cfg.SilenceTimeout, e.cfg.HalfTimeout); ok {
			found[s.id] = why
		}
	}
	return found
}
