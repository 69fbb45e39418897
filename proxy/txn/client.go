package txn

import (
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// Client is a client transaction. Its methods may be called only on the
// worker of its owner.
type Client struct {
	Req  *sip.Request // as sent
	Flow *flow.Flow

	w          *worker
	sink       Sink
	key        string
	state      state
	raw        []byte
	ack        []byte // the ACK to a final that is not a 2xx
	wait       time.Duration
	timerAgain *Timer // A or E: retransmits the request
	timerEnd   *Timer // B, F: no final in time; D, K, M: forget it
	cancel     []sip.Header
	cancelling bool // a CANCEL went, or waits for a provisional
}

// Start sends a request, whose top Via must have a branch of NewBranch, and
// keeps its transaction. Owner is the Call-ID whose worker the transaction
// belongs to, on which Start must be called: for a proxy the one of the
// request that it forwards. It fails with ErrBusy when there are too many
// transactions; a transport that fails is reported to the sink.
func (l *Layer) Start(owner string, req *sip.Request, f *flow.Flow, sink Sink) (*Client, error) {
	return l.workerOf(owner).start(req, f, sink)
}

func (w *worker) start(req *sip.Request, f *flow.Flow, sink Sink) (*Client, error) {
	l := w.l
	if l.open.Add(1) > int64(l.cfg.MaxTransactions) {
		l.open.Add(-1)
		return nil, ErrBusy
	}
	c := &Client{Req: req, Flow: f, w: w, sink: sink, raw: wire.Bytes(req)}
	branch, _ := wire.Param(req.Via().Params, "branch")
	c.key = strings.ToLower(branch) + "|" + string(req.Method)
	l.clients.add(c)
	c.tell(c.raw)
	if err := f.Send(c.raw); err != nil {
		c.w.wheel.after(0, c.transportFailed)
		return c, nil
	}
	if !c.reliable() {
		c.wait = l.cfg.T1
		c.timerAgain = c.w.wheel.after(c.wait, c.again) // timer A, E
	}
	c.timerEnd = c.w.wheel.after(64*l.cfg.T1, c.timedOut) // timer B, F
	return c, nil
}

// again is timer A (INVITE: doubling) or E (doubling up to T2, and every T2
// once a provisional came) of RFC 3261 §17.1.
func (c *Client) again() {
	l := c.w.l
	if c.state > proceeding || c.invite() && c.state == proceeding {
		return
	}
	if err := c.Flow.Send(c.raw); err != nil {
		c.transportFailed()
		return
	}
	switch {
	case c.invite():
		c.wait *= 2
	case c.state == proceeding:
		c.wait = l.cfg.T2
	default:
		c.wait = min(2*c.wait, l.cfg.T2)
	}
	c.timerAgain = c.w.wheel.after(c.wait, c.again)
}

// timedOut is timer B or F, or RFC 3261 §9.1's for an INVITE that was
// cancelled and never ends.
func (c *Client) timedOut() { c.fail(ErrTimeout) }

func (c *Client) transportFailed() { c.fail(ErrTransport) }

// fail ends the transaction without a final.
func (c *Client) fail(err error) {
	if c.state >= completed {
		return
	}
	c.end()
	c.sink.Failed(c, err)
}

// receive takes a response (RFC 3261 §17.1.1.2, §17.1.2.2, RFC 6026 §7.2).
func (c *Client) receive(res *sip.Response) {
	switch {
	case c.state == terminated:
		c.w.l.cfg.Handler.Stray(c.Flow, res)
	case c.state == completed:
		if res.StatusCode >= 300 {
			c.acknowledge() // the ACK was lost
		}
	case c.state == accepted:
		if res.StatusCode/100 == 2 {
			c.sink.Response(c, res)
		}
	case res.StatusCode < 200:
		c.provisional(res)
	case c.invite() && res.StatusCode < 300:
		c.state = accepted
		c.finish(64 * c.w.l.cfg.T1) // timer M
		c.sink.Response(c, res)
	default:
		c.final(res)
	}
}

// provisional stops the retransmission of an INVITE and lets a waiting CANCEL go.
func (c *Client) provisional(res *sip.Response) {
	first := c.state == trying
	c.state = proceeding
	if first && c.invite() {
		c.timerAgain.Stop()
		c.timerEnd.Stop() // the proxy has timer C
	}
	if first && c.cancelling {
		c.sendCancel()
	}
	c.sink.Response(c, res)
}

// final takes a final that is not a 2xx to an INVITE.
func (c *Client) final(res *sip.Response) {
	c.state = completed
	d := c.w.l.cfg.T4 // timer K
	if c.invite() {
		d = 64 * c.w.l.cfg.T1 // timer D: at least 32 s
		c.ack = wire.Bytes(ackTo(c.Req, res))
		c.tell(c.ack)
		c.acknowledge()
	}
	c.finish(d)
	c.sink.Response(c, res)
}

// finish stops retransmitting and forgets the transaction after d; on a
// reliable transport only the 2xx to an INVITE is waited for.
func (c *Client) finish(d time.Duration) {
	c.timerAgain.Stop()
	c.timerEnd.Stop()
	if c.reliable() && c.state != accepted {
		c.w.wheel.after(0, c.end)
		return
	}
	c.timerEnd = c.w.wheel.after(d, c.end)
}

// acknowledge sends the ACK to a final that is not a 2xx, at once and for
// each retransmission of it.
func (c *Client) acknowledge() {
	if c.ack == nil {
		return
	}
	if err := c.Flow.Send(c.ack); err != nil {
		c.w.l.log.Debug("ACK not sent", "err", err)
	}
}

// end forgets the transaction.
func (c *Client) end() {
	if c.state == terminated {
		return
	}
	c.state = terminated
	c.timerAgain.Stop()
	c.timerEnd.Stop()
	c.w.l.clients.remove(c)
	c.w.l.open.Add(-1)
}

// Cancel gives up an INVITE (RFC 3261 §9.1). The CANCEL is held back until a
// provisional came; the final comes to the sink as ever, or ErrTimeout.
func (c *Client) Cancel(headers ...sip.Header) {
	if c.cancelling || c.state > proceeding || !c.invite() {
		return
	}
	c.cancelling, c.cancel = true, headers
	if c.state == proceeding {
		c.sendCancel()
	}
}

// sendCancel sends the CANCEL as a transaction of its own.
func (c *Client) sendCancel() {
	req := derive(c.Req, sip.CANCEL)
	for _, h := range c.cancel {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	if _, err := c.w.start(req, c.Flow, deaf{c.sink}); err != nil {
		c.w.l.log.Debug("CANCEL not sent", "err", err)
	}
	c.timerEnd = c.w.wheel.after(64*c.w.l.cfg.T1, c.timedOut)
}

// tell has a sink that watches hear what is sent.
func (c *Client) tell(raw []byte) {
	if w, ok := c.sink.(Watcher); ok {
		w.Sent(raw)
	}
}

// deaf hears nothing: what comes back to a CANCEL changes nothing. Who watches
// the INVITE sees its CANCEL, too.
type deaf struct{ of Sink }

// Sent implements Watcher.
func (d deaf) Sent(raw []byte) {
	if w, ok := d.of.(Watcher); ok {
		w.Sent(raw)
	}
}

// Response implements Sink.
func (deaf) Response(*Client, *sip.Response) {}

// Failed implements Sink.
func (deaf) Failed(*Client, error) {}

// ackTo builds the ACK to a final that is not a 2xx (RFC 3261 §17.1.1.3).
func ackTo(req *sip.Request, res *sip.Response) *sip.Request {
	ack := derive(req, sip.ACK)
	ack.ReplaceHeader(sip.HeaderClone(res.To()))
	ack.SetBody(nil)
	return ack
}

// derive builds the ACK or CANCEL of an INVITE: the same Request-URI, top
// Via, Route, From, To, Call-ID and CSeq number.
func derive(req *sip.Request, m sip.RequestMethod) *sip.Request {
	out := sip.NewRequest(m, *req.Recipient.Clone())
	out.AppendHeader(sip.HeaderClone(req.Via()))
	for _, h := range req.GetHeaders("Route") {
		out.AppendHeader(sip.HeaderClone(h))
	}
	maxForwards := sip.MaxForwardsHeader(70)
	out.AppendHeader(&maxForwards)
	out.AppendHeader(sip.HeaderClone(req.From()))
	out.AppendHeader(sip.HeaderClone(req.To()))
	out.AppendHeader(sip.HeaderClone(req.CallID()))
	out.AppendHeader(&sip.CSeqHeader{SeqNo: req.CSeq().SeqNo, MethodName: m})
	return out
}

func (c *Client) invite() bool   { return c.Req.Method == sip.INVITE }
func (c *Client) reliable() bool { return c.Flow.Transport() != "udp" }

// clientKey is the key of the transaction that a response belongs to (RFC
// 3261 §17.1.3): the branch of its top Via and the method in CSeq.
func clientKey(res *sip.Response) string {
	via := res.Via()
	if via == nil {
		return ""
	}
	branch, _ := wire.Param(via.Params, "branch")
	return strings.ToLower(branch) + "|" + string(res.CSeq().MethodName)
}

// clientShards spread the lock of the client table.
const clientShards = 64

// A clientTable finds client transactions for the readers. Safe for
// concurrent use.
type clientTable struct {
	shards [clientShards]clientShard
	flows  flowTable
}

type clientShard struct {
	mu    sync.Mutex
	byKey map[string]*Client
}

// A flowTable knows which transactions wait on a connection.
type flowTable struct {
	mu     sync.Mutex
	byFlow map[flow.Ref]map[*Client]struct{}
}

func (t *clientTable) init() {
	for i := range t.shards {
		t.shards[i].byKey = map[string]*Client{}
	}
	t.flows.byFlow = map[flow.Ref]map[*Client]struct{}{}
}

func (t *clientTable) shard(key string) *clientShard { return &t.shards[hashOf(key)%clientShards] }

func (t *clientTable) add(c *Client) {
	s := t.shard(c.key)
	s.mu.Lock()
	s.byKey[c.key] = c
	s.mu.Unlock()
	if c.reliable() {
		t.flows.add(c)
	}
}

func (t *clientTable) remove(c *Client) {
	s := t.shard(c.key)
	s.mu.Lock()
	if s.byKey[c.key] == c {
		delete(s.byKey, c.key)
	}
	s.mu.Unlock()
	if c.reliable() {
		t.flows.remove(c)
	}
}

func (t *clientTable) find(key string) *Client {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key]
}

// on lists the transactions that wait on a flow.
func (t *clientTable) on(f *flow.Flow) []*Client {
	t.flows.mu.Lock()
	defer t.flows.mu.Unlock()
	var all []*Client
	for c := range t.flows.byFlow[f.Ref()] {
		all = append(all, c)
	}
	return all
}

func (t *flowTable) add(c *Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byFlow[c.Flow.Ref()]
	if m == nil {
		m = map[*Client]struct{}{}
		t.byFlow[c.Flow.Ref()] = m
	}
	m[c] = struct{}{}
}

func (t *flowTable) remove(c *Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byFlow[c.Flow.Ref()]
	delete(m, c)
	if len(m) == 0 {
		delete(t.byFlow, c.Flow.Ref())
	}
}
