package proxy

import (
	"time"

	"sotto/internal/aor"
	"sotto/proxy/txn"
)

// judgement is a verdict, its reason, and whether the caller is a stranger:
// somebody who is not known to the recipient, even if the phone may ring.
type judgement struct {
	verdict  verdict
	reason   reason
	stranger bool
}

// judge screens a caller who shows these tokens to a local recipient, and goes
// on with the judgement on the worker of s: at once, or, where the use of a
// token must be written down before it counts, when that is done. The error of
// what follows is answered.
func (p *Proxy) judge(s *txn.Server, who identity, callee aor.AOR, toks []string, then func(judgement) error) {
	f := p.facts(who, callee)
	goOn := func(holds bool) {
		f.token = holds
		if err := then(f.judged()); err != nil {
			p.answer(s, err)
		}
	}
	t, holds := p.tokenThatHolds(s, who, callee, toks)
	if !holds || f.blocked {
		goOn(false)
		return
	}
	p.use(s, t, use{who, callee, f.known()}, goOn)
}

// facts gathers what is known of a caller and a local recipient but for
// tokens. It does the same work whether the recipient exists, silences or has
// blocked the caller: what it costs shows in when the next message is answered.
func (p *Proxy) facts(who identity, callee aor.AOR) facts {
	_, exists := p.store.User(callee)
	set := p.store.Settings(callee)
	return facts{
		blocked:      p.store.Blocked(callee, who.aor),
		ringStranger: exists && set.RingStrangers,
		recent:       p.store.Recent(callee, who.aor, set.RecentDays) && exists,
		organisation: p.organisation(who),
		psap:         who.peer != nil && who.peer.PSAP,
		window:       exists && time.Now().Before(set.WindowUntil),
	}
}

// judged is what follows from the facts.
func (f facts) judged() judgement {
	v, r := screen(f)
	return judgement{verdict: v, reason: r, stranger: v == silence || !f.known()}
}

// organisation says that the operator vouches for the caller: its domain is a
// known one, and the caller has proved to be in it.
func (p *Proxy) organisation(who identity) bool {
	if who.kind == nobody || who.aor.IsZero() {
		return false
	}
	for _, d := range p.cfg.KnownDomains {
		if canonical(d) == who.aor.Host() {
			return true
		}
	}
	return false
}

// knows says that other is known to a: same organisation, or they talked lately.
func (p *Proxy) knows(a, other aor.AOR) bool {
	if a.IsZero() || other.IsZero() {
		return false
	}
	for _, d := range p.cfg.KnownDomains {
		if canonical(d) == other.Host() {
			return true
		}
	}
	return p.store.Recent(a, other, p.store.Settings(a).RecentDays)
}

// remember notes that a called or messaged other, so that other may call back.
func (p *Proxy) remember(a, other aor.AOR) {
	if p.remembers(a, other) {
		p.later("recent call", func() error { return p.store.Remember(a, other) })
	}
}

// remembers says that it is to be remembered that a turned to other. Who does
// not exist calls nobody back.
func (p *Proxy) remembers(a, other aor.AOR) bool {
	_, ours := p.store.User(a)
	_, theirs := p.store.User(other)
	return ours && theirs && p.store.Settings(a).RecentDays > 0
}
