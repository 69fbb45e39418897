package proxy

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// A facade is all that a stranger meets of a local user (facade.md): 100 at
// once, 180 after t1, 480 at t2, whatever the recipient's state. Behind it,
// and only when the verdict is ring, a muted fork goes to the devices; only
// its first 2xx crosses.
type facade struct {
	p     *Proxy
	srv   *txn.Server
	tag   string // the To tag of everything the stranger hears
	fork  *fork  // nil: silenced
	timer *txn.Timer
	rseq  uint32 // of a reliable 180; 0: none, or acknowledged
	need  int    // how many bytes the 180 and the final take, once it is known
	over  bool   // a final is out or on its way
	past  bool   // the time of the devices is over
	next  func() // goes on with the call then; nil: a 480 ends it
	ended func(code int)
}

// The clock of the facade (facade.md). A device's own answer never moves it.
const (
	ringEarliest    = 800 * time.Millisecond
	ringLatest      = 2500 * time.Millisecond
	giveUpEarliest  = 26500 * time.Millisecond
	giveUpLatest    = 29500 * time.Millisecond
	behindEarliest  = 50 * time.Millisecond
	behindLatest    = 300 * time.Millisecond
	cancelEarliest  = 5 * time.Millisecond
	cancelLatest    = 20 * time.Millisecond
	reliableTimeout = 64 * 500 * time.Millisecond // RFC 3262 §3: 64*T1
)

// newFacade starts the clock of a facade for s.
func (p *Proxy) newFacade(s *txn.Server, tag string, ended func(int)) *facade {
	f := &facade{p: p, srv: s, tag: tag, ended: ended}
	s.User = f
	p.facades.put(f)
	f.timer = s.After(p.chance.between(momentRing, ringEarliest, ringLatest), f.ring)
	s.After(p.chance.between(momentGiveUp, giveUpEarliest, giveUpLatest), f.giveUp)
	return f
}

// behind puts the devices behind the facade and sends them the request.
func (f *facade) behind(treat treatment, targets []target, won func(*branch)) {
	f.fork = newFork(f.p, f.srv, treat)
	f.srv.User = f
	f.fork.mute = true
	f.fork.won = func(b *branch, _ *sip.Response) bool {
		if f.over || f.past {
			return false
		}
		f.finish(sip.StatusOK)
		won(b)
		return true
	}
	f.fork.start(targets)
}

// ring sends the 180 (t1).
func (f *facade) ring() {
	if f.over {
		return
	}
	room := f.srv.Flow.Room()
	if room < f.need {
		f.timer = f.srv.After(txnT1, f.ring) // by then the INVITE has come again, which pays for it
		return
	}
	res := f.response(sip.StatusRinging)
	if f.need = 2 * len(wire.Bytes(res)); room < f.need { // the final needs its own
		f.timer = f.srv.After(txnT1, f.ring)
		return
	}
	if lists(f.srv.Req, "Require", "100rel") {
		f.rseq = 1 + uint32(random()>>34) // RFC 3262 §3
		res.AppendHeader(sip.NewHeader("Require", "100rel"))
		res.AppendHeader(sip.NewHeader("RSeq", strconv.FormatUint(uint64(f.rseq), 10)))
		f.repeat(res, txnT1, 0)
		return
	}
	f.send(res)
}

// txnT1 is RFC 3261's T1, from which a reliable provisional backs off.
const txnT1 = 500 * time.Millisecond

// repeat sends a reliable 180 until it is acknowledged (RFC 3262 §3). A
// stranger who never acknowledges gets the same 480 at the same time.
func (f *facade) repeat(res *sip.Response, wait, spent time.Duration) {
	if f.over || f.rseq == 0 || spent > reliableTimeout {
		return
	}
	if f.srv.Flow.Room() >= 2*len(wire.Bytes(res)) {
		f.send(res)
	}
	f.timer = f.srv.After(wait, func() { f.repeat(res, 2*wait, spent+wait) })
}

// giveUp ends the ringing (t2).
func (f *facade) giveUp() {
	if f.over {
		return
	}
	f.past = true
	if f.next == nil {
		f.refuse()
		f.stopDevices()
		return
	}
	f.stopDevices()
	f.next()
}

// refuse is all that a stranger hears of nobody's answering.
func (f *facade) refuse() {
	f.finish(sip.StatusTemporarilyUnavailable)
	f.last(sip.StatusTemporarilyUnavailable)
}

// last sends the final. Where no device was called, nothing of the call is
// needed any more.
func (f *facade) last(code int) {
	f.send(f.final(code))
	if f.fork == nil {
		f.srv.Settle()
	}
}

// cancel answers the caller's CANCEL soon, without waiting for a device.
func (f *facade) cancel() {
	if f.over {
		return
	}
	f.finish(sip.StatusRequestTerminated)
	f.srv.After(f.p.chance.between(momentCancel, cancelEarliest, cancelLatest), func() {
		f.last(sip.StatusRequestTerminated)
	})
	f.stopDevices()
}

// stopDevices cancels whatever still rings behind the facade.
func (f *facade) stopDevices() {
	if f.fork != nil {
		f.fork.cancel()
	}
}

// finish stops the clock.
func (f *facade) finish(code int) {
	f.over = true
	f.timer.Stop()
	f.p.facades.remove(f)
	if f.ended != nil {
		f.ended(code)
	}
}

// early answers a request inside the early dialog of the facade: always
// alike, and never by a device.
func (f *facade) early(s *txn.Server) {
	code := sip.StatusMethodNotAllowed
	switch s.Req.Method {
	case sip.PRACK:
		code = f.acknowledge(s.Req)
		if s.Flow.Ref() == f.srv.Flow.Ref() {
			s.Flow.Echoed() // it knows the tag
		}
	case sip.BYE:
		code = sip.StatusOK
	case sip.INFO, sip.OPTIONS:
		code = sip.StatusOK
	case sip.UPDATE:
		code = sip.StatusInternalServerError // RFC 3311 §5.2: an offer is unanswered
	}
	res := f.p.respond(s.Req, code)
	if code == sip.StatusInternalServerError {
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(retryAfter)))
	}
	if err := s.Reply(res); err == nil && s.Req.Method == sip.BYE {
		f.cancel()
	}
}

// acknowledge takes a PRACK (RFC 3262 §3).
func (f *facade) acknowledge(req *sip.Request) int {
	rack := strings.Fields(strings.Join(wire.All(req, "RAck"), " "))
	if len(rack) != 3 || f.rseq == 0 || rack[0] != strconv.FormatUint(uint64(f.rseq), 10) {
		return sip.StatusCallTransactionDoesNotExists
	}
	f.rseq = 0
	f.timer.Stop()
	return sip.StatusOK
}

// response is a provisional of the facade: one tag, an opaque Contact at
// Sotto, constant capabilities, nothing else.
func (f *facade) response(code int) *sip.Response {
	res := f.final(code)
	contact, err := f.p.contact(f.srv.Flow, f.box())
	if err == nil {
		res.AppendHeader(contact)
	}
	res.AppendHeader(sip.NewHeader("Allow", allowedMethods))
	res.AppendHeader(sip.NewHeader("Supported", supportedExtensions))
	return res
}

// box is what the facade's Contact holds: nothing but that it is one, padded
// like any other.
func (f *facade) box() box {
	return box{
		kind: boxFacade, mark: markOf(f.srv.CallID()), expires: time.Now().Add(boxLife),
		salt: uint32(random()), session: random(), binding: random(),
		target: strings.Repeat("x", 24+int(random()%24)),
	}
}

// final is a response with the facade's tag and nothing more in it.
func (f *facade) final(code int) *sip.Response {
	res := wire.NewResponse(f.srv.Req, code, reasonPhrase(code))
	res.To().Params.Add("tag", f.tag)
	return res
}

// send hands a response to the server transaction.
func (f *facade) send(res *sip.Response) {
	if err := f.srv.Reply(res); err != nil {
		f.p.log.Debug("response not sent", "call", f.p.ref(f.srv.Req), "err", err)
	}
}

// lists says that a header of a request names an option tag.
func lists(req *sip.Request, header, option string) bool {
	for _, v := range wire.All(req, header) {
		for tag := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(tag), option) {
				return true
			}
		}
	}
	return false
}

// A facadeTable finds the facade of an early dialog by its To tag.
type facadeTable struct {
	most    int           // for callers who have proved nothing
	refused atomic.Uint64 // calls of such, since the start

	mu    sync.Mutex
	byTag map[string]*facade
}

// facadesShare is the part of all transactions that may be calls of people who
// have proved nothing (ours: with 200,000 of them 12,500, which is 440 such
// calls a second, and 10 KB for each).
const facadesShare = 16

// newFacadeTable makes a table for a server that holds so many transactions; 0:
// as many as package txn says.
func newFacadeTable(transactions int) *facadeTable {
	if transactions == 0 {
		transactions = txn.DefaultTransactions
	}
	return &facadeTable{most: max(transactions/facadesShare, 1), byTag: map[string]*facade{}}
}

// full says, and counts, that nobody who has proved nothing may call now.
func (t *facadeTable) full() bool {
	if t.len() < t.most {
		return false
	}
	t.refused.Add(1)
	return true
}

func (t *facadeTable) put(f *facade) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byTag[f.tag] = f
}

func (t *facadeTable) remove(f *facade) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byTag, f.tag)
}

// get returns the facade with that tag, or nil. Its methods may be called
// only on the worker of its Call-ID.
func (t *facadeTable) get(tag string) *facade {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTag[tag]
}

// len is the number of facades at work.
func (t *facadeTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byTag)
}
