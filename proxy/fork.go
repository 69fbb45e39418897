package proxy

import (
	"errors"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/receipt"
	"sotto/proxy/txn"
)

// A fork is one request on its way: the response context of RFC 3261 §16.7.
// It belongs to the worker of its Call-ID; nothing in it is locked.
type fork struct {
	p     *Proxy
	srv   *txn.Server
	treat treatment

	receipt *receipt.Receipt // of the call, nil unless it is protected
	from    leg              // whose request this is

	branches  []*branch
	tried     map[string]bool // targets of this request, so that a 3xx cannot loop
	starting  bool            // branches are being added: nothing is decided yet
	cancelled bool
	answered  bool // a 2xx went upstream
	finished  bool // a final went upstream, or the facade took it

	// mute says that a facade speaks to the caller: only a 2xx crosses (facade.md).
	mute bool
	// won, if not nil, hears of each 2xx before it goes upstream and says whether it may.
	won func(*branch, *sip.Response) bool
	// redirect, if not nil, is where a device of this call redirects to.
	redirect func(sip.Uri) redirection
	// ended, if not nil, hears once that no branch is left, with the best final.
	ended func(code int)
}

// A branch is one target of a fork and its client transaction.
type branch struct {
	fork    *fork
	treat   treatment // the fork's, unless a redirection asks for more protection
	target  target
	flow    *flow.Flow
	next    []destination // where else to try when this one fails (RFC 3263 §4.3)
	req     *sip.Request  // as sent
	cli     *txn.Client
	timerC  *txn.Timer
	media   media // the session that anchors this branch, if any
	rang    bool  // a provisional arrived
	givenUp bool  // what is under way is cancelled, and nothing else begun
	final   int   // 0 while pending
	best    *sip.Response
	success bool
	hungUp  bool // a BYE of ours went to the device
	behind  bool // only a 2xx crosses: the caller is a stranger to whose device it is (redirect.go)
}

// A treatment decides how a message looks on the other side: plain
// (record-routed, RFC 3261 §16) or sealed (a protected call).
type treatment interface {
	// request builds what leaves for the branch's target, without our Via.
	request(b *branch) (*sip.Request, error)
	// response builds what goes upstream. An error on a 2xx ends the branch.
	response(b *branch, res *sip.Response) (*sip.Response, error)
	// release frees what a branch held that will not become the call.
	release(b *branch)
}

// newFork makes the response context of srv's request.
func newFork(p *Proxy, srv *txn.Server, treat treatment) *fork {
	f := &fork{p: p, srv: srv, treat: treat, tried: map[string]bool{}}
	if t, ok := treat.(*sealed); ok {
		f.receipt, f.from = t.receipt(), t.from
	}
	srv.User = f
	return f
}

// maxTargets bounds the branches of one request (ours; RFC 5393 §5 bounds
// breadth at 60 for all hops together, a user has ten devices at most).
const maxTargets = 16

// start sends the request to every target in parallel (RFC 3261 §16.6).
func (f *fork) start(targets []target) {
	f.starting = true
	for _, t := range targets {
		f.add(t)
	}
	f.starting = false
	f.settle()
}

// add makes a branch for t.
func (f *fork) add(t target) { f.begin(&branch{fork: f, treat: f.treat, target: t}) }

// begin adds a branch, unless its target was tried already.
func (f *fork) begin(b *branch) {
	t := b.target
	if f.tried[t.key()] || len(f.branches) >= maxTargets {
		return
	}
	f.tried[t.key()] = true
	f.branches = append(f.branches, b)
	f.p.reach(t, f.srv.CallID(), func(d []destination, err error) {
		switch {
		case b.final != 0 || f.finished:
		case f.cancelled:
			b.end(sip.StatusRequestTerminated, nil)
		case err != nil:
			f.p.log.Info("target unreachable", "call", f.p.ref(f.srv.Req), "err", err)
			b.end(unreachable(err), nil)
		default:
			b.next = d
			b.try()
		}
	})
}

// try sends the branch to its next destination.
func (b *branch) try() {
	f := b.fork
	for len(b.next) > 0 {
		d := b.next[0]
		b.next = b.next[1:]
		fl, err := f.p.connect(d)
		if err != nil {
			continue
		}
		b.flow = fl
		if d.of != nil {
			b.target = *d.of
		}
		if err := b.send(d); err != nil {
			code := codeOf(err)
			f.p.log.Info("request not forwarded", "call", f.p.ref(f.srv.Req), "code", code, "err", err)
			b.end(code, nil)
		}
		return
	}
	// RFC 3261 §16.9: a transport failure counts as a 503, which §16.7 turns into 500.
	b.end(sip.StatusServiceUnavailable, nil)
}

// send builds the branch's request and starts its client transaction.
func (b *branch) send(d destination) error {
	f := b.fork
	if b.req != nil {
		b.treat.release(b)
	}
	req, err := b.treat.request(b)
	if err != nil {
		return err
	}
	req.PrependHeader(f.p.via(b.flow, f.srv.Req))
	b.req = req
	if d.tooLargeFor(req) {
		b.next = append([]destination{d.over("tcp"), d.over("udp")}, b.next...)
		b.try()
		return nil
	}
	cli, err := f.p.txn.Start(f.srv.CallID(), req, b.flow, b)
	if err != nil {
		b.treat.release(b)
		return err
	}
	b.cli = cli
	if req.IsInvite() {
		b.armTimerC()
	}
	return nil
}

// armTimerC starts or restarts timer C (RFC 3261 §16.6 step 11, §16.8).
func (b *branch) armTimerC() {
	if b.timerC != nil {
		b.timerC.Stop()
	}
	b.timerC = b.fork.srv.After(timerC, func() {
		if b.final != 0 {
			return
		}
		if b.rang {
			b.cli.Cancel()
			return
		}
		b.end(sip.StatusRequestTimeout, nil)
	})
}

// Response implements txn.Sink.
func (b *branch) Response(_ *txn.Client, res *sip.Response) {
	b.heard(res)
	switch {
	case res.StatusCode == sip.StatusTrying:
		b.rang = true
	case res.StatusCode < 200:
		b.provisional(res)
	case res.StatusCode < 300:
		b.answeredBy(res)
	case b.final != 0:
	default:
		b.refused(res)
	}
}

// Failed implements txn.Sink: the client transaction timed out or lost its transport.
func (b *branch) Failed(_ *txn.Client, err error) {
	if b.final != 0 {
		return
	}
	if !b.rang && b.mayTryNext() {
		b.try()
		return
	}
	switch {
	case errors.Is(err, txn.ErrTimeout):
		b.end(sip.StatusRequestTimeout, nil)
	case b.target.binding != 0: // a phone's connection has ended: it is away, and the server is well
		b.end(unreachable(errFlowGone), nil)
	default:
		b.end(sip.StatusServiceUnavailable, nil)
	}
}

// mayTryNext says that another destination may take the place of one that has
// failed. A phone that is called after the caller has given up, or another one has
// answered, would ring for nobody.
func (b *branch) mayTryNext() bool { return len(b.next) > 0 && !b.givenUp }

// provisional relays a 101-199 upstream (RFC 3261 §16.7 steps 2 and 5).
func (b *branch) provisional(res *sip.Response) {
	f := b.fork
	b.rang = true
	if b.timerC != nil {
		b.armTimerC()
	}
	if f.mute || b.behind || f.finished || b.final != 0 {
		return
	}
	out, err := b.treat.response(b, res)
	if err != nil {
		f.p.log.Info("provisional not relayed", "call", f.p.ref(f.srv.Req), "err", err)
		return
	}
	f.srv.Relayed = true
	f.reply(out)
}

// answeredBy relays a 2xx: the first cancels all other branches, every one
// crosses (RFC 3261 §16.7 steps 5, 9 and 10). Retransmissions of a 2xx to an
// INVITE come here again and are built anew, so that no state is needed.
func (b *branch) answeredBy(res *sip.Response) {
	f := b.fork
	switch {
	case b.final >= 300, f.finished && !f.answered:
		b.tooLate(res)
		return
	case b.success && f.srv.Req.Method != sip.INVITE:
		return
	}
	out, err := b.answer(res)
	if err != nil {
		f.p.log.Warn("answer not relayed", "call", f.p.ref(f.srv.Req), "err", err)
		b.tooLate(res)
		return
	}
	// Nobody is told of an answer that cannot cross: a facade would fall silent.
	if !b.success && f.won != nil && !f.won(b, res) {
		b.tooLate(res)
		return
	}
	b.success, f.answered, f.finished = true, true, true
	b.close(res.StatusCode)
	f.srv.Relayed = true
	f.reply(out)
	f.cancelOthers(b)
	f.settle()
}

// errNoContact is the error of a 2xx that makes a dialog without saying where
// its requests go (RFC 3261 §12.1.1): the ACK would find no way.
var errNoContact = errors.New("answer without a Contact")

// answer builds what goes upstream of a 2xx.
func (b *branch) answer(res *sip.Response) (*sip.Response, error) {
	if req := b.fork.srv.Req; req.IsInvite() && !inDialog(req) && res.Contact() == nil {
		return nil, errNoContact
	}
	return b.treat.response(b, res)
}

// tooLate ends the dialog of a 2xx that cannot cross: the device hears a BYE,
// and the branch counts as refused.
func (b *branch) tooLate(res *sip.Response) {
	b.fork.p.hangUpBranch(b, res)
	b.end(sip.StatusInternalServerError, nil)
}

// refused takes a 3xx-6xx (RFC 3261 §16.7 steps 3 to 6).
func (b *branch) refused(res *sip.Response) {
	f := b.fork
	if res.StatusCode == sip.StatusServiceUnavailable && b.mayTryNext() {
		b.try() // RFC 3263 §4.3
		return
	}
	if b.behind {
		b.end(sip.StatusTemporarilyUnavailable, nil)
		return
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 && !f.cancelled {
		f.recurse(res)
	}
	if res.StatusCode >= 600 {
		f.cancelOthers(b)
	}
	b.end(res.StatusCode, res)
}

// end gives the branch a final that is no success, once; res is nil when the
// final is our own.
func (b *branch) end(code int, res *sip.Response) {
	if b.final != 0 {
		return
	}
	b.close(code)
	b.best = res
	b.treat.release(b)
	b.fork.settle()
}

// close stops the branch's timer and notes its final.
func (b *branch) close(code int) {
	b.final = code
	if b.timerC != nil {
		b.timerC.Stop()
		b.timerC = nil
	}
}

// settle sends the best response once every branch has a final (RFC 3261 §16.7 step 6).
func (f *fork) settle() {
	if f.starting {
		return
	}
	for _, b := range f.branches {
		if b.final == 0 {
			return
		}
	}
	code, from := f.choose()
	if !f.finished {
		f.finished = true
		f.upstream(code, from)
	}
	if f.ended != nil {
		ended := f.ended
		f.ended = nil
		ended(code)
	}
}

// upstream sends the chosen final, unless a facade speaks for this fork.
func (f *fork) upstream(code int, from *branch) {
	if f.mute {
		return
	}
	if from == nil {
		f.reply(f.p.respond(f.srv.Req, code))
		return
	}
	out, err := from.treat.response(from, from.best)
	if err != nil {
		f.reply(f.p.respond(f.srv.Req, sip.StatusInternalServerError))
		return
	}
	f.mergeChallenges(out)
	f.reply(out)
}

// reply hands a response to the server transaction.
func (f *fork) reply(res *sip.Response) {
	if err := f.srv.Reply(res); err != nil {
		f.p.log.Debug("response not sent", "call", f.p.ref(f.srv.Req), "err", err)
	}
}
