package phone

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
)

// StatusError is a final response that is not a 2xx.
type StatusError struct {
	Method   string
	Code     int
	Reason   string
	Response *sip.Response
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s was answered %d %s", e.Method, e.Code, e.Reason)
}

// Status is the code of a StatusError; 0 if err is none, 200 if err is nil.
func Status(err error) int {
	var e *StatusError
	switch {
	case err == nil:
		return sip.StatusOK
	case errors.As(err, &e):
		return e.Code
	}
	return 0
}

func statusError(res *sip.Response) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	return &StatusError{string(res.CSeq().MethodName), res.StatusCode, res.Reason, res}
}

// hopTo is where requests outside of dialogs go: to the server, if there is one.
func (p *Phone) hopTo(uri string) (sip.Uri, error) {
	if p.cfg.Server.IsValid() {
		a := p.cfg.Server
		return sip.Uri{Scheme: "sip", Host: a.Addr().String(), Port: int(a.Port())}, nil
	}
	return parsed(uri)
}

// parsed reads a URI.
func parsed(uri string) (sip.Uri, error) {
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return u, fmt.Errorf("URI %q: %w", uri, err)
	}
	u.Host = trimBrackets(u.Host)
	return u, nil
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}

// start sends a draft toward hop with the credentials that we have. It runs on
// the worker.
func (p *Phone) start(d draft, hop sip.Uri, sink txn.Sink) (*txn.Client, error) {
	f, err := p.flowTo(hop)
	if err != nil {
		return nil, err
	}
	d.fields = slices.Concat(d.fields, p.auth.fields(d.method, d.uri))
	req, err := p.request(d, f)
	if err != nil {
		return nil, err
	}
	return p.layer.Start("", req, f, sink)
}

// An exchange is a request that is not an INVITE, and its end.
type exchange struct {
	p     *Phone
	final *sip.Response
	err   error
	then  func() // on the worker, after the end; may be nil
}

// Response implements txn.Sink.
func (x *exchange) Response(_ *txn.Client, res *sip.Response) {
	if res.StatusCode >= 200 {
		x.final = res
		x.end()
	}
}

// Failed implements txn.Sink.
func (x *exchange) Failed(_ *txn.Client, err error) {
	x.err = err
	x.end()
}

func (x *exchange) end() {
	if x.then != nil {
		x.then()
	}
	x.p.check()
}

// transact sends what write returns, run on the worker, and waits for the
// final response. A challenge is answered.
func (p *Phone) transact(ctx context.Context, write func() (draft, sip.Uri, error)) (*sip.Response, error) {
	for tries := 1; ; tries++ {
		x := &exchange{p: p}
		method := ""
		if err := p.do(func() { method, x.err = p.begin(x, write) }); err != nil {
			return nil, err
		}
		over := func() bool { return x.final != nil || x.err != nil }
		if err := p.await(ctx, "answer to "+method, over); err != nil {
			return nil, err
		}
		if x.err != nil {
			return nil, fmt.Errorf("%s: %w", method, x.err)
		}
		if p.challenged(x.final, tries) {
			continue
		}
		return x.final, statusError(x.final)
	}
}

// begin writes a request and sends it.
func (p *Phone) begin(x *exchange, write func() (draft, sip.Uri, error)) (method string, err error) {
	d, hop, err := write()
	if err != nil {
		return d.method, err
	}
	if _, err = p.start(d, hop, x); err != nil {
		return d.method, err
	}
	return d.method, x.err
}

// challenged tells whether a response is a challenge that can be answered now.
func (p *Phone) challenged(res *sip.Response, tries int) bool {
	if res.StatusCode != sip.StatusUnauthorized && res.StatusCode != sip.StatusProxyAuthRequired {
		return false
	}
	ok := false
	if err := p.do(func() { ok = p.auth.take(res, tries) }); err != nil {
		return false
	}
	return ok && tries < 4
}
