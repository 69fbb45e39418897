package txn

import (
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// state is the state of a transaction of either kind (RFC 3261 §17, RFC 6026).
type state uint8

const (
	trying     state = iota // non-INVITE; an INVITE client is "calling"
	proceeding              // a provisional went or came
	completed               // a final that is not a 2xx to an INVITE
	confirmed               // server INVITE: the ACK came
	accepted                // a 2xx to an INVITE (RFC 6026)
	terminated
)

// Server is a server transaction. Its methods may be called only on its
// worker: in a Handler's or Sink's method, or in a function given to After or
// Layer.Do with its Call-ID.
type Server struct {
	Req  *sip.Request // as it came; not to be changed; nil once settled
	Flow *flow.Flow   // where it came from and responses go
	User any          // the transaction user's

	// Relayed says that what is not a refusal has come from the other side,
	// which has paid for it (see flow.Flow.Send).
	Relayed bool

	watcher   func(raw []byte)
	w         *worker
	key       string
	mergeKey  string
	state     state
	last      []byte // last response, as sent
	tag       string // To tag of the last response
	cancelled bool
	g         time.Duration
	timerG    *Timer // retransmits a final (INVITE, unreliable)
	timerEnd  *Timer // H, I, J or L: ends the transaction
}

// Watch has fn hear each response as it is sent, once: the last one if there
// is one already, and those to come. It must not change the bytes.
func (s *Server) Watch(fn func(raw []byte)) {
	s.watcher = fn
	if s.last != nil {
		fn(s.last)
	}
}

// CallID is the Call-ID of the request.
func (s *Server) CallID() string { return s.Req.CallID().Value() }

// Final says that a final response went out.
func (s *Server) Final() bool { return s.state >= completed }

// After runs fn on the transaction's worker after d.
func (s *Server) After(d time.Duration, fn func()) *Timer { return s.w.wheel.after(d, fn) }

// request handles a request on its worker.
func (w *worker) request(f *flow.Flow, req *sip.Request) {
	key := serverKey(req)
	if s := w.servers[key]; s != nil {
		s.again(req)
		return
	}
	switch {
	case req.IsAck():
		w.ack(f, req, key)
	case req.IsCancel():
		w.cancel(f, req, key)
	default:
		w.open(f, req, key)
	}
}

// open makes the transaction of a new request and hands it up.
func (w *worker) open(f *flow.Flow, req *sip.Request, key string) {
	s := w.begin(f, req, key)
	if s == nil {
		w.l.busy(f, req)
		return
	}
	if mk := mergeKey(req); mk != "" {
		if other, ok := w.merged[mk]; ok && other != key {
			s.refuse(sip.StatusLoopDetected, "Loop Detected") // RFC 3261 §8.2.2.2
			return
		}
		w.merged[mk], s.mergeKey = key, mk
	}
	w.l.cfg.Handler.Request(s)
}

// begin makes a transaction, nil if there are too many.
func (w *worker) begin(f *flow.Flow, req *sip.Request, key string) *Server {
	most := int64(w.l.cfg.MaxTransactions)
	if !f.Known() {
		most /= strangersShare
	}
	if w.l.open.Add(1) > most {
		w.l.open.Add(-1)
		return nil
	}
	s := &Server{Req: req, Flow: f, w: w, key: key, state: trying}
	w.servers[key] = s
	if req.Method != sip.INVITE {
		// RFC 4320 §4.2: who has not answered by now never will.
		s.timerEnd = s.After(64*w.l.cfg.T1, s.end)
	}
	return s
}

// again takes a retransmission, or the ACK to a final of ours.
func (s *Server) again(req *sip.Request) {
	switch {
	case req.IsAck():
		s.acked(req)
	case s.state == accepted: // RFC 6026 §7.1: absorbed; 2xx come from the far end
	case s.state == confirmed: // overtaken by its ACK
	case s.last != nil:
		s.send(s.last)
	}
}

// acked takes an ACK with the branch of the INVITE (RFC 3261 §17.2.1).
func (s *Server) acked(req *sip.Request) {
	if tag, ok := wire.Param(req.To().Params, "tag"); ok && s.tag != "" && tag == s.tag {
		s.Flow.Echoed()
	}
	switch s.state {
	case completed:
		s.state = confirmed
		s.timerG.Stop()
		s.timerEnd.Stop()
		if s.reliable() {
			s.end()
			return
		}
		s.timerEnd = s.After(s.w.l.cfg.T4, s.end) // timer I
	case accepted: // an ACK to a 2xx should have a branch of its own, but ours is to pass it
		s.w.l.cfg.Handler.Ack(s.Flow, req)
	}
}

// ack takes an ACK without a transaction.
func (w *worker) ack(f *flow.Flow, req *sip.Request, _ string) {
	w.l.cfg.Handler.Ack(f, req)
}

// cancel takes a CANCEL (RFC 3261 §9.2): 200 if it matches, 481 otherwise.
func (w *worker) cancel(f *flow.Flow, req *sip.Request, key string) {
	invite := w.servers[inviteKey(req)]
	s := w.begin(f, req, key)
	switch {
	case s == nil:
		w.l.busy(f, req)
		return
	case invite == nil:
		s.refuse(sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	}
	res := wire.NewResponse(req, sip.StatusOK, "OK")
	setTag(res, invite.tag) // RFC 3261 §9.2
	w.l.tagged(res, invite.key)
	_ = s.Reply(res) // cannot be final yet
	if !invite.Final() && !invite.cancelled {
		invite.cancelled = true
		w.l.cfg.Handler.Cancel(invite)
	}
}

// refuse answers a request in the layer's own name.
func (s *Server) refuse(code int, reason string) {
	res := wire.NewResponse(s.Req, code, reason)
	s.w.l.tagged(res, s.key)
	_ = s.Reply(res) // the first response of a transaction is never refused
}

// Reply sends a response. After a final it fails with ErrFinal, but for more
// 2xx to an INVITE, which pass while the transaction is accepted (RFC 6026
// §7.1). A failed transport is no error here: the sender will ask again.
func (s *Server) Reply(res *sip.Response) error {
	if s.Req == nil {
		return ErrFinal // settled
	}
	final2xx := res.StatusCode/100 == 2 && s.Req.Method == sip.INVITE
	switch {
	case s.state == accepted && final2xx:
	case s.state >= completed:
		return ErrFinal
	}
	raw := wire.Bytes(res)
	if tag, ok := wire.Param(res.To().Params, "tag"); ok {
		s.tag = tag
	}
	s.last = raw
	if s.watcher != nil {
		s.watcher(raw)
	}
	switch {
	case res.StatusCode < 200:
		s.state = proceeding
	case final2xx:
		s.accept()
	case s.Req.Method == sip.INVITE:
		s.complete()
	default:
		s.state = completed
		s.endAfter(64 * s.w.l.cfg.T1) // timer J
	}
	if s.Relayed && res.StatusCode < 300 {
		s.sent(s.Flow.Relay(raw))
		return nil
	}
	s.send(raw)
	return nil
}

// ReplyOnce sends a final response and forgets the transaction (RFC 3261
// §8.2.7): what nobody knows to be anybody's holds no memory then. Whoever does
// not get it asks again, with a new transaction, and must be given the same To
// tag. An ACK goes to the Handler.
func (s *Server) ReplyOnce(res *sip.Response) error {
	if s.Final() {
		return ErrFinal
	}
	raw := wire.Bytes(res)
	if s.watcher != nil {
		s.watcher(raw)
	}
	s.send(raw)
	s.end()
	return nil
}

// Drop forgets a transaction without a word.
func (s *Server) Drop() { s.end() }

// Settle says that the transaction user has done with a transaction that has
// its final response: nothing is kept but what repetitions and the ACK need.
func (s *Server) Settle() {
	if s.Final() {
		s.Req, s.User, s.watcher = nil, nil, nil
	}
}

// accept enters RFC 6026's state for a 2xx.
func (s *Server) accept() {
	if s.state == accepted {
		return
	}
	s.state = accepted
	s.timerEnd = s.After(64*s.w.l.cfg.T1, s.end) // timer L
}

// complete enters the state for another final (RFC 3261 §17.2.1).
func (s *Server) complete() {
	s.state = completed
	s.timerEnd = s.After(64*s.w.l.cfg.T1, s.end) // timer H
	if !s.reliable() {
		s.g = s.w.l.cfg.T1
		s.timerG = s.After(s.g, s.resend)
	}
}

// resend is timer G.
func (s *Server) resend() {
	if s.state != completed {
		return
	}
	s.send(s.last)
	s.g = min(2*s.g, s.w.l.cfg.T2)
	s.timerG = s.After(s.g, s.resend)
}

// endAfter ends the transaction after d, or at once on a reliable transport.
func (s *Server) endAfter(d time.Duration) {
	s.timerEnd.Stop()
	if s.reliable() {
		s.end()
		return
	}
	s.timerEnd = s.After(d, s.end)
}

// end forgets the transaction.
func (s *Server) end() {
	if s.state == terminated {
		return
	}
	s.state = terminated
	s.timerG.Stop()
	s.timerEnd.Stop()
	delete(s.w.servers, s.key)
	if s.mergeKey != "" && s.w.merged[s.mergeKey] == s.key {
		delete(s.w.merged, s.mergeKey)
	}
	s.w.l.open.Add(-1)
}

func (s *Server) reliable() bool { return s.Flow.Transport() != "udp" }

func (s *Server) send(raw []byte) { s.sent(s.Flow.Send(raw)) }

// sent notes what became of a response.
func (s *Server) sent(err error) {
	if err != nil {
		s.w.l.log.Debug("response not sent", "err", err)
	}
}

// serverKey identifies a server transaction (RFC 3261 §17.2.3): branch,
// sent-by and method, where an ACK counts as its INVITE; without the magic
// cookie the rules of RFC 2543.
func serverKey(req *sip.Request) string {
	m := req.Method
	if m == sip.ACK {
		m = sip.INVITE
	}
	return keyWith(req, m)
}

// inviteKey is the key of the INVITE that a CANCEL is about.
func inviteKey(req *sip.Request) string { return keyWith(req, sip.INVITE) }

func keyWith(req *sip.Request, m sip.RequestMethod) string {
	via := req.Via()
	branch, _ := wire.Param(via.Params, "branch")
	if n := len(magicCookie); len(branch) > n && strings.EqualFold(branch[:n], magicCookie) {
		return strings.ToLower(branch) + "|" + strings.ToLower(via.SentBy()) + "|" + string(m)
	}
	from, _ := wire.Param(req.From().Params, "tag")
	return strings.Join([]string{
		"2543", req.Recipient.String(), from, req.CallID().Value(),
		strconv.FormatUint(uint64(req.CSeq().SeqNo), 10), via.Value(), string(m),
	}, "|")
}

// mergeKey tells requests that reached us twice by different ways (RFC 3261
// §8.2.2.2); "" for those inside a dialog. One that comes back for another
// target is a spiral, which is legal (§16.3).
func mergeKey(req *sip.Request) string {
	if tag, ok := wire.Param(req.To().Params, "tag"); ok && tag != "" {
		return ""
	}
	from, _ := wire.Param(req.From().Params, "tag")
	return from + "|" + req.CallID().Value() + "|" + req.CSeq().Value() + "|" + req.Recipient.String()
}

// tagged gives a response of the layer's own a To tag, which only who gets the
// response can know: the Via in it has the address that it goes to.
func (l *Layer) tagged(res *sip.Response, seed string) {
	via := ""
	if v := res.Via(); v != nil {
		via = v.Value()
	}
	setTag(res, "x"+strconv.FormatUint(maphash.String(l.seed, seed+"|"+via+"|"+res.CallID().Value()), 36))
}

// setTag sets the To tag, unless there is one.
func setTag(res *sip.Response, tag string) {
	if _, had := wire.Param(res.To().Params, "tag"); !had && tag != "" {
		res.To().Params.Add("tag", tag)
	}
}
