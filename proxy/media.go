package proxy

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
	"sotto/rtpengine"
)

// media is the session of the media engine that anchors one branch. The zero
// value anchors nothing.
type media struct {
	session rtpengine.ID
	created bool // by this branch: it frees it when it loses
	offered bool // the request carried the offer, so responses carry answers
}

const (
	contentSDP   = "application/sdp"
	maxSDPInPart = 64 << 10 // what one SIP message may be at most
)

// sdpOf is the session description in a message, nil without one. Of a
// multipart body only that part is taken (leaks.md §2).
func sdpOf(m sip.Message) []byte {
	if len(m.Body()) == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(strings.Join(wire.All(m, "Content-Type"), ""))
	switch {
	case err != nil:
		return nil
	case kind == contentSDP:
		return m.Body()
	case !strings.HasPrefix(kind, "multipart/"):
		return nil
	}
	parts := multipart.NewReader(bytes.NewReader(m.Body()), params["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil
		}
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind == contentSDP {
			body, err := io.ReadAll(io.LimitReader(part, maxSDPInPart))
			if err != nil {
				return nil
			}
			return body
		}
	}
}

// sideOf is the engine's name of a leg.
func sideOf(l leg) rtpengine.Side {
	if l == callerLeg {
		return rtpengine.Caller
	}
	return rtpengine.Callee
}

// negotiates says that a description in a message about a request of that method
// is an offer or an answer (RFC 6337 §2.2). Others have one that only says what a
// phone can do, as the answer to OPTIONS (RFC 3264 §9).
func negotiates(m sip.RequestMethod) bool {
	return m == sip.INVITE || m == sip.ACK || m == sip.PRACK || m == sip.UPDATE
}

// inRequest re-writes the description in a request of leg from. The engine's
// session is there before the request leaves (design §4).
func (p *Proxy) inRequest(b *branch, from leg, answer bool) ([]byte, error) {
	sdp := sdpOf(b.fork.srv.Req)
	if sdp == nil || b.media.session == 0 || !negotiates(b.fork.srv.Req.Method) {
		return nil, nil
	}
	body := rtpengine.Body{
		From: sideOf(from), SDP: sdp, Source: sourceOf(b.fork.srv.Flow),
		Toward: familyOf(b.flow), Other: sourceOf(b.flow),
	}
	if answer {
		return p.engine.Answer(b.media.session, body)
	}
	out, err := p.offer(b, body)
	b.media.offered = err == nil // one that failed has changed nothing that could be undone
	return out, err
}

// offer gives an offer to the engine. Within a dialog the session must be there
// already: the identifiers of a call that is over, which are good for a day,
// must not make one again.
func (p *Proxy) offer(b *branch, body rtpengine.Body) ([]byte, error) {
	if !b.media.created {
		if _, there := p.engine.Query(b.media.session); !there {
			return nil, rtpengine.ErrUnknown
		}
	}
	return p.engine.Offer(b.media.session, body)
}

// inResponse re-writes the description in a response to a request of leg from.
// That in a refusal, too, only says what could be offered (RFC 3261 §21.4.26).
func (p *Proxy) inResponse(b *branch, from leg, res *sip.Response) ([]byte, error) {
	sdp := sdpOf(res)
	if sdp == nil || b.media.session == 0 || res.StatusCode >= 300 || !negotiates(b.fork.srv.Req.Method) {
		return nil, nil
	}
	body := rtpengine.Body{
		From: sideOf(from).Other(), SDP: sdp, Source: sourceOf(b.flow),
		Toward: familyOf(b.fork.srv.Flow), Other: sourceOf(b.fork.srv.Flow),
	}
	if b.media.offered {
		return p.engine.Answer(b.media.session, body)
	}
	return p.offer(b, body)
}

// sourceOf is where a party's signalling comes from: the only address that
// its media may be learnt from (design §6).
func sourceOf(f *flow.Flow) netip.Addr { return f.Peer().Addr().Unmap() }

// familyOf is the address family that a party can receive.
func familyOf(f *flow.Flow) rtpengine.Family {
	if f.Peer().Addr().Unmap().Is4() {
		return rtpengine.V4
	}
	return rtpengine.V6
}

// releaseMedia undoes what a branch that lost asked of the engine.
func (p *Proxy) releaseMedia(b *branch) {
	switch {
	case b.media.session == 0:
	case b.media.created:
		p.engine.Delete(b.media.session)
	case b.media.offered:
		p.engine.Rollback(b.media.session)
	}
	b.media.offered = false
}

// setSDP puts a session description into a message.
func setSDP(m sip.Message, body []byte) {
	wire.RemoveAll(m, "Content-Type")
	if body != nil {
		m.AppendHeader(sip.NewHeader("Content-Type", contentSDP))
	}
	m.SetBody(body)
}
