package proxy

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// What every answer of our own says we can do, whoever asks (facade.md).
const (
	allowedMethods      = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE, MESSAGE"
	supportedExtensions = "100rel, timer, replaces, path, outbound"
)

// pass takes every request outside of dialogs but INVITE and REGISTER.
func (p *Proxy) pass(s *txn.Server) error {
	if s.Req.Method == sip.OPTIONS && p.isUs(s.Req.Recipient) && s.Req.Recipient.User == "" {
		return p.capabilities(s)
	}
	if s.Req.Method == sip.CANCEL {
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	}
	who, err := p.identify(s)
	if err != nil {
		return err
	}
	in := p.takeTokens(s.Req)
	callee, local := p.localAOR(in.uri)
	switch {
	case local && callee.User() == noticeUser:
		return p.swallow(s, who)
	case local && callee == who.aor && p.watches(s):
		return p.passIn(s, who, in, judgement{verdict: ring, reason: ownDevices})
	case local && callee == who.aor && s.Req.Method == sip.SUBSCRIBE:
		// Sotto has no state of its own to subscribe to. 489, and not a 200
		// without Expires: baresip 1.0.0 would ask again without pause.
		return refuse(statusBadEvent, whyEvent)
	case !local || p.beyond(callee, who):
		return p.passOut(s, who, in)
	}
	p.judge(s, who, callee, in.tokens, func(v judgement) error {
		if v.stranger {
			return p.toStranger(s)
		}
		return p.passIn(s, who, in, v)
	})
	return nil
}

// watches says that a phone wants to know of the calls of its user's other phones.
func (p *Proxy) watches(s *txn.Server) bool {
	event := wire.All(s.Req, "Event")
	return s.Req.Method == sip.SUBSCRIBE && len(event) == 1 && oneOf(bare(event[0]), "dialog") != ""
}

// others are the targets but for the sender's own phone.
func (p *Proxy) others(s *txn.Server, targets []target) []target {
	own := p.bindingOf(s.Flow)
	return slices.DeleteFunc(targets, func(t target) bool { return own != 0 && t.binding == own })
}

// passIn sends a request to the devices of a user to whom its sender is known.
func (p *Proxy) passIn(s *txn.Server, who identity, in dialled, v judgement) error {
	callee, _ := p.localAOR(in.uri)
	targets := p.devices(callee)
	if callee == who.aor && s.Req.Method == sip.SUBSCRIBE {
		targets = p.others(s, targets)
	}
	if len(targets) == 0 {
		return refuse(p.absent(callee), whyNobodyThere)
	}
	c := &call{p: p, srv: s, who: who, callee: callee, dialled: in.uri, key: keyOf(s.Req)}
	c.judged(v)
	if callee.User() != "" && s.Req.Method == sip.MESSAGE && !who.aor.IsZero() {
		p.remember(who.aor, callee)
	}
	newFork(p, s, c.treatment()).start(targets)
	return nil
}

// passOut sends a request to a trunk or a foreign domain.
func (p *Proxy) passOut(s *txn.Server, who identity, in dialled) error {
	targets, err := p.outside(who, in.uri)
	if err != nil {
		return err
	}
	c := &call{p: p, srv: s, who: who, dialled: in.uri, key: keyOf(s.Req)}
	c.outbound()
	newFork(p, s, c.treatment()).start(targets)
	return nil
}

// toStranger is all that a stranger's request outside a dialog meets: the
// same for users who exist and who do not, and never a device's answer.
func (p *Proxy) toStranger(s *txn.Server) error {
	switch s.Req.Method {
	case sip.OPTIONS:
		return p.capabilities(s)
	case sip.SUBSCRIBE, sip.PUBLISH:
		return refuse(statusBadEvent, whyEvent)
	case sip.MESSAGE:
		return s.Reply(p.respond(s.Req, sip.StatusAccepted))
	case sip.INFO, sip.UPDATE, sip.NOTIFY, sip.PRACK, sip.BYE:
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	}
	return refuse(sip.StatusMethodNotAllowed, whyNotHere, sip.NewHeader("Allow", allowedMethods))
}

// capabilities answers an OPTIONS (RFC 3261 §11.2) with constants.
func (p *Proxy) capabilities(s *txn.Server) error {
	res := p.respond(s.Req, sip.StatusOK)
	res.AppendHeader(sip.NewHeader("Allow", allowedMethods))
	res.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	res.AppendHeader(sip.NewHeader("Supported", supportedExtensions))
	return s.Reply(res)
}

// swallow takes what phones send to the notice service: delivery receipts
// that nobody asked for. They end here (clients.md §3).
func (p *Proxy) swallow(s *txn.Server, who identity) error {
	if who.kind != digestUser {
		return p.toStranger(s)
	}
	switch s.Req.Method {
	case sip.MESSAGE:
		return s.Reply(p.respond(s.Req, sip.StatusOK))
	case sip.OPTIONS:
		return p.capabilities(s)
	}
	return p.toStranger(s)
}

// beyond says that a number of our domain that is no user of ours goes to the
// default route, for callers who may use it.
func (p *Proxy) beyond(callee aor.AOR, who identity) bool {
	if p.cfg.DefaultRoute == "" || who.kind == nobody || callee.User() == noticeUser {
		return false
	}
	_, ok := p.store.User(callee)
	return !ok
}

// outside are the targets of a URI that no user of ours has.
func (p *Proxy) outside(who identity, uri sip.Uri) ([]target, error) {
	if who.kind == nobody {
		return nil, refuse(sip.StatusForbidden, whyNotServed)
	}
	if _, local := p.served(uri); local || uri.Scheme == "tel" {
		return p.defaultRoute(uri)
	}
	for i := range p.peers {
		if t, err := trunk(p.peers[i].Peer, uri); err == nil && sameHost(t.uri, uri) {
			return []target{t}, nil
		}
	}
	if !p.foreignAllowed(uri.Host) {
		return nil, refuse(sip.StatusForbidden, whyNotServed)
	}
	return []target{{uri: uri}}, nil
}

// defaultRoute is the trunk for what is not served here.
func (p *Proxy) defaultRoute(uri sip.Uri) ([]target, error) {
	for i := range p.peers {
		if p.peers[i].Name != p.cfg.DefaultRoute {
			continue
		}
		t, err := trunk(p.peers[i].Peer, uri)
		if err != nil {
			return nil, err
		}
		return []target{t}, nil
	}
	return nil, refuse(sip.StatusNotFound, whyNobodyThere)
}

// sameHost compares where two URIs lead.
func sameHost(a, b sip.Uri) bool {
	return canonical(a.Host) == canonical(b.Host) && (a.Port == b.Port || b.Port == 0)
}

// foreignAllowed says that the operator lets users call a domain.
func (p *Proxy) foreignAllowed(host string) bool {
	if p.cfg.Foreign != "allow" {
		return false
	}
	if len(p.cfg.ForeignDomains) == 0 {
		return true
	}
	for _, d := range p.cfg.ForeignDomains {
		if canonical(d) == canonical(host) {
			return true
		}
	}
	return false
}

// Ack implements txn.Handler: the ACK to a 2xx goes end to end (RFC 3261
// §13.2.2.4), through the seal or along the route, without a transaction.
func (p *Proxy) Ack(f *flow.Flow, ack *sip.Request) {
	if tag, _ := tagOf(ack.To().Params); isLocalTag(tag) && tag == p.seal.localTag(ack) {
		f.Echoed() // it got a challenge, of which nothing is kept
		return
	}
	if err := p.ackOn(f, ack); err != nil {
		p.log.Debug("ACK not forwarded", "call", p.ref(ack), "err", err)
	}
}
