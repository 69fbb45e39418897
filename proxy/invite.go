package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/receipt"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// invite is one call from its first byte to its final response: who calls,
// whom, may it ring, is it protected, and then the branches to the devices.
func (p *Proxy) invite(s *txn.Server) error {
	who, err := p.identify(s)
	if err != nil {
		return err
	}
	if who.kind == nobody && !s.Flow.Known() && p.facades.full() {
		s.Drop() // whomever it is for: strangers are not told that there are too many
		return nil
	}
	p.trying(s)
	if done, err := p.takeOver(s, who); done || err != nil {
		return err
	}
	in := p.takeTokens(s.Req)
	callee, local := p.localAOR(in.uri)
	if window, ok := p.featureCode(callee); ok && who.kind == digestUser {
		p.setWindow(s, who.aor, window)
		return nil
	}
	if !local || p.beyond(callee, who) {
		return p.inviteOut(s, who, in)
	}
	p.judge(s, who, callee, in.tokens, func(v judgement) error { return p.ringOrNot(s, who, in, v) })
	return nil
}

// ringOrNot goes on with a call to a local user that has been judged.
func (p *Proxy) ringOrNot(s *txn.Server, who identity, in dialled, v judgement) error {
	callee, _ := p.localAOR(in.uri)
	c := p.newCall(s, who, callee, in.uri)
	c.judged(v)
	if v.stranger && p.uniform(callee.Host()) {
		p.behindFacade(s, c, v)
		return nil
	}
	if v.verdict == silence {
		c.noted(v.verdict)
		return c.refuse(sip.StatusTemporarilyUnavailable, whyNobodyThere)
	}
	if _, _, names := named(s.Req); names && v.stranger {
		return c.refuse(sip.StatusCallTransactionDoesNotExists, whyNotReplaced)
	}
	p.remember(who.aor, callee) // also if nobody answers: who missed the call may call back
	targets := p.devices(callee)
	if len(targets) == 0 {
		return c.refuse(p.absent(callee), whyNobodyThere)
	}
	f := newFork(p, s, c.treatment())
	c.follow(f)
	f.start(targets)
	return nil
}

// trying sends the 100 that stops retransmissions, before any lookup. A small
// INVITE from an address that may be borrowed is left without: it is sent again,
// and so pays for the answers that follow (flow.Flow.Send).
func (p *Proxy) trying(s *txn.Server) {
	res := wire.NewResponse(s.Req, sip.StatusTrying, reasonPhrase(100))
	if s.Flow.Room() < 3*len(wire.Bytes(res))+ringingMore {
		return
	}
	if err := s.Reply(res); err != nil {
		p.log.Debug("100 not sent", "call", p.ref(s.Req), "err", err)
	}
}

// ringingMore is how much longer a 180 and a final are than a 100: two tags, a
// Contact with a box, Allow and Supported.
const ringingMore = 450

// uniform says that strangers who call a user of a domain meet the facade, in every state.
func (p *Proxy) uniform(domain string) bool {
	for _, d := range p.cfg.StrangersIn {
		if d.Domain == domain {
			return d.Strangers != "honest"
		}
	}
	return p.cfg.Strangers != "honest"
}

// absent is what a known caller hears of a user without a device: the truth.
func (p *Proxy) absent(callee aor.AOR) int {
	if _, ok := p.store.User(callee); !ok {
		return sip.StatusNotFound
	}
	return sip.StatusTemporarilyUnavailable
}

// behindFacade lets the facade speak to a stranger and, if the verdict is
// ring, puts the devices behind it: not at once, since the answer to what the
// stranger sends right behind the INVITE, to the same worker, would come later by
// the work of calling a device. What is done here is done in every state.
func (p *Proxy) behindFacade(s *txn.Server, c *call, v judgement) {
	c.shownTag = p.seal.localTag(s.Req)
	p.calls.change(c.key, func(r *record) { r.shownTag = c.shownTag })
	f := p.newFacade(s, c.shownTag, c.ended)
	f.afterwards(c)
	c.noted(v.verdict)
	_, _, names := named(s.Req) // what it names is not a stranger's to take over, and a device could not know
	s.After(p.chance.between(momentBehind, behindEarliest, behindLatest), func() {
		switch {
		case f.over || v.verdict == silence || names:
		case p.crowded():
			p.log.Info("stranger not put through: half of the media sessions are taken", "call", p.ref(s.Req))
		default:
			f.behind(c.treatment(), p.devices(c.callee), c.won)
		}
	})
}

// crowded says that strangers may begin no more media sessions: they have half
// of them at most, so that a flood of calls leaves known callers theirs.
func (p *Proxy) crowded() bool {
	room, _ := p.engine.Room()
	return 2*p.engine.Sessions() >= room
}

// inviteOut sends a call to a trunk or to a foreign domain. Such calls are
// not screened (facade.md), but only a user of ours or a trusted peer may
// make them: nobody else gets to spend the operator's money.
func (p *Proxy) inviteOut(s *txn.Server, who identity, in dialled) error {
	targets, err := p.outside(who, in.uri)
	if err != nil {
		return err
	}
	c := p.newCall(s, who, aor.AOR{}, in.uri)
	c.outbound()
	f := newFork(p, s, c.treatment())
	c.follow(f)
	f.start(targets)
	return nil
}

// A call is the initial INVITE of a dialog while it is being set up.
type call struct {
	p         *Proxy
	srv       *txn.Server
	who       identity
	callee    aor.AOR // zero: outside
	dialled   sip.Uri // clean of tokens
	key       callKey
	protected bool
	handed    bool   // it takes over a dialog of the callee's
	unnamed   bool   // in which the callee has asked to be nobody
	shownTag  string // To tag that a facade has shown; "" without
	judgement judgement
	receipt   *receipt.Receipt // nil unless protected
}

// newCall notes a call in the table.
func (p *Proxy) newCall(s *txn.Server, who identity, callee aor.AOR, uri sip.Uri) *call {
	uri.UriParams, uri.Headers = nil, nil
	c := &call{p: p, srv: s, who: who, callee: callee, dialled: uri, key: keyOf(s.Req)}
	p.calls.begin(&record{
		key: c.key, caller: who.aor, callee: callee, from: callerOf(p, s), anonymous: c.anonymous(),
		CallInfo: CallInfo{
			Ref: p.ref(s.Req), Caller: who.String(), Callee: sanitise(uri.User + "@" + uri.Host),
			State: stateRinging, Started: time.Now(),
		},
	})
	return c
}

// judged notes the verdict and decides the protection.
func (c *call) judged(v judgement) {
	c.judgement = v
	c.decide(c.toward(c.callee, v), string(v.verdict.String()), v.reason.String())
}

// toward is what decides the protection of the call as far as it goes to a local user.
func (c *call) toward(callee aor.AOR, v judgement) wishes {
	w := c.wishes()
	w.stranger = v.stranger
	w.calleeKnows, w.calleeIsOurs = !v.stranger, true
	w.callee = c.p.store.Settings(callee).ProtectIP
	w.callerKnows = v.reason == validToken || c.p.knows(c.who.aor, callee)
	return w
}

// outbound decides the protection of a call that leaves the domain.
func (c *call) outbound() {
	c.decide(c.wishes(), "passed", "calls that leave the domain are not screened")
}

// anonymous says that the caller asks to be nobody (RFC 3323 §4.1.1.3, §4.2).
func (c *call) anonymous() bool {
	return c.p.anonymous(c.srv.Req.From().Address) || hasPrivacy(c.srv.Req, "user")
}

// wishes are the caller's part of what decides the protection.
func (c *call) wishes() wishes {
	return wishes{
		forced: c.p.cfg.ProtectIP == "always", asked: asksPrivacy(c.srv.Req) || c.anonymous() || c.unnamed,
		caller:       c.p.store.Settings(c.who.aor).ProtectIP,
		callerIsOurs: c.who.kind == digestUser,
	}
}

func (c *call) decide(w wishes, verdict, because string) {
	var why string
	c.protected, why = protect(w)
	c.p.calls.change(c.key, func(r *record) {
		r.Protected, r.Verdict = c.protected, verdict
		r.Why = append(r.Why, because, why)
	})
	if c.protected {
		c.witness()
	}
}

// treatment is how the call's messages cross: sealed or record-routed.
func (c *call) treatment() treatment {
	if c.protected {
		return &sealed{p: c.p, call: c, from: callerLeg, srv: c.srv, shownTag: c.shownTag, offer: c.offer()}
	}
	return &plain{p: c.p, call: c, from: callerLeg, srv: c.srv, uri: c.dialled, offer: c.offer()}
}

// follow keeps the record in step with a fork that speaks for itself.
func (c *call) follow(f *fork) {
	f.redirect = c.redirect
	f.won = func(b *branch, _ *sip.Response) bool {
		c.won(b)
		return true
	}
	f.ended = c.ended
}

// won notes the answer of a device.
func (c *call) won(b *branch) {
	c.p.calls.change(c.key, func(r *record) {
		if r.State == stateRinging {
			r.Answered, r.State, r.Code = time.Now(), stateTalking, sip.StatusOK
		}
	})
}

// ended notes that the INVITE got its final; a call that was answered goes on.
func (c *call) ended(code int) {
	if code < 300 {
		return
	}
	c.p.calls.change(c.key, func(r *record) { r.Code = code })
	c.p.calls.end(c.key, "not answered", time.Now())
}

// refuse ends the call before it was forwarded.
func (c *call) refuse(code int, w why) error {
	c.ended(code)
	return refuse(code, w)
}
