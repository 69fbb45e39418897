package proxy

import (
	"sync"
	"time"

	"sotto/internal/aor"
	"sotto/proxy/txn"
	"sotto/store"
)

// How often a recipient is told (ours). A notice tells of all calls since the
// last one, so that what is not told now is told later and nothing is lost.
// Callers cannot make a channel of it: together they cause some thirty notices
// a day, each of them some seven. All whose identity is not established are one
// caller: what a From says costs nothing.
var (
	rateNotices = rate{6, time.Hour}
	rateCaller  = rate{3, 6 * time.Hour}
)

// rateMemory is how long a notice counts: until the slower burst is whole again.
const rateMemory = 18 * time.Hour

// A noticeTable knows what was told to whom when, and which recipients have a
// notice under way, so that calls that come close together make one notice.
// Safe for concurrent use.
type noticeTable struct {
	mu     sync.Mutex
	of     map[aor.AOR]*telling
	closed bool
}

// A telling is what the table knows of one recipient.
type telling struct {
	timer   *txn.Timer           // of the notice to come; nil: none
	sent    int                  // messages whose answer is awaited
	due     time.Time            // when to look again for calls that had to wait; zero: no need
	full    time.Time            // of rateNotices
	callers map[string]time.Time // of rateCaller
}

func newNoticeTable() *noticeTable { return &noticeTable{of: map[aor.AOR]*telling{}} }

// get returns a recipient's entry. The caller holds mu.
func (t *noticeTable) get(to aor.AOR) *telling {
	e := t.of[to]
	if e == nil {
		e = &telling{callers: map[string]time.Time{}}
		t.of[to] = e
	}
	return e
}

// underWay is the number of recipients with a notice under way.
func (t *noticeTable) underWay() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, e := range t.of {
		if e.timer != nil || e.sent > 0 {
			n++
		}
	}
	return n
}

// maxCallers bounds the callers of one recipient that are told apart (ours);
// the others count as one.
const maxCallers = 100

// callerKey is the caller of a call, for rateCaller.
func (e *telling) callerKey(c store.Silenced) string {
	if _, known := e.callers[c.Caller]; !c.Verified || !known && len(e.callers) >= maxCallers {
		return ""
	}
	return c.Caller
}

// ready is when the recipient may be told, with one of these calls as the occasion.
func (e *telling) ready(calls []store.Silenced) time.Time {
	var first time.Time
	for i, c := range calls {
		if at := rateCaller.ready(e.callers[e.callerKey(c)]); i == 0 || at.Before(first) {
			first = at
		}
	}
	if all := rateNotices.ready(e.full); all.After(first) {
		return all
	}
	return first
}

// schedule sends the recipient's notice a random time after from, so that it
// does not tell when exactly the call came (design §5); calls are those that are
// the occasion. If it is too early for one more notice, or the last one is not
// answered yet, tick looks again.
func (t *noticeTable) schedule(p *Proxy, to aor.AOR, calls []store.Silenced, from time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.get(to)
	if t.closed || e.timer != nil || len(calls) == 0 {
		return
	}
	ready, now := e.ready(calls), time.Now()
	if e.sent > 0 || ready.After(now) {
		if e.due.IsZero() || ready.Before(e.due) {
			e.due = later(ready, now)
		}
		return
	}
	wait := p.chance.between(momentNotice, p.cfg.Notice.MinDelay, p.cfg.Notice.MaxDelay+1)
	e.timer = p.txn.After(to.String(), max(0, wait-now.Sub(from)), func() {
		t.mu.Lock()
		e.timer = nil
		t.mu.Unlock()
		p.later("notice", func() error { return p.notify(to) })
	})
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look schedules a notice for a recipient who may have calls to be told of: one
// who registers, or for whom it was too early.
func (t *noticeTable) look(p *Proxy, to aor.AOR) {
	p.later("notice", func() error {
		calls, err := p.store.PendingNotices(to)
		if err == nil {
			t.schedule(p, to, calls, time.Now())
		}
		return err
	})
}

// maxLooks bounds the recipients that one tick looks for (ours: after a restart
// there may be many; the next tick goes on).
const maxLooks = 200

// tick looks for those whose time has come, and forgets whose every burst is whole.
func (t *noticeTable) tick(p *Proxy, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looks := 0
	for to, e := range t.of {
		for who, full := range e.callers {
			if full.Before(now) {
				delete(e.callers, who)
			}
		}
		switch {
		case e.timer != nil || e.sent > 0:
		case !e.due.IsZero() && !e.due.After(now) && looks < maxLooks:
			looks++
			e.due = time.Time{}
			t.look(p, to)
		case e.due.IsZero() && len(e.callers) == 0 && e.full.Before(now):
			delete(t.of, to)
		}
	}
}

// restart has tick look at whoever was not told when the server stopped. What
// was told before counts: who makes a server stop gets no notice more of it.
func (t *noticeTable) restart(untold []aor.AOR, told []store.Telling) {
	for _, n := range told {
		t.begins(n.Recipient, 0, n.At)
		t.told(n.Recipient, n.Calls, n.At)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, to := range untold {
		t.get(to).due = time.Now()
	}
}

func (t *noticeTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, e := range t.of {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
}

// begins notes that so many messages to a recipient are under way.
func (t *noticeTable) begins(to aor.AOR, messages int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.get(to)
	e.sent += messages
	e.full, _ = rateNotices.spend(e.full, 1, now)
}

// ends notes that one is answered, or lost.
func (t *noticeTable) ends(to aor.AOR) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.get(to).sent--
}

// told notes whose calls a recipient has been told of.
func (t *noticeTable) told(to aor.AOR, calls []store.Silenced, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, counted := t.get(to), map[string]bool{}
	for _, c := range calls {
		if key := e.callerKey(c); !counted[key] {
			counted[key] = true
			e.callers[key], _ = rateCaller.spend(e.callers[key], 1, now)
		}
	}
}
