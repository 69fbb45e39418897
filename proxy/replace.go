package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// A call that takes the place of another one (RFC 3891) or joins it (RFC 3911):
// pickup of a call that rings elsewhere or goes on there, attended transfer.
//
// Who may do so is who holds a sealed reference to the call, which only a party
// of it can give: in a Refer-To, or as its phone's dialog-info to who watches
// it. With the reference a user of ours, or a trusted peer's, is put through to
// the one device that is at the other end, past the screening: that end is in
// the call already. Not so who is blocked there. For everybody else a reference
// is worth nothing: a stranger meets the facade, with nobody behind it.

// checkDialogs refuses what no user agent may take (RFC 3891 §3, RFC 3911 §4): Replaces or
// Join that are no dialog, more than one of them, or outside of an INVITE.
func checkDialogs(req *sip.Request) error {
	named := append(wire.All(req, "Replaces"), wire.All(req, "Join")...)
	switch {
	case len(named) == 0:
		return nil
	case len(named) > 1 || req.Method != sip.INVITE:
		return refuse(sip.StatusBadRequest, whyBadDialog)
	}
	if _, ok := parseDialog(named[0]); !ok {
		return refuse(sip.StatusBadRequest, whyBadDialog)
	}
	return nil
}

// named is the dialog in the Replaces or Join of a request, and the name of that header.
func named(req *sip.Request) (header string, d dialogRef, ok bool) {
	for _, name := range []string{"Replaces", "Join"} {
		if v := wire.All(req, name); len(v) == 1 {
			d, ok = parseDialog(v[0])
			return name, d, ok
		}
	}
	return "", d, false
}

// takeOver goes on with an INVITE that names a dialog, if that is a reference
// which we sealed; otherwise it is a call like any other.
func (p *Proxy) takeOver(s *txn.Server, who identity) (done bool, err error) {
	header, d, ok := named(s.Req)
	if !ok || who.kind == nobody {
		return false, nil
	}
	ref, ok := p.seal.unwrap(d)
	if !ok {
		if _, ours := p.seal.openCallID(d.callID); !ours && strings.HasPrefix(d.callID, sealPrefix) {
			return true, refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
		}
		return false, nil
	}
	end, found := p.calls.party(p.seal, ref)
	if !found && !ref.watched {
		return false, nil // a transfer, after a restart: its Refer-To says whom to ask
	}
	if code := end.answerTo(ref, header); code != 0 {
		return true, refuse(code, whyNotReplaced)
	}
	if !end.names(ref) {
		return true, refuse(sip.StatusCallTransactionDoesNotExists, whyNotReplaced)
	}
	if end.shownTag != "" { // the facade's, by which a stranger knows the device
		ref.tag2 = end.shownTag
	}
	wire.RemoveAll(s.Req, header)
	s.Req.AppendHeader(sip.NewHeader(header, p.seal.wrap(ref).String()))
	return true, p.takesOver(s, who, end)
}

// takesOver sends the INVITE to the one device that has the dialog.
func (p *Proxy) takesOver(s *txn.Server, who identity, end partyEnd) error {
	in := p.takeTokens(s.Req)
	switch {
	case end.anonymous:
		in.uri = nobodyURI() // its phone would else name itself to the other party
	case !end.aor.IsZero():
		in.uri = uriOf(end.aor)
	}
	c := p.newCall(s, who, end.aor, in.uri)
	c.handed, c.unnamed = true, end.anonymous
	p.calls.change(c.key, func(r *record) { r.unnamed = c.unnamed })
	if end.aor.IsZero() {
		c.outbound()
	} else {
		f := p.facts(who, end.aor)
		f.handed = true
		v := f.judged()
		c.judged(v)
		if v.verdict == silence {
			return c.refuse(sip.StatusGlobalDecline, whyNotReplaced)
		}
	}
	f := newFork(p, s, c.treatment())
	c.follow(f)
	f.redirect = nil // the dialog is nowhere else
	f.start([]target{{
		uri: end.target, routes: end.routes, flow: end.flow, binding: end.binding, aor: end.aor,
	}})
	return nil
}

// A partyEnd is one party of a call, as somebody else asks for it.
type partyEnd struct {
	dialogEnd
	aor       aor.AOR // zero: elsewhere
	id        string  // the caller's Call-ID
	anonymous bool    // it has asked to be nobody
	sealed    bool    // the call is protected: each party knows the other's identifiers sealed
	shownTag  string  // by which the caller knows the device, where a facade has answered; "" elsewhere
	known     bool
	ended     bool
	early     bool
	leg       leg
}

// answerTo is what RFC 3891 §3 and RFC 3911 §4 have answered instead of taking
// the call, 0 for nothing.
func (e partyEnd) answerTo(ref dialogRef, header string) int {
	switch {
	case e.ended:
		return sip.StatusGlobalDecline
	case !e.known, e.target.Host == "":
		return sip.StatusCallTransactionDoesNotExists
	case e.early && e.leg == calleeLeg:
		// Only who sent the INVITE can give it to another one to answer.
		return sip.StatusCallTransactionDoesNotExists
	case !e.early && ref.early && header == "Replaces":
		return sip.StatusBusyHere
	}
	return 0
}

// names says that the party knows its dialog by that name and no other: its own
// identifiers as they are, and those of the other party sealed, if the call is
// protected. By any other it would be told what the other party's are.
func (e partyEnd) names(d dialogRef) bool {
	hidden := func(id string) bool { return !e.sealed || strings.HasPrefix(id, sealPrefix) }
	switch {
	case !e.known, e.ended:
		return false
	case d.reader == anyReader:
		return true
	case e.leg == callerLeg:
		return hidden(d.tag2) && d.callID == e.id
	}
	return !e.early && hidden(d.callID) && hidden(d.tag2)
}

// readerOf is whom a branch's request goes to; c is the call that it begins, nil within one.
func (p *Proxy) readerOf(c *call, b *branch) reader {
	return reader{
		aor: b.target.aor, handed: c != nil && c.handed,
		party: func(d dialogRef) (aor.AOR, bool) {
			end, ok := p.calls.party(p.seal, d)
			return end.aor, ok && end.names(d)
		},
	}
}

// party finds the party of a call that knows a dialog by that name. ok is
// false if there is no record of the call.
func (t *callTable) party(s *sealer, d dialogRef) (e partyEnd, ok bool) {
	id, own, other := d.callID, d.tag1, d.tag2
	if open, is := s.openCallID(id); is {
		id = open
	}
	if open, is := s.openTag(other); is {
		other = open
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range []leg{callerLeg, calleeLeg} {
		key, device := callKey{id, own}, other
		if l == calleeLeg {
			key, device = callKey{id, other}, own
		}
		if r := t.byKey[key]; r != nil {
			return r.party(l, device), true
		}
		for _, r := range t.ended {
			if r.key == key {
				return partyEnd{known: true, ended: true}, true
			}
		}
	}
	return partyEnd{}, false
}

// party is one party of a call, in the dialog with a device.
func (r *record) party(l leg, device string) partyEnd {
	e := partyEnd{
		known: true, leg: l, aor: r.caller, anonymous: r.anonymous, shownTag: r.shownTag,
		id: r.key.callID, sealed: r.Protected,
	}
	if l == calleeLeg {
		e.aor, e.shownTag, e.anonymous = r.callee, "", false
	}
	if len(r.ends) == 0 {
		e.early, e.dialogEnd = true, r.from
		return e
	}
	ends, ok := r.ends[device]
	if !ok { // another device has answered: this dialog is over
		e.ended = true
	}
	e.dialogEnd = ends[l]
	if l == calleeLeg {
		e.aor = e.dialogEnd.aor
	}
	return e
}

// callerOf is where the caller of a call is reached within it.
func callerOf(p *Proxy, s *txn.Server) dialogEnd {
	e := dialogEnd{flow: p.direct(s), binding: p.bindingOf(s.Flow)}
	if routes, err := routeSet(wire.All(s.Req, "Record-Route")); err == nil {
		e.routes = routes
	}
	if c := s.Req.Contact(); c != nil {
		e.target = c.Address
	}
	return e
}

// moved notes where a party says within a call that it is now.
func (r *record) moved(p *Proxy, s *txn.Server, from leg) {
	c := s.Req.Contact()
	if c == nil || !refreshes(s.Req.Method) {
		return
	}
	own, _ := tagOf(s.Req.From().Params)
	for tag, e := range r.ends {
		if from == calleeLeg && tag != own {
			continue
		}
		end := &e[from]
		end.target, end.flow, end.binding = c.Address, p.direct(s), p.bindingOf(s.Flow)
		r.ends[tag] = e
	}
}
