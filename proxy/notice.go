package proxy

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/store"
)

// noticeUser is the service that tells a recipient of silenced calls. Notices
// are never From the caller: phones answer messages with delivery receipts.
const noticeUser = "silenced-calls"

// silenced keeps a silenced call for its recipient and arranges the notice.
// A caller whom the recipient blocked is kept, without notice.
func (p *Proxy) silenced(c *call) {
	p.calls.change(c.key, func(r *record) { r.State = stateSilenced })
	if _, ok := p.store.User(c.callee); !ok {
		return // nobody to tell
	}
	quiet := c.judgement.reason == blockedByRecipient || p.store.Settings(c.callee).SilentNotices
	entry := store.Silenced{
		Recipient: c.callee, Caller: c.who.callerText(), At: time.Now(),
		Media: mediaOf(sdpOf(c.srv.Req)), Reason: c.judgement.reason.String(), Notified: quiet,
	}
	p.later("silenced call", func() error {
		err := p.store.AddSilenced(entry)
		if err == nil && !quiet {
			p.notices.schedule(p, entry.Recipient)
		}
		return err
	})
}

// callerText is how a notice names a caller: the address of record, and never
// a display name, which the caller chose.
func (i identity) callerText() string {
	if !i.aor.IsZero() {
		return sanitise(i.aor.String())
	}
	return i.from
}

// mediaOf is "video" when an offer has a video stream, else "audio".
func mediaOf(sdp []byte) string {
	if strings.Contains("\n"+string(sdp), "\nm=video") {
		return "video"
	}
	return "audio"
}

// A noticeTable knows which recipients have a notice under way, so that calls
// that come close together make one notice. Safe for concurrent use.
type noticeTable struct {
	mu      sync.Mutex
	pending map[aor.AOR]*txn.Timer
	closed  bool
}

func newNoticeTable() *noticeTable {
	return &noticeTable{pending: map[aor.AOR]*txn.Timer{}}
}

// len is the number of recipients with a notice under way.
func (t *noticeTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.pending)
}

// maxPending bounds the recipients with a notice under way (ours; the calls
// themselves are kept in the store and told at the next chance).
const maxPending = 10000

// schedule sends the recipient's notice after a random time, so that it does
// not tell when exactly the call came (design §5).
func (t *noticeTable) schedule(p *Proxy, to aor.AOR) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.pending[to] != nil || len(t.pending) >= maxPending {
		return
	}
	wait := between(p.cfg.Notice.MinDelay, p.cfg.Notice.MaxDelay+1)
	t.pending[to] = p.txn.After(to.String(), wait, func() {
		t.mu.Lock()
		delete(t.pending, to)
		t.mu.Unlock()
		p.later("notice", func() error { return p.notify(to) })
	})
}

// registered tells a recipient who was offline.
func (t *noticeTable) registered(p *Proxy, to aor.AOR) {
	p.later("notice", func() error {
		calls, err := p.store.PendingNotices(to)
		if err == nil && len(calls) > 0 {
			t.schedule(p, to)
		}
		return err
	})
}

func (t *noticeTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for to, timer := range t.pending {
		timer.Stop()
		delete(t.pending, to)
	}
}

// notify sends one notice of all calls that the recipient was not told of, to
// every device; the calls count as told once a device has taken it.
func (p *Proxy) notify(to aor.AOR) error {
	calls, err := p.store.PendingNotices(to)
	if err != nil || len(calls) == 0 {
		return err
	}
	text := noticeText(calls)
	ids := make([]int64, 0, len(calls))
	for _, c := range calls {
		ids = append(ids, c.ID)
	}
	p.tell(to, text, ids)
	return nil
}

// tell sends a text to every device of a user; ids are the silenced calls
// that it tells of.
func (p *Proxy) tell(to aor.AOR, text string, ids []int64) {
	err := p.txn.Do(to.String(), func() {
		for _, t := range p.devices(to) {
			if fl := p.flowOf(t); fl != nil {
				p.sendNotice(fl, t, text, ids)
			}
		}
	})
	if err != nil {
		p.log.Info("notice not sent", "to", to, "err", err)
	}
}

// sendNotice sends the MESSAGE (RFC 3428) to one device.
func (p *Proxy) sendNotice(fl *flow.Flow, t target, text string, ids []int64) {
	req := sip.NewRequest(sip.MESSAGE, t.uri)
	from := sip.Uri{Scheme: "sip", User: noticeUser, Host: t.aor.Host()}
	callID := sip.CallIDHeader(txn.NewBranch() + "@" + t.aor.Host())
	maxForwards := sip.MaxForwardsHeader(70)
	params := sip.NewParams()
	params.Add("tag", txn.NewBranch())
	req.AppendHeader(p.via(fl, nil))
	for _, r := range t.routes {
		req.AppendHeader(&sip.RouteHeader{Address: r})
	}
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&sip.FromHeader{Address: from, Params: params})
	req.AppendHeader(&sip.ToHeader{Address: uriOf(t.aor), Params: sip.NewParams()})
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.MESSAGE})
	req.AppendHeader(sip.NewHeader("Content-Type", "text/plain;charset=utf-8"))
	req.SetBody([]byte(text))
	if _, err := p.txn.Start(t.aor.String(), req, fl, &noticeSink{p: p, ids: ids}); err != nil {
		p.log.Info("notice not sent", "to", t.aor, "err", err)
	}
}

// A noticeSink marks calls as told once a device has taken their notice.
type noticeSink struct {
	p   *Proxy
	ids []int64
}

// Response implements txn.Sink.
func (n *noticeSink) Response(_ *txn.Client, res *sip.Response) {
	if res.StatusCode < 200 || res.StatusCode >= 300 || len(n.ids) == 0 {
		return
	}
	n.p.later("notice", func() error { return n.p.store.MarkNotified(n.ids) })
}

// Failed implements txn.Sink: the calls stay pending until the next REGISTER.
func (n *noticeSink) Failed(_ *txn.Client, err error) {
	n.p.log.Info("notice not delivered", "err", err)
}

// maxNamed bounds the callers that one notice names (ours: it is a notice,
// not a channel).
const maxNamed = 5

// noticeText is a notice: who called how often, and when last, in UTC.
func noticeText(calls []store.Silenced) string {
	if len(calls) == 1 {
		c := calls[0]
		return fmt.Sprintf("Silenced call from %s (%s), %s.", c.Caller, c.Media, stamp(c.At))
	}
	count, last, order := map[string]int{}, map[string]time.Time{}, []string{}
	for _, c := range calls {
		if count[c.Caller] == 0 {
			order = append(order, c.Caller)
		}
		count[c.Caller]++
		last[c.Caller] = c.At
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d silenced calls:", len(calls))
	for i, who := range order {
		if i == maxNamed {
			fmt.Fprintf(&b, "\n… and %d more callers", len(order)-maxNamed)
			break
		}
		fmt.Fprintf(&b, "\n%d from %s, last %s", count[who], who, stamp(last[who]))
	}
	return b.String()
}

// stamp is a time as a notice writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// uriOf is the SIP URI of an address of record.
func uriOf(a aor.AOR) sip.Uri { return sip.Uri{Scheme: "sip", User: a.User(), Host: a.Host()} }
