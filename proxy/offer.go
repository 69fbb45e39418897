package proxy

import (
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/wire"
	"sotto/tokens"
)

// A user gives a token to whomever the user calls or writes to, by the header
// Privacy-Token-Offer: the other party's client keeps it and may call back with
// it. It is the only header of a caller's that crosses a protected call as
// written, so it crosses only where it can be nothing else: a token that the
// sender's own key signed and that the receiver may use.

// An offer is a token for one receiver. The zero value is none.
type offer struct {
	token string
	to    aor.AOR // the local user; zero: whom the dialled address names elsewhere
}

// offer reads the offer of the request that begins a call, or of a message.
func (c *call) offer() offer {
	values := wire.All(c.srv.Req, tokens.OfferHeader)
	if len(values) != 1 || c.srv.Req.Method != sip.INVITE && c.srv.Req.Method != sip.MESSAGE {
		return offer{}
	}
	t, err := tokens.Parse(strings.TrimSpace(values[0]))
	if err != nil || !c.mayOffer(t) {
		return offer{}
	}
	return offer{t.String(), c.callee}
}

// mayOffer says that a token is the sender's to give, and of use to the
// receiver. It is checked under the sender's budget, as tokens are that are shown.
func (c *call) mayOffer(t tokens.Token) bool {
	switch c.who.kind {
	case trustedPeer:
		return true // its users' keys are with it: it has checked what it passes on
	case nobody:
		return false
	case digestUser:
	}
	receiver := c.callee
	if receiver.IsZero() {
		var err error
		if receiver, err = aor.New(c.dialled.User, c.dialled.Host); err != nil {
			return false
		}
	}
	now := time.Now()
	claim := tokens.Claim{Recipient: c.who.aor, Caller: receiver, Keys: c.p.store.Keys(c.who.aor), Now: now}
	return c.p.spent.take(c.who, c.srv.Flow.Peer().Addr(), 1, now) &&
		tokens.Verify(t, claim) == nil && !c.p.store.Revoked(c.who.aor, t.Salt())
}

// write adds the offer to a request for a target, if it is meant for that: a
// device may have sent the call on to another user.
func (o offer) write(out *sip.Request, to target) {
	if o.token != "" && o.to == to.aor {
		out.AppendHeader(sip.NewHeader(tokens.OfferHeader, o.token))
	}
}
