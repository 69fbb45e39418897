package proxy

import (
	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/wire"
)

// A redirection is where a device sends a call on to: the devices of another
// local user. The caller is to that user who it is, not to the one whom it has
// called: it must be allowed to ring there, and what both wish decides whether
// it is protected there. The zero value leads nowhere.
type redirection struct {
	to      aor.AOR
	targets []target
	treat   treatment // nil: that of the fork
	behind  bool      // the caller is a stranger there, and hears a 2xx or, in the facade's time, nothing
}

// redirect is where a Contact of a redirection leads.
func (c *call) redirect(to sip.Uri) redirection {
	other, ok := c.p.localAOR(to)
	if !ok {
		return redirection{}
	}
	v := c.p.facts(c.who, other).judged()
	r := redirection{to: other, behind: v.stranger && c.p.uniform(other.Host())}
	if v.verdict == ring && (!r.behind || !c.p.crowded()) {
		r.targets = c.p.devices(other)
	}
	if protected, why := protect(c.toward(other, v)); protected && !c.protected {
		r.treat = c.protectedToo(why)
	}
	return r
}

// protectedToo is the treatment of a branch that is protected in a call that is not.
func (c *call) protectedToo(why string) treatment {
	other := *c
	other.protected = true
	c.p.calls.change(c.key, func(r *record) { r.Protected, r.Why = true, append(r.Why, "where it was sent on to: "+why) })
	return &sealed{p: c.p, call: &other, from: callerLeg, srv: c.srv}
}

// recurse adds the local users that a redirection names (RFC 3261 §16.7
// step 4). Addresses outside are not followed and never told to the caller.
func (f *fork) recurse(res *sip.Response) {
	if f.redirect == nil {
		return
	}
	for _, h := range wire.All(res, "Contact") {
		for _, value := range splitList(h) {
			f.follow(value)
		}
	}
}

// follow adds the targets of one Contact of a redirection.
func (f *fork) follow(contact string) {
	var u sip.Uri
	if _, err := sip.ParseAddressValue(contact, &u, nil); err != nil {
		return
	}
	r := f.redirect(u)
	if r.treat == nil {
		r.treat = f.treat
	}
	if r.behind {
		f.veil(r)
		return
	}
	for _, t := range r.targets {
		f.begin(&branch{fork: f, treat: r.treat, target: t})
	}
}

// veil sends a call on to somebody to whom the caller is a stranger. The caller, who
// may have an accomplice that redirects, hears what it would hear of the facade (facade.md),
// whether there are devices or not; so does a branch that has none and ends in the facade's time.
func (f *fork) veil(r redirection) {
	key := "behind|" + r.to.String()
	if f.tried[key] || len(f.branches) >= maxTargets {
		return
	}
	f.tried[key] = true
	nobody := &branch{fork: f, treat: r.treat, behind: true}
	f.branches = append(f.branches, nobody)
	var devices []*branch
	f.srv.After(f.p.chance.between(momentBehind, behindEarliest, behindLatest), func() {
		for _, t := range r.targets {
			if f.finished || nobody.final != 0 {
				return
			}
			b := &branch{fork: f, treat: r.treat, target: t, behind: true}
			devices = append(devices, b)
			f.begin(b)
		}
	})
	f.srv.After(f.p.chance.between(momentRing, ringEarliest, ringLatest), func() { f.ringFor(nobody) })
	f.srv.After(f.p.chance.between(momentGiveUp, giveUpEarliest, giveUpLatest), func() {
		for _, b := range append(devices, nobody) {
			if b.final == 0 {
				b.giveUp(reasonHeader(f, nil), sip.StatusTemporarilyUnavailable)
			}
		}
	})
}

// ringFor tells a caller to whom nobody has rung yet that somebody does.
func (f *fork) ringFor(b *branch) {
	if f.finished || f.srv.Relayed || b.final != 0 || lists(f.srv.Req, "Require", "100rel") {
		return
	}
	f.reply(f.p.respond(f.srv.Req, sip.StatusRinging))
}
