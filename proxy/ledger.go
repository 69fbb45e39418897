package proxy

import "sync"

// A ledger does the writes that no call waits for (silenced calls, notices,
// recent calls), one after the other, on a goroutine of its own: a worker
// that handles messages never waits for a disk.
type ledger struct {
	mu      sync.Mutex
	closed  bool
	entries chan func()
	done    chan struct{}
}

// maxEntries bounds what waits to be written (ours: some seconds of a flood of
// silenced calls; what is more is counted and logged, not kept).
const maxEntries = 4096

func newLedger() *ledger {
	l := &ledger{entries: make(chan func(), maxEntries), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for write := range l.entries {
			write()
		}
	}()
	return l
}

// enter queues a write; false if there is no room, or the server stops.
func (l *ledger) enter(write func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.entries <- write:
		return true
	default:
		return false
	}
}

// close finishes what is queued and ends the goroutine.
func (l *ledger) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.entries)
	}
	l.mu.Unlock()
	<-l.done
}

// later enters a write into the ledger.
func (p *Proxy) later(what string, write func()) {
	if !p.ledger.enter(write) {
		p.log.Warn("not written: the ledger is full", "what", what)
	}
}
