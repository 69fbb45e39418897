package phone

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
)

// Errors of calls.
var (
	ErrNoAck  = errors.New("2xx was never acknowledged")
	ErrEnded  = errors.New("call is over")
	errNoSDP  = errors.New("no SDP where there must be")
	errNoSDPs = errors.New("nothing in the offer that the phone can do")
)

// Call is a call as one phone has it, from the first byte on. Its methods are
// safe for concurrent use.
type Call struct {
	*Media
	// Invite is the INVITE of an incoming call as it came; of an outgoing one
	// it is nil.
	Invite *sip.Request

	p *Phone
	// What follows belongs to the worker.
	key      string
	tag      string
	dialog   *dialog
	early    map[string]*dialog // by the other side's tag
	got      []*sip.Response    // responses to our INVITE
	inbox    []*sip.Request     // requests within the call
	refusals map[string]int
	scripted []byte      // SDP of every answer within the call, if the script says it
	out      *inviting   // our INVITE
	server   *txn.Server // theirs
	body     []byte      // SDP of our answer to it, once written
	bodyErr  error
	rseq     uint32
	pracked  uint32
	unacked  map[uint32]bool // CSeq of INVITEs whose 2xx waits for its ACK
	lateAck  map[uint32]bool // those whose ACK brings the answer
	answered bool
	ended    bool
	why      error // of the end; nil: a BYE
	desc     description
	timer    sessionTimer
}

// newCall opens the media of a call. It does not run on the worker.
func (p *Phone) newCall() (*Call, error) {
	m, err := p.openMedia()
	if err != nil {
		return nil, err
	}
	c := &Call{
		Media: m, p: p, tag: p.newTag(), early: map[string]*dialog{}, refusals: map[string]int{},
		unacked: map[uint32]bool{}, lateAck: map[uint32]bool{},
	}
	c.desc = description{
		sdp: p.cfg.SDP, after: p.cfg.SDP.Streams,
		own: local{rtp: m.local, id: number() >> 2, mux: p.cfg.RTCPMux, direction: SendRecv},
	}
	return c, nil
}

// keep makes the call known to the phone.
func (p *Phone) keep(c *Call, callID string) {
	c.key = callKey(callID, c.tag)
	p.calls[c.key] = c
	p.media = append(p.media, c.Media)
}

func callKey(callID, tag string) string { return callID + "|" + tag }

// Call calls, waits for the answer, and acknowledges it. The error is a
// *StatusError if the call was not taken; if the context ends the call is
// cancelled.
func (p *Phone) Call(ctx context.Context, to string, opts ...Option) (*Call, error) {
	c, err := p.Invite(to, opts...)
	if err != nil {
		return nil, err
	}
	if err := c.Answered(ctx); err != nil {
		if ctx.Err() != nil {
			_ = p.do(func() { c.out.cancel() }) // a closed phone calls nobody
		}
		return c, err
	}
	return c, nil
}

// Invite begins a call and returns at once.
func (p *Phone) Invite(to string, opts ...Option) (*Call, error) {
	c, err := p.newCall()
	if err != nil {
		return nil, err
	}
	pl := planned(opts)
	hop, err := p.hopTo(bare(to))
	if err != nil {
		c.close()
		return nil, err
	}
	err = p.do(func() {
		d := p.outside("INVITE", to, pl)
		d.callID = newCallID(p.cfg)
		d.from += ";tag=" + c.tag
		d.fields = append(d.fields, Field{"Allow", allowed}, Field{"Supported", supported})
		p.keep(c, d.callID)
		c.out = &inviting{c: c, pl: pl, draft: d, hop: hop, acks: map[string]func(){}}
		c.out.send()
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// Answered waits until our INVITE was answered. Its error is a *StatusError,
// or says that there was no answer.
func (c *Call) Answered(ctx context.Context) error {
	return c.out.wait(ctx)
}

// Cancel gives up a call that is not answered yet and waits for its end. It
// fails if the answer was faster; the call is then hung up.
func (c *Call) Cancel(ctx context.Context, headers ...Field) error {
	if err := c.p.do(func() { c.out.cancel(headers...) }); err != nil {
		return err
	}
	err := c.out.wait(ctx)
	switch Status(err) {
	case sip.StatusRequestTerminated:
		return nil
	case sip.StatusOK:
		return errors.Join(errors.New("answered before it was cancelled"), c.Bye(ctx))
	}
	return err
}

// Progress waits for a provisional response with that code to our INVITE; 0
// is any but 100.
func (c *Call) Progress(ctx context.Context, code int) (*sip.Response, error) {
	var res *sip.Response
	err := c.p.await(ctx, fmt.Sprintf("provisional response %d", code), func() bool {
		i := slices.IndexFunc(c.got, func(r *sip.Response) bool {
			return r.StatusCode == code || code == 0 && r.StatusCode > 100 && r.StatusCode < 200
		})
		if i >= 0 {
			res = c.got[i]
		}
		return i >= 0 || c.ended
	})
	if err == nil && res == nil {
		err = fmt.Errorf("waiting for a %d: %w", code, errors.Join(ErrEnded, c.Why()))
	}
	return res, err
}

// Responses are the responses to our INVITEs so far.
func (c *Call) Responses() []*sip.Response {
	var out []*sip.Response
	_ = c.p.do(func() { out = slices.Clone(c.got) }) // of a closed phone: none
	return out
}

// Ended waits until the call is over, for whatever reason.
func (c *Call) Ended(ctx context.Context) error {
	return c.p.await(ctx, "the end of the call", func() bool { return c.ended })
}

// Why tells why the call ended; nil if it has not, or if somebody hung up.
func (c *Call) Why() error {
	var err error
	if e := c.p.do(func() { err = c.why }); e != nil {
		return e
	}
	return err
}

// ID is the Call-ID.
func (c *Call) ID() string {
	id, _ := splitKey(c.key)
	return id
}

func splitKey(key string) (callID, tag string) {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '|' {
			return key[:i], key[i+1:]
		}
	}
	return key, ""
}

// Replaces is the call as a Replaces header names it (RFC 3891), as the other
// side must write it: its own tag comes first to it.
func (c *Call) Replaces() string {
	var out string
	_ = c.p.do(func() { // of a closed phone: nothing
		if c.dialog != nil {
			out = c.dialog.callID + ";to-tag=" + tagIn(c.dialog.remote) + ";from-tag=" + tagIn(c.dialog.local)
		}
	})
	return out
}

// end ends the call on the worker.
func (c *Call) end(why error) {
	if c.ended {
		return
	}
	c.ended, c.why = true, why
	c.timer.stop()
	delete(c.p.calls, c.key)
	c.p.media = slices.DeleteFunc(c.p.media, func(m *Media) bool { return m == c.Media })
	c.close()
}
