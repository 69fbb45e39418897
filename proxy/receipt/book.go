package receipt

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sotto/proxy/leak"
)

// Config is what a book is made of.
type Config struct {
	// Public says that a text is nobody's secret: an address or domain of the server.
	Public func(text string) bool
	Log    *slog.Logger
}

// A Book does the searching for all receipts, on one goroutine, so that a
// message never waits for it. It takes a tenth of one processor at most: what
// there is no time for is counted as not searched.
type Book struct {
	cfg   Config
	jobs  chan job
	done  chan struct{}
	gone  atomic.Bool
	mu    sync.RWMutex // held for writing while jobs is closed
	leaks atomic.Int64

	// What follows belongs to the goroutine.
	recent []*Receipt // that have a search ready, the oldest first
	warned time.Time
}

// A job is one thing for the goroutine: facts to learn, bytes to search, a
// receipt that needs no more, or something to do in its turn.
type job struct {
	r      *Receipt
	leg    Leg // whose facts, or who receives
	told   *Told
	raw    []byte
	rtcp   bool
	finish bool
	fn     func()
}

const (
	// maxJobs bounds what waits: some megabytes of messages (ours).
	maxJobs = 4096
	// share is which part of one processor searching may take (ours): the
	// receipt is worth less than the calls.
	share = 10
	// slice is how long it searches before it rests, so that rests are long enough
	// to be kept to.
	slice = 2 * time.Millisecond
	// warnEvery bounds how often a finding is logged: if there is one, every call has it.
	warnEvery = time.Minute
	// maxRecent bounds how many receipts have a search ready (ours: each is some 50 kB,
	// and takes a tenth of a millisecond to make again).
	maxRecent = 256
)

// NewBook makes a book; Close ends it.
func NewBook(c Config) *Book {
	b := &Book{cfg: c, jobs: make(chan job, maxJobs), done: make(chan struct{})}
	go b.run()
	return b
}

// Open begins the receipt of a call. What is part of open, such as who calls
// whom, is no secret between the parties.
func (b *Book) Open(ref string, open ...string) *Receipt {
	return &Receipt{book: b, ref: ref, open: strings.ToLower(strings.Join(open, "\n"))}
}

// Close does what is queued and ends the goroutine.
func (b *Book) Close() {
	b.mu.Lock()
	if !b.gone.Swap(true) {
		close(b.jobs)
	}
	b.mu.Unlock()
	<-b.done
}

// Leaks is how often a fact was found in what was sent to the other party,
// since the start.
func (b *Book) Leaks() int { return int(b.leaks.Load()) }

// Settle returns when all that was queued before has been searched, or after
// the time that a person waits.
func (b *Book) Settle(patience time.Duration) {
	ran := make(chan struct{})
	if !b.queue(job{fn: func() { close(ran) }}) {
		return
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-ran:
	case <-t.C:
	}
}

// queue queues a job; false if there is no room, or the book is closed.
func (b *Book) queue(j job) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.gone.Load() {
		return false
	}
	select {
	case b.jobs <- j:
		return true
	default:
		return false
	}
}

// Told is what a message of a party tells of it.
type Told struct {
	Facts []Fact
	Head  string // in which every address is one of the party's
	SDP   string // its description, which is read for more
}

// Learn notes what is told of a party. It is searched for in what is sent from now on.
func (r *Receipt) Learn(of Leg, t Told) {
	if r != nil && !r.book.queue(job{r: r, leg: of, told: &t}) {
		r.missed(of.other())
	}
}

// Sent searches a SIP message that was sent to a party. It keeps raw.
func (r *Receipt) Sent(to Leg, raw []byte) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.legs[to].messages++
	r.mu.Unlock()
	if !r.book.queue(job{r: r, leg: to, raw: raw}) {
		r.missed(to)
	}
}

// Reported searches an RTCP packet that was relayed to a party; one that is
// encrypted end to end is only counted. It copies raw.
func (r *Receipt) Reported(to Leg, raw []byte, secret bool) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.legs[to].reports++
	if secret {
		r.legs[to].secret++
	}
	r.mu.Unlock()
	if !secret && !r.book.queue(job{r: r, leg: to, raw: append([]byte(nil), raw...), rtcp: true}) {
		r.missed(to)
	}
}

// Finish forgets the facts; the receipt stays. False says that there was no
// room for it now.
func (r *Receipt) Finish() bool { return r == nil || r.book.queue(job{r: r, finish: true}) }

func (r *Receipt) missed(to Leg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.legs[to].unsearched++
}

// run does the jobs, and rests in proportion.
func (b *Book) run() {
	defer close(b.done)
	var spent time.Duration
	for j := range b.jobs {
		began := time.Now()
		b.do(j)
		if spent += time.Since(began); spent > slice && !b.gone.Load() {
			time.Sleep(spent * (share - 1))
			spent = 0
		}
	}
}

func (b *Book) do(j job) {
	if j.fn != nil {
		j.fn()
		return
	}
	d := &j.r.known
	switch {
	case j.finish:
		*d = [2]dossier{}
	case j.told != nil:
		if d[j.leg].learn(*j.told, b.cfg.Public) {
			d[Caller].search, d[Callee].search = nil, nil // what one has the other's search leaves out
		}
	default:
		b.ready(j.r)
		b.search(j, &d[j.leg], &d[j.leg.other()])
	}
}

// ready notes that a receipt has a search ready, and lets go of the oldest.
func (b *Book) ready(r *Receipt) {
	if slices.Contains(b.recent, r) {
		return
	}
	if len(b.recent) == maxRecent {
		old := &b.recent[0].known
		old[Caller].search, old[Callee].search = nil, nil
		b.recent = slices.Delete(b.recent, 0, 1)
	}
	b.recent = append(b.recent, r)
}

// search searches bytes for the facts of one party that were sent to the other.
func (b *Book) search(j job, to, of *dossier) {
	s := of.searchFor(to, func(text string) bool { return b.cfg.Public(text) || j.r.isOpen(text) })
	var found []leak.Finding
	if j.rtcp {
		found = s.RTCP(j.raw)
	} else {
		found = s.SIP(searched(j.raw))
	}
	places := map[place]bool{} // one fact is written in several forms
	for _, f := range found {
		places[place{of.kinds[f.Marker], f.In, f.Where}] = true
	}
	j.r.note(j, to, of, places)
	for p := range places {
		b.alarm(j.r, p)
	}
}

// note puts what came of a search into the receipt.
func (r *Receipt) note(j job, to, of *dossier, places map[place]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := &r.legs[j.leg]
	n.facts, n.unsearchable = of.count, of.shared
	for p := range places {
		if n.found == nil {
			n.found = map[place]int{}
		}
		if _, had := n.found[p]; had || len(n.found) < maxPlaces {
			n.found[p]++
		}
	}
	if !j.rtcp {
		n.see(j.raw, to)
		n.samePorts = max(n.samePorts, of.portsIn(j.raw))
	}
}

// alarm counts a finding and logs it, without its value.
func (b *Book) alarm(r *Receipt, p place) {
	b.leaks.Add(1)
	if now := time.Now(); now.Sub(b.warned) >= warnEvery {
		b.warned = now
		b.cfg.Log.Error("LEAK: a message to one party of a protected call told of the other",
			"call", r.ref, "what", p.kind, "in", p.in, "where", p.where)
	}
}
