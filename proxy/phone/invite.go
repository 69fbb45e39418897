package phone

import (
	"context"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// inviting is one INVITE of ours, the first of a call or a later one, with
// its repetitions after challenges. It belongs to the worker.
type inviting struct {
	c      *Call
	pl     plan
	draft  draft
	hop    sip.Uri
	re     bool // within the call
	client *txn.Client
	tries  int
	gaveUp bool
	final  *sip.Response
	err    error
	late   bool              // an offer of theirs was answered already, in a PRACK
	acks   map[string]func() // sends the ACK again, by the other side's tag
}

// send sends the INVITE, with a new number in the sequence.
func (i *inviting) send() {
	c, d := i.c, i.draft
	i.tries++
	if i.re {
		c.dialog.seq++
		d.seq = c.dialog.seq
	} else {
		d.seq = uint32(i.tries)
	}
	switch {
	case i.pl.body != nil:
		d.body, d.bodyType = i.pl.body, i.pl.bodyType
	case !i.pl.noBody:
		d.body, d.bodyType = c.desc.offer(i.pl.direction), sdpType
	}
	i.draft.seq = d.seq
	client, err := c.p.start(d, i.hop, i)
	if err != nil {
		i.fail(err)
		return
	}
	i.client = client
}

func (i *inviting) over() bool { return i.final != nil || i.err != nil }

// wait waits for the end of the INVITE.
func (i *inviting) wait(ctx context.Context) error {
	if err := i.c.p.await(ctx, "answer to INVITE", i.over); err != nil {
		return err
	}
	if i.err != nil {
		return i.err
	}
	return statusError(i.final)
}

// cancel gives up.
func (i *inviting) cancel(headers ...Field) {
	i.gaveUp = true
	if i.over() || i.client == nil {
		return
	}
	var extra []sip.Header
	for _, h := range append(headers, i.c.p.cfg.Headers...) {
		extra = append(extra, sip.NewHeader(h.Name, h.Value))
	}
	i.client.Cancel(extra...)
}

// Response implements txn.Sink.
func (i *inviting) Response(_ *txn.Client, res *sip.Response) {
	defer i.c.p.check()
	i.c.got = append(i.c.got, res)
	switch {
	case res.StatusCode < 200:
		i.provisional(res)
	case res.StatusCode < 300:
		i.accepted(res)
	case i.challenged(res):
		i.send()
	default:
		i.final = res
		if !i.re {
			i.c.end(statusError(res))
		}
	}
}

// Failed implements txn.Sink.
func (i *inviting) Failed(_ *txn.Client, err error) { i.fail(err) }

func (i *inviting) fail(err error) {
	i.err = err
	if !i.re {
		i.c.end(err)
	}
	i.c.p.check()
}

func (i *inviting) challenged(res *sip.Response) bool {
	code := res.StatusCode
	return (code == sip.StatusUnauthorized || code == sip.StatusProxyAuthRequired) &&
		!i.gaveUp && i.tries < 4 && i.c.p.auth.take(res, i.tries)
}

// provisional takes early media, and acknowledges what is sent reliably.
func (i *inviting) provisional(res *sip.Response) {
	tag := tagOf(res)
	if tag == "" || i.over() {
		return
	}
	d := i.c.dialog
	if !i.re {
		if d = i.c.early[tag]; d == nil {
			d = uacDialog(res, i.draft.seq)
			i.c.early[tag] = d
		}
		d.refresh(res)
		i.c.dialog = d
	}
	body, err := i.take(res)
	if err != nil {
		return // the final will tell
	}
	if hasOption(res, "Require", "100rel") {
		i.prack(d, res, body)
	}
}

// take reads the SDP of a response. Its result is our answer, if it was an offer.
func (i *inviting) take(res *sip.Response) ([]byte, error) {
	if !isSDP(res) {
		return nil, nil
	}
	c := i.c
	if i.pl.noBody {
		body, err := c.desc.answer(res.Body(), i.pl.direction)
		if err == nil {
			c.negotiated(c.desc.remote, c.desc.own.direction)
		}
		return body, err
	}
	err := c.desc.answered(res.Body())
	if err == nil {
		c.negotiated(c.desc.remote, c.desc.own.direction)
	}
	return nil, err
}

// prack acknowledges a provisional response once (RFC 3262 §4).
func (i *inviting) prack(d *dialog, res *sip.Response, body []byte) {
	n, err := strconv.ParseUint(wire.Header(res, "RSeq"), 10, 32)
	if err != nil || uint32(n) <= d.prack {
		return
	}
	d.prack = uint32(n)
	cseq := res.CSeq()
	pl := plan{headers: []Field{{"RAck", strconv.FormatUint(n, 10) + " " + cseq.Value()}}}
	if body != nil {
		pl.body, pl.bodyType = body, sdpType
		i.late = true
	}
	i.c.sendAndForget(d, "PRACK", pl)
}

// accepted takes a 2xx: each is acknowledged each time; the dialog of a second
// one is hung up at once (RFC 3261 §13.2.2.4).
func (i *inviting) accepted(res *sip.Response) {
	c, tag := i.c, tagOf(res)
	if again := i.acks[tag]; again != nil {
		again()
		return
	}
	d := c.dialog
	if !i.re {
		d = uacDialog(res, i.draft.seq)
		if e := c.early[tag]; e != nil {
			d.seq = max(d.seq, e.seq)
		}
	}
	if i.final != nil {
		i.acknowledge(d, tag, nil)
		c.sendAndForget(d, "BYE", plan{})
		return
	}
	d.refresh(res)
	c.dialog, i.final, c.answered = d, res, true
	body, err := i.take(res)
	i.acknowledge(d, tag, body)
	if err != nil || i.pl.noBody && body == nil && !i.late {
		i.err = errNoSDP
	}
	c.timer.agreed(c, res, true)
}

// acknowledge sends the ACK to a 2xx, and keeps it to be sent again.
func (i *inviting) acknowledge(d *dialog, tag string, body []byte) {
	pl := plan{}
	if body != nil {
		pl.body, pl.bodyType = body, sdpType
	}
	ack, hop, err := d.draft("ACK", pl)
	if err != nil {
		i.err = err
		return
	}
	ack.seq = i.draft.seq
	f, err := i.c.p.flowTo(hop)
	if err != nil {
		i.err = err
		return
	}
	req, err := i.c.p.request(ack, f)
	if err != nil {
		i.err = err
		return
	}
	raw := wire.Bytes(req)
	i.acks[tag] = func() {
		if err := f.Send(raw); err != nil {
			i.err = err
		}
	}
	i.acks[tag]()
}
