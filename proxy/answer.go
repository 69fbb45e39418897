package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// A refusal is an error that becomes a SIP response: a code for the sender, a
// reason for the log, headers that the code needs.
type refusal struct {
	code    int
	why     why
	headers []sip.Header
}

// why is the reason of a refusal, for the operator's log. It is never sent.
type why string

const (
	whyCancelled    why = "cancelled by the caller"
	whyNoDialog     why = "no dialog of that name, or its seal is expired or forged"
	whyNotYours     why = "the address of record is somebody else's"
	whyNoIdentity   why = "sender is not authenticated"
	whyNotServed    why = "the domain is not served here and relaying to it is not allowed"
	whyTooManyHops  why = "Max-Forwards is used up"
	whyLoop         why = "request came back unchanged"
	whyDraining     why = "the server is shutting down"
	whyExtension    why = "Proxy-Require names an extension that is not supported"
	whyScheme       why = "URI scheme is not served"
	whyNobodyThere  why = "no binding"
	whyMedia        why = "media engine cannot take the call"
	whyUnsafe       why = "session description cannot be made safe"
	whyBadContact   why = "contact cannot be registered"
	whyBrief        why = "expiry is below the configured minimum"
	whyTooMany      why = "too many contacts"
	whyOutOfOrder   why = "registration is older than the one held"
	whyTooManyCalls why = "too many calls"
	whyTooFast      why = "the user sends more requests than a user may"
	whyNotHere      why = "method has no meaning here"
	whyEvent        why = "event package is not served"
	whyReferOutside why = "Refer-To leaves the domain"
	whyFeatureCode  why = "Refer-To is a feature code, which only its user may dial"
	whyNotStored    why = "a setting could not be written"
	whyBadDialog    why = "Replaces or Join that names no dialog, or more than one"
	whyNotReplaced  why = "the dialog that Replaces or Join names cannot be taken over"
)

// Error implements error.
func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.code, r.why) }

// refuse makes the error that answers a request with code.
func refuse(code int, w why, headers ...sip.Header) error {
	return &refusal{code: code, why: w, headers: headers}
}

// Codes that sipgo has no name for.
const (
	statusUnsupportedScheme = 416 // RFC 3261 §21.4.14
	statusBadEvent          = 489 // RFC 6665 §8.3.2
)

// codeOf is the response code for an error; what is not a refusal is 500,
// and what the media engine refuses fails closed.
func codeOf(err error) int {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.code
	case errors.Is(err, rtpengine.ErrUnsafe):
		return sip.StatusNotAcceptableHere
	case errors.Is(err, rtpengine.ErrNoPorts), errors.Is(err, rtpengine.ErrNoSockets),
		errors.Is(err, rtpengine.ErrNoSessions), errors.Is(err, rtpengine.ErrClosed):
		return sip.StatusServiceUnavailable
	case errors.Is(err, errForged), errors.Is(err, errExpired), errors.Is(err, rtpengine.ErrUnknown):
		return sip.StatusCallTransactionDoesNotExists
	case errors.Is(err, errHeader):
		return sip.StatusForbidden
	case errors.Is(err, errMediaType):
		return sip.StatusUnsupportedMediaType
	case errors.Is(err, errMethod):
		return sip.StatusMethodNotAllowed
	}
	return sip.StatusInternalServerError
}

// answer is the one place where an error becomes a SIP response.
func (p *Proxy) answer(s *txn.Server, err error) {
	res := p.respond(s.Req, codeOf(err))
	var r *refusal
	if errors.As(err, &r) {
		for _, h := range r.headers {
			res.AppendHeader(h)
		}
	} else {
		p.log.Warn("request failed", "call", p.ref(s.Req), "method", methodOf(s.Req), "err", err)
	}
	if res.StatusCode == sip.StatusServiceUnavailable {
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(retryAfter)))
	}
	reply := s.Reply
	if challenges(res.StatusCode) && !s.Flow.Known() {
		reply = s.ReplyOnce // RFC 3261 §8.2.7: who has proved nothing leaves nothing behind
	}
	if err := reply(res); err != nil {
		p.log.Debug("response not sent", "call", p.ref(s.Req), "err", err)
	}
}

// challenges says that a response asks for a password.
func challenges(code int) bool {
	return code == sip.StatusUnauthorized || code == sip.StatusProxyAuthRequired
}

// methodOf is a method for the log: whoever makes one up writes nothing there.
func methodOf(req *sip.Request) string {
	if m := string(req.Method); strings.Contains(allowedMethods, m) {
		return m
	}
	return "other"
}

// retryAfter is what a 503 asks for, in seconds (ours: one T2 and a little).
const retryAfter = 5

// respond builds a response of the proxy's own to req, with a To tag where
// the request had none (RFC 3261 §8.2.6.2). It says nothing about who runs
// the server: no Server, no Date, no Warning (leaks.md §1).
func (p *Proxy) respond(req *sip.Request, code int) *sip.Response {
	res := wire.NewResponse(req, code, reasonPhrase(code))
	if to := res.To(); code > 100 && to != nil {
		if tag, ok := wire.Param(to.Params, "tag"); !ok || tag == "" {
			to.Params.Add("tag", p.seal.localTag(req))
		}
	}
	return res
}
