// Package txn is the transaction layer of RFC 3261 §17 with the corrections
// of RFC 6026, made for a proxy: it never answers in the proxy's name but for
// what the RFC gives to the layer (CANCEL's 200, retransmissions, 482 for a
// merged request, 503 when it is full).
//
// Every message runs to completion on one worker, chosen by its Call-ID, so
// that the messages of a call keep their order and a call needs no lock. A
// worker's queues are bounded: one for users who have proved to be such and for
// peers, which comes first and answers requests with 503 when it is full, and
// one for strangers, which then drops them. Timers come between the two, some at
// a time.
//
// The way of a message: [Layer.Message] → the worker's queue → server.go for
// a request, client.go for a response → the [Handler] or [Sink].
package txn

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// Handler is the transaction user (RFC 3261 §5). Its methods are called on
// the worker that owns the Call-ID and must not block.
type Handler interface {
	// Request hands up a new request: never an ACK, a retransmission, or a
	// CANCEL that the layer has matched.
	Request(s *Server)
	// Cancel says that the INVITE transaction s, which has no final yet, got
	// its first CANCEL. The CANCEL has been answered.
	Cancel(s *Server)
	// Ack hands up an ACK that belongs to no transaction: one to a 2xx.
	Ack(f *flow.Flow, ack *sip.Request)
	// Stray hands up a response without a transaction.
	Stray(f *flow.Flow, res *sip.Response)
}

// Sink hears of one client transaction, on the worker of its owner.
type Sink interface {
	// Response hands up each response once, but every 2xx to an INVITE, also
	// the retransmitted ones (RFC 6026 §7.2).
	Response(c *Client, res *sip.Response)
	// Failed ends the transaction without a final: ErrTimeout or ErrTransport.
	Failed(c *Client, err error)
}

// A Watcher is a Sink that hears each message of the transaction as it is
// sent, once: the request, its CANCEL, the ACK to a final that is not a 2xx. It
// must not change the bytes.
type Watcher interface{ Sent(raw []byte) }

// Errors that a caller may branch on.
var (
	ErrTimeout   = errors.New("no response in time")
	ErrTransport = errors.New("transport failed")
	ErrFinal     = errors.New("transaction has its final response")
	ErrClosed    = errors.New("transaction layer is closed")
	ErrBusy      = errors.New("too many transactions")
)

// Config is what a layer is made of. Zero values take the defaults.
type Config struct {
	Handler         Handler                    // must be set
	Shard           func(callID string) uint64 // nil: a hash of the Call-ID
	Workers         int                        // 0: one for each processor
	Queue           int                        // messages waiting for one worker; 0: 4096
	MaxTransactions int                        // 0: 200,000
	T1, T2, T4      time.Duration              // 0: RFC 3261's
	Log             *slog.Logger               // nil: no log
}

// Defaults. T1, T2 and T4 are RFC 3261 Table 4's; the rest is ours: 4096
// messages are some ten milliseconds of work, and 200,000 transactions of
// about 3 KB are what a machine that runs Sotto can spare.
const (
	defaultT1           = 500 * time.Millisecond
	defaultT2           = 4 * time.Second
	defaultT4           = 5 * time.Second
	defaultQueue        = 4096
	DefaultTransactions = 200_000
)

// Layer is a transaction layer. Its methods are safe for concurrent use
// unless they say otherwise.
type Layer struct {
	cfg     Config
	log     *slog.Logger
	seed    maphash.Seed // of tags
	workers []*worker
	clients clientTable
	open    atomic.Int64 // transactions of both kinds
	crowded atomic.Uint64
	closed  chan struct{}
	once    sync.Once
	wait    sync.WaitGroup
}

// New makes a layer and starts its workers, which Close ends.
func New(c Config) *Layer {
	l := &Layer{cfg: withDefaults(c), seed: maphash.MakeSeed(), closed: make(chan struct{})}
	l.log = l.cfg.Log
	l.clients.init()
	for range l.cfg.Workers {
		w := newWorker(l)
		l.workers = append(l.workers, w)
		l.wait.Add(1)
		go w.run()
	}
	return l
}

// Open is the number of transactions that have not ended, of both kinds.
func (l *Layer) Open() int { return int(l.open.Load()) }

// withDefaults fills in what is zero.
func withDefaults(c Config) Config {
	if c.Shard == nil {
		c.Shard = hashOf
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Queue == 0 {
		c.Queue = defaultQueue
	}
	if c.MaxTransactions == 0 {
		c.MaxTransactions = DefaultTransactions
	}
	if c.T1 == 0 {
		c.T1 = defaultT1
	}
	if c.T2 == 0 {
		c.T2 = defaultT2
	}
	if c.T4 == 0 {
		c.T4 = defaultT4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Close stops the workers and waits for them. Transactions end unheard.
func (l *Layer) Close() {
	l.once.Do(func() { close(l.closed) })
	l.wait.Wait()
}

// Transactions is the number of transactions of both kinds that exist.
func (l *Layer) Transactions() int { return int(l.open.Load()) }

// Message takes a message from the transport.
func (l *Layer) Message(f *flow.Flow, m sip.Message) {
	switch m := m.(type) {
	case *sip.Request:
		w := l.workerOf(m.CallID().Value())
		if !w.offer(job{flow: f, req: m}) {
			l.busy(f, m)
		}
	case *sip.Response:
		c := l.clients.find(clientKey(m))
		w := l.workerOf(m.CallID().Value())
		if c != nil {
			w = c.w
		}
		w.offer(job{flow: f, res: m, cli: c}) // a lost response is sent again
	}
}

// Crowded is how many strangers' messages were dropped since the start because
// their share of the queues or of the transactions was full.
func (l *Layer) Crowded() uint64 { return l.crowded.Load() }

// busy answers a request for which there is no room (RFC 3261 §21.5.4). A
// stranger's is dropped: under a flood each answer would cost a known caller's.
func (l *Layer) busy(f *flow.Flow, req *sip.Request) {
	if !f.Known() {
		l.crowded.Add(1)
		return
	}
	if req.IsAck() {
		return
	}
	res := wire.NewResponse(req, sip.StatusServiceUnavailable, "Service Unavailable")
	res.AppendHeader(sip.NewHeader("Retry-After", "5"))
	l.tagged(res, "busy")
	if err := f.Send(wire.Bytes(res)); err != nil {
		l.log.Debug("503 not sent", "err", err)
	}
}

// Closed tells the transactions that wait for something on a flow that it is gone.
func (l *Layer) Closed(f *flow.Flow) {
	for _, c := range l.clients.on(f) {
		c.w.call(c.transportFailed)
	}
}

// Do runs fn on the worker of a Call-ID, however much waits there. It fails with
// ErrClosed.
func (l *Layer) Do(callID string, fn func()) error {
	select {
	case <-l.closed:
		return ErrClosed
	default:
	}
	l.workerOf(callID).call(fn)
	return nil
}

// After runs fn on the worker of a Call-ID after d, rounded up to a tick.
func (l *Layer) After(callID string, d time.Duration, fn func()) *Timer {
	return l.workerOf(callID).wheel.after(d, fn)
}

func (l *Layer) workerOf(callID string) *worker {
	return l.workers[l.cfg.Shard(callID)%uint64(len(l.workers))]
}

// NewBranch makes a branch parameter (RFC 3261 §8.1.1.7) of 96 random bits.
func NewBranch() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return magicCookie + hex.EncodeToString(b[:])
}

const magicCookie = "z9hG4bK"

// hashOf is FNV-1a.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// A worker owns the calls of its share of the Call-IDs.
type worker struct {
	l       *Layer
	queue   chan job
	later   chan job // of strangers
	wheel   *wheel
	servers map[string]*Server // by serverKey
	merged  map[string]string  // mergeKey of an initial request → its serverKey
}

// A job is one thing for a worker to do: a message, or a function.
type job struct {
	flow *flow.Flow
	req  *sip.Request
	res  *sip.Response
	cli  *Client
	fn   func()
}

func newWorker(l *Layer) *worker {
	return &worker{
		l: l, queue: make(chan job, l.cfg.Queue), later: make(chan job, l.cfg.Queue/strangersQueue), wheel: newWheel(),
		servers: map[string]*Server{}, merged: map[string]string{},
	}
}

// offer queues a job if there is room.
func (w *worker) offer(j job) bool {
	queue := w.queue
	if j.flow != nil && !j.flow.Known() {
		queue = w.later
	}
	select {
	case queue <- j:
		return true
	default:
		return false
	}
}

// call queues fn, behind the timers that are due if the queue is full: a message is
// sent again, but what goes on with a call is not, and the call would never end.
func (w *worker) call(fn func()) {
	if !w.offer(job{fn: fn}) {
		w.wheel.after(0, fn)
	}
}

const (
	// strangersQueue is the part of a queue that strangers have: what waits longer
	// than a tenth of a second has been sent again (ours).
	strangersQueue = 4
	// strangersShare is the part of all transactions that strangers may open:
	// however many they are, callers who are known find room.
	strangersShare = 4
)

// turn is how many jobs, and how many timers, a worker does in one go (ours:
// some milliseconds). Most timers of a flooded server are strangers', so that
// who is known must not wait until all that are due have run.
const turn = 32

// run works until the layer is closed.
func (w *worker) run() {
	defer w.l.wait.Done()
	defer w.wheel.stop()
	for {
		select {
		case <-w.l.closed:
			return
		case <-w.wheel.due():
			w.wheel.turn(time.Now())
		default:
		}
		known, timers := w.known(turn), w.wheel.fire(turn)
		if known || timers {
			continue
		}
		select { // nothing is waiting but, perhaps, strangers
		case <-w.l.closed:
			return
		case <-w.wheel.due():
			w.wheel.turn(time.Now())
		case j := <-w.queue:
			w.do(j)
		case j := <-w.later:
			w.do(j)
		}
	}
}

// known does some of the jobs that come first, and says whether there may be more.
func (w *worker) known(some int) bool {
	for range some {
		select {
		case j := <-w.queue:
			w.do(j)
		default:
			return false
		}
	}
	return true
}

func (w *worker) do(j job) {
	switch {
	case j.fn != nil:
		j.fn()
	case j.req != nil:
		w.request(j.flow, j.req)
	case j.cli != nil:
		j.cli.receive(j.res)
	default:
		w.l.cfg.Handler.Stray(j.flow, j.res)
	}
}
