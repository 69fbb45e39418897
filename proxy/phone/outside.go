package phone

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

const (
	allowed = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE, " +
		"OPTIONS, SUBSCRIBE"
	supported = "100rel, timer, replaces"
)

// Register registers the phone's contact and those of the options, each of
// which may have parameters such as ";q=0.5" after its <>. It returns the
// contacts that the registrar then knows.
func (p *Phone) Register(ctx context.Context, opts ...Option) ([]string, error) {
	pl := planned(opts)
	own := p.contact()
	if p.cfg.Instance != "" {
		own += `;+sip.instance="<` + p.cfg.Instance + `>";reg-id=` + strconv.Itoa(max(p.cfg.RegID, 1))
	}
	contacts := append([]string{own}, pl.contacts...)
	if err := p.do(func() { p.contacts = contacts }); err != nil {
		return nil, err
	}
	if pl.expires < 0 {
		pl.expires = 3600
	}
	return p.register(ctx, contacts, pl)
}

// Unregister removes what Register registered.
func (p *Phone) Unregister(ctx context.Context, opts ...Option) error {
	var contacts []string
	if err := p.do(func() { contacts, p.contacts = p.contacts, nil }); err != nil {
		return err
	}
	pl := planned(opts)
	pl.expires = 0
	_, err := p.register(ctx, contacts, pl)
	return err
}

// UnregisterAll removes every contact of the user (RFC 3261 §10.2.2).
func (p *Phone) UnregisterAll(ctx context.Context) error {
	pl := planned(nil)
	pl.expires = 0
	_, err := p.register(ctx, []string{"*"}, pl)
	return err
}

// Contacts asks the registrar what it knows (RFC 3261 §10.2.3).
func (p *Phone) Contacts(ctx context.Context) ([]string, error) {
	return p.register(ctx, nil, planned(nil))
}

func (p *Phone) register(ctx context.Context, contacts []string, pl plan) ([]string, error) {
	uri := "sip:" + p.cfg.Domain
	tag := p.newTag()
	res, err := p.transact(ctx, func() (draft, sip.Uri, error) {
		p.regSeq++
		d := draft{
			method: "REGISTER", uri: uri, callID: p.regID, seq: p.regSeq,
			from: p.self() + ";tag=" + tag, to: "<" + p.URI() + ">",
		}
		for _, c := range contacts {
			d.fields = append(d.fields, Field{"Contact", c})
		}
		if pl.expires >= 0 {
			d.fields = append(d.fields, Field{"Expires", strconv.Itoa(pl.expires)})
		}
		d.fields = slices.Concat(d.fields, []Field{{"Supported", "path, outbound"}}, pl.headers)
		hop, err := p.hopTo(uri)
		return d, hop, err
	})
	if err != nil {
		return nil, err
	}
	return splitList(wire.All(res, "Contact")), nil
}

// Request sends a request of any method but INVITE outside of a call and
// returns its final response; a StatusError comes with the response.
func (p *Phone) Request(ctx context.Context, method, to string, opts ...Option) (*sip.Response, error) {
	pl := planned(opts)
	return p.request1(ctx, method, to, pl, newCallID(p.cfg), p.newTag())
}

func (p *Phone) request1(ctx context.Context, method, to string, pl plan, id, tag string) (*sip.Response, error) {
	seq := uint32(0)
	return p.transact(ctx, func() (draft, sip.Uri, error) {
		seq++
		d := p.outside(method, to, pl)
		d.callID, d.seq, d.body, d.bodyType = id, seq, pl.body, pl.bodyType
		d.from += ";tag=" + tag
		hop, err := p.hopTo(to)
		return d, hop, err
	})
}

// outside drafts a request that is in no dialog. In To the headers and
// parameters of the URI are left out, but for the user part.
func (p *Phone) outside(method, to string, pl plan) draft {
	target := bare(to)
	plain, _, _ := strings.Cut(target, "?")
	d := draft{method: method, uri: target, from: p.self(), to: "<" + plain + ">"}
	if pl.from != "" {
		d.from = pl.from
	}
	d.fields = slices.Clone(pl.headers)
	if method != "MESSAGE" {
		contact := p.contact()
		if len(pl.contacts) > 0 {
			contact = pl.contacts[0]
		}
		d.fields = append(d.fields, Field{"Contact", contact})
	}
	if pl.expires >= 0 {
		d.fields = append(d.fields, Field{"Expires", strconv.Itoa(pl.expires)})
	}
	return d
}

// Message sends a text.
func (p *Phone) Message(ctx context.Context, to, text string, opts ...Option) error {
	opts = append([]Option{Body("text/plain", text)}, opts...)
	_, err := p.Request(ctx, "MESSAGE", to, opts...)
	return err
}

// Options asks what the other side can do.
func (p *Phone) Options(ctx context.Context, to string, opts ...Option) (*sip.Response, error) {
	return p.Request(ctx, "OPTIONS", to, opts...)
}

// Subscribe subscribes to an event package; the NOTIFYs come to Next.
func (p *Phone) Subscribe(ctx context.Context, to, event string, opts ...Option) (*sip.Response, error) {
	pl := planned(append([]Option{Header("Event", event), Expires(600)}, opts...))
	id, tag := newCallID(p.cfg), p.newTag()
	if err := p.do(func() { p.subs[id] = tag }); err != nil {
		return nil, err
	}
	return p.request1(ctx, "SUBSCRIBE", to, pl, id, tag)
}

// Refuse makes the phone answer requests of a method that begin something new
// with the code from now on; 0 makes it do what it would do by itself.
func (p *Phone) Refuse(method string, code int) error {
	return p.do(func() { p.refusals[method] = code })
}

// Next returns the next request of that method that came outside of a call,
// has not been returned yet, and was answered already. "" is any method.
func (p *Phone) Next(ctx context.Context, method string) (*sip.Request, error) {
	var req *sip.Request
	err := p.await(ctx, method, func() bool {
		p.heard, req = taken(p.heard, method)
		return req != nil
	})
	return req, err
}

// taken takes the first request of a method out of a list.
func taken(list []*sip.Request, method string) ([]*sip.Request, *sip.Request) {
	for i, r := range list {
		if method == "" || string(r.Method) == method {
			return slices.Delete(list, i, i+1), r
		}
	}
	return list, nil
}

// alone answers a request outside of calls, on the worker.
func (p *Phone) alone(s *txn.Server) {
	p.heard = append(p.heard, s.Req)
	code := sip.StatusOK
	switch s.Req.Method {
	case sip.REFER, sip.SUBSCRIBE:
		code = sip.StatusNotImplemented
	case sip.BYE, sip.UPDATE, sip.PRACK, sip.INFO:
		code = sip.StatusCallTransactionDoesNotExists
	}
	if c := p.refusals[string(s.Req.Method)]; c != 0 {
		code = c
	}
	var pl plan
	if s.Req.Method == sip.SUBSCRIBE && p.watched(s) {
		return
	}
	if s.Req.Method == sip.OPTIONS {
		pl.headers = []Field{{"Allow", allowed}, {"Supported", supported}, {"Contact", p.contact()}}
	}
	p.reply(s, p.response(s.Req, code, p.newTag(), pl))
}

// reply sends a response; one that comes too late is dropped, as the
// transaction has ended otherwise.
func (p *Phone) reply(s *txn.Server, res *sip.Response) {
	if err := s.Reply(res); err != nil && p.cfg.Log != nil {
		p.cfg.Log.Debug("response not sent", "code", res.StatusCode, "err", err)
	}
}
