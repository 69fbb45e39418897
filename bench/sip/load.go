package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// place is what a load needs to know.
type place struct {
	server         netip.AddrPort
	caller, callee netip.AddrPort // where the two phones have their sockets
	domain         string
	users          int // user0 to userN-1
	ring, hold     time.Duration
}

// userName and passwordOf are those of a user of the load.
func userName(user int) string   { return fmt.Sprintf("user%d", user) }
func passwordOf(user int) string { return fmt.Sprintf("pw%d", user) }

// A result is what became of a run.
type result struct {
	asked, done int
	setUp       []time.Duration // INVITE to 180, of each call that rang
	refused     map[int]int     // final responses that nobody wants, by code
}

// A load is a caller and a callee on two UDP sockets. It writes from templates
// and looks only for what it needs, so that it costs a small part of what it
// measures. It never sends again: a lost message is a failed call. It runs one
// thing at a time.
type load struct {
	cfg            place
	caller, callee *net.UDPConn
	wait           sync.WaitGroup

	mu      sync.Mutex
	run     int // number of the run, in each Call-ID: what is late finds nobody
	slots   []slot
	free    []int
	done    int
	end     chan struct{} // closed when all are done
	freed   chan struct{} // a slot became free
	target  int
	setUp   []time.Duration
	refused map[int]int
	delayed []delayed // callee's 200 and caller's BYE, in the order of their time
}

// A delayed message leaves at its time.
type delayed struct {
	at   time.Time
	conn *net.UDPConn
	data []byte
}

// slot is one call or registration under way. Its buffers are used again.
type slot struct {
	busy   bool
	n      int // of the run
	user   int
	cseq   int
	began  time.Time
	rang   bool
	route  []byte // header lines
	target []byte
	to     []byte
	auth   string
}

// window bounds what is under way at a time (ours): beyond it a server that
// does not keep up would only fill its queue.
const window = 4096

// newLoad opens the sockets of a load.
func newLoad(c place) (*load, error) {
	caller, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(c.caller))
	if err != nil {
		return nil, err
	}
	callee, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(c.callee))
	if err != nil {
		return nil, errors.Join(err, caller.Close())
	}
	l := &load{
		cfg: c, caller: caller, callee: callee,
		freed: make(chan struct{}, window),
	}
	for _, s := range []*net.UDPConn{caller, callee} {
		_ = s.SetReadBuffer(8 << 20) // the kernel may give less
	}
	l.wait.Add(2)
	go l.read(caller, l.atCaller)
	go l.read(callee, l.atCallee)
	return l, nil
}

// close closes the sockets.
func (l *load) close() error {
	err := errors.Join(l.caller.Close(), l.callee.Close())
	l.wait.Wait()
	return err
}

// read hands each datagram to take, under the lock.
func (l *load) read(c *net.UDPConn, take func(message)) {
	defer l.wait.Done()
	buf := make([]byte, 65536)
	for {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.mu.Lock()
			take(parse(buf[:n]))
			l.mu.Unlock()
		}
	}
}

// calls makes n calls, rate of them a second at even spacing, or with rate 0
// as many at a time as atOnce says.
func (l *load) calls(n, rate, atOnce int) result { return l.play(n, rate, atOnce, l.invite) }

// registrations makes n registrations by the callee, each of a challenge and
// its answer.
func (l *load) registrations(n, rate, atOnce int) result {
	return l.play(n, rate, atOnce, l.register)
}

// play starts n slots with begin and waits for their end.
func (l *load) play(n, rate, atOnce int, begin func(*slot, int)) result {
	if atOnce <= 0 {
		atOnce = window
	}
	l.reset(n, atOnce)
	stop := make(chan struct{})
	var pacer sync.WaitGroup
	pacer.Add(1)
	go func() {
		defer pacer.Done()
		l.sendDelayed(stop)
	}()
	began := time.Now()
	for i := range n {
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Second / time.Duration(rate) * time.Duration(i))))
		}
		if !l.start(i, begin) {
			break
		}
	}
	select {
	case <-l.end:
	case <-time.After(patience):
	}
	r := l.outcome(n)
	close(stop)
	pacer.Wait()
	return r
}

// patience is how long the last call of a run may take (ours).
const patience = 5 * time.Second

// reset makes room for a run.
func (l *load) reset(n, atOnce int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run++
	l.target, l.done, l.end = n, 0, make(chan struct{})
	l.setUp, l.delayed, l.refused = make([]time.Duration, 0, n), nil, map[int]int{}
	for len(l.slots) < atOnce {
		l.slots = append(l.slots, slot{})
	}
	l.free = l.free[:0]
	for i := range atOnce {
		l.slots[i].busy = false
		l.free = append(l.free, i)
	}
	for len(l.freed) > 0 {
		<-l.freed
	}
}

// start begins number i as soon as a slot is free; false if none becomes so.
func (l *load) start(i int, begin func(*slot, int)) bool {
	for {
		l.mu.Lock()
		if last := len(l.free) - 1; last >= 0 {
			id := l.free[last]
			l.free = l.free[:last]
			s := &l.slots[id]
			s.busy, s.n, s.user, s.cseq, s.rang, s.auth = true, i, i%l.cfg.users, 1, false, ""
			s.began = time.Now()
			begin(s, id)
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
		select {
		case <-l.freed:
		case <-time.After(patience):
			return false
		}
	}
}

// finish ends a slot.
func (l *load) finish(id int) {
	s := &l.slots[id]
	s.busy = false
	l.free = append(l.free, id)
	select {
	case l.freed <- struct{}{}:
	default:
	}
	if l.done++; l.done == l.target {
		close(l.end)
	}
}

func (l *load) outcome(n int) result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return result{asked: n, done: l.done, setUp: l.setUp, refused: l.refused}
}

// later sends data after d, at once if d is 0.
func (l *load) later(d time.Duration, c *net.UDPConn, data []byte) {
	if d == 0 {
		l.send(c, data)
		return
	}
	l.delayed = append(l.delayed, delayed{time.Now().Add(d), c, append([]byte(nil), data...)})
}

// sendDelayed sends what is due, every millisecond.
func (l *load) sendDelayed(stop chan struct{}) {
	if l.cfg.ring == 0 && l.cfg.hold == 0 {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			l.mu.Lock()
			kept := l.delayed[:0]
			for _, d := range l.delayed {
				if d.at.After(now) {
					kept = append(kept, d)
				} else {
					l.send(d.conn, d.data)
				}
			}
			l.delayed = kept
			l.mu.Unlock()
		}
	}
}

// send sends a datagram to the server. One that is lost makes a failed call.
func (l *load) send(c *net.UDPConn, data []byte) {
	_, _ = c.WriteToUDPAddrPort(data, l.cfg.server)
}
