package proxy

import (
	"errors"
	"sync"
	"time"

	"sotto/store"
)

// A diary is what is to be written of strangers' calls. All of it is written at
// once, at a moment of chance well behind the first of them, and there is
// something to write of each, whatever becomes of it: neither that the disk is
// at work, nor when, nor how much tells a stranger of the recipient. Nobody
// waits for it. Safe for concurrent use.
type diary struct {
	p       *Proxy
	mu      sync.Mutex
	notes   []store.Note
	timer   *time.Timer // to the next writing; nil: nothing is to be written
	writing bool
	closed  bool
}

const (
	// The moments of the diary. A call that is silenced is on disk after a second,
	// and what the disk takes: a server that is killed loses what came later.
	diaryEarliest = 300 * time.Millisecond
	diaryLatest   = time.Second
	// maxNotes bounds what waits for a disk that is slow, or full (ours: a second
	// of all that strangers may send, twice; what is more is logged, not kept).
	maxNotes = 4096
)

// put notes a call.
func (d *diary) put(n store.Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.notes) >= maxNotes {
		d.p.log.Warn("not written: the diary is full", "what", "stranger's call")
		return
	}
	d.notes = append(d.notes, n)
	d.wait()
}

// wait waits for the moment to write, if there is something. The caller holds mu.
func (d *diary) wait() {
	if d.timer == nil && !d.writing && len(d.notes) > 0 {
		d.timer = time.AfterFunc(d.p.chance.between(momentDiary, diaryEarliest, diaryLatest), d.turn)
	}
}

// turn has the ledger write what is noted.
func (d *diary) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = nil
	if d.writing || len(d.notes) == 0 {
		return
	}
	notes := d.notes
	entered := d.p.ledger.enter(entry{"strangers' calls", func() error {
		written, err := d.write(notes)
		notes = notes[written:]
		return err
	}})
	if !entered {
		d.p.log.Warn("not written: the ledger is full", "what", "strangers' calls", "count", len(notes))
	}
	d.notes, d.writing = nil, entered
}

// write writes notes, as many as the disk takes, and arranges the notices of
// those. The ledger tries again with the others, and what comes meanwhile waits.
func (d *diary) write(notes []store.Note) (written int, err error) {
	written, err = d.p.store.Note(notes)
	for _, n := range notes[:written] {
		if c := n.Silenced; !n.Decoy && !c.Notified {
			d.p.notices.schedule(d.p, c.Recipient, []store.Silenced{c}, c.At)
		}
	}
	if errors.Is(err, store.ErrUnavailable) {
		return written, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = false
	if !d.closed {
		d.wait()
	}
	return written, err
}

// close has the ledger write what is left.
func (d *diary) close() {
	d.mu.Lock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	d.writing = false
	d.mu.Unlock()
	d.turn()
}
