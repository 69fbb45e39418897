package proxy

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"sotto/store"
)

// A ledger does the writes that no call waits for (the diary's, notices, recent
// calls), one after the other, on a goroutine of its own: a worker that
// handles messages never waits for a disk. What a full disk or a locked
// file does not take is tried again until it is taken.
type ledger struct {
	log     *slog.Logger
	mu      sync.Mutex
	closed  bool
	entries chan entry
	closing chan struct{}
	done    chan struct{}
}

// An entry is one write, and what it is about.
type entry struct {
	what  string
	write func() error
}

const (
	// maxEntries bounds what waits to be written (ours: some seconds of calls
	// between users; what is more is logged, not kept).
	maxEntries = 4096
	// ledgerRetry is how long a write waits that was not taken (ours).
	ledgerRetry = time.Second
)

func newLedger(log *slog.Logger) *ledger {
	l := &ledger{
		log: log, entries: make(chan entry, maxEntries), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(l.done)
		for e := range l.entries {
			l.write(e)
		}
	}()
	return l
}

// write does one write, however often it takes; once the server stops, once more.
func (l *ledger) write(e entry) {
	for tries := 1; ; tries++ {
		err := e.write()
		switch {
		case err == nil:
			return
		case !errors.Is(err, store.ErrUnavailable):
			l.log.Warn("not written", "what", e.what, "err", err)
			return
		case tries == 1:
			l.log.Warn("not written yet; it is tried again", "what", e.what, "err", err)
		}
		select {
		case <-time.After(ledgerRetry):
		case <-l.closing:
			if err := e.write(); err != nil {
				l.log.Warn("not written before the end", "what", e.what, "err", err)
			}
			return
		}
	}
}

// enter queues a write; false if there is no room, or the server stops.
func (l *ledger) enter(e entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.entries <- e:
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
		close(l.closing)
		close(l.entries)
	}
	l.mu.Unlock()
	<-l.done
}

// later enters a write into the ledger.
func (p *Proxy) later(what string, write func() error) {
	if !p.ledger.enter(entry{what, write}) {
		p.log.Warn("not written: the ledger is full", "what", what)
	}
}
