package proxy

import (
	"strings"
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

// namedAsNotices says that the sender of a request within a call, who has proved
// its name at the beginning of that if at all, gives itself the name of the service.
func (p *Proxy) namedAsNotices(req *sip.Request) bool {
	a, local := p.localAOR(req.From().Address)
	return local && a.User() == noticeUser
}

// noted notes a stranger's call in the diary: for its recipient, if it was
// silenced. A caller whom the recipient blocked is kept, without notice.
func (c *call) noted(v verdict) {
	p := c.p
	if v == silence {
		p.calls.change(c.key, func(r *record) { r.State = stateSilenced })
	}
	_, exists := p.store.User(c.callee)
	quiet := c.judgement.reason == blockedByRecipient || p.store.Settings(c.callee).SilentNotices
	caller, verified := c.callerText()
	n := store.Note{
		Silenced: store.Silenced{
			Recipient: c.callee, Caller: caller, Verified: verified, At: time.Now(),
			Media: mediaOf(sdpOf(c.srv.Req)), Reason: c.judgement.reason.String(), Notified: quiet,
		},
		Decoy: v == ring || !exists,
	}
	if p.remembers(c.who.aor, c.callee) {
		n.From, n.To = c.who.aor, c.callee
	}
	p.diary.put(n)
}

// callerText is how the recipient reads who called, and whether that is
// established: the address of record, and never a display name, which the
// caller chose. Who asked to be nobody (RFC 3323 §4.1) is nobody here, too.
func (c *call) callerText() (text string, verified bool) {
	req := c.srv.Req
	switch {
	case c.p.anonymous(req.From().Address), hasPrivacy(req, "user"), hasPrivacy(req, "id"):
		return store.Anonymous, false
	case c.who.aor.IsZero():
		return c.who.from, false
	}
	return sanitise(c.who.aor.String()), true
}

// mediaOf is "video" when an offer has a video stream, else "audio".
func mediaOf(sdp []byte) string {
	if strings.Contains("\n"+string(sdp), "\nm=video") {
		return "video"
	}
	return "audio"
}

// notify sends one notice of all calls that the recipient was not told of, to
// every device; the calls count as told once a device has taken it.
func (p *Proxy) notify(to aor.AOR) error {
	calls, err := p.store.PendingNotices(to)
	if err != nil || len(calls) == 0 {
		return err
	}
	p.tell(to, noticeText(calls), calls)
	return nil
}

// tell sends a text to every device of a user; calls are the silenced calls
// that it tells of.
func (p *Proxy) tell(to aor.AOR, text string, calls []store.Silenced) {
	err := p.txn.Do(to.String(), func() {
		n := &notice{p: p, to: to, calls: calls}
		sent := 0
		for _, t := range p.devices(to) {
			if fl := p.flowOf(t); fl != nil && p.sendNotice(fl, t, text, n) {
				sent++
			}
		}
		if sent > 0 && len(calls) > 0 {
			p.notices.begins(to, sent, time.Now())
		}
	})
	if err != nil {
		p.log.Info("notice not sent", "to", to, "err", err)
	}
}

// sendNotice sends the MESSAGE (RFC 3428) to one device, and says whether it is on its way.
func (p *Proxy) sendNotice(fl *flow.Flow, t target, text string, n *notice) bool {
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
	_, err := p.txn.Start(t.aor.String(), req, fl, n)
	if err != nil {
		p.log.Info("notice not sent", "to", t.aor, "err", err)
	}
	return err == nil
}

// A notice is one text to all devices of a user. It belongs to the user's worker.
type notice struct {
	p     *Proxy
	to    aor.AOR
	calls []store.Silenced // that it tells of; none: of something else
	taken bool             // by a device
}

// Response implements txn.Sink: the calls are told once a device has taken the notice.
func (n *notice) Response(_ *txn.Client, res *sip.Response) {
	if res.StatusCode < 200 || len(n.calls) == 0 {
		return
	}
	n.p.notices.ends(n.to)
	if n.taken || res.StatusCode >= 300 {
		return
	}
	n.taken = true
	now := time.Now()
	n.p.notices.told(n.to, n.calls, now)
	ids := make([]int64, 0, len(n.calls))
	for _, c := range n.calls {
		ids = append(ids, c.ID)
	}
	n.p.later("notice", func() error { return n.p.store.MarkNotified(ids, now) })
}

// Failed implements txn.Sink: the calls stay pending until the next REGISTER.
func (n *notice) Failed(_ *txn.Client, err error) {
	if len(n.calls) > 0 {
		n.p.notices.ends(n.to)
	}
	n.p.log.Info("notice not delivered", "err", err)
}
