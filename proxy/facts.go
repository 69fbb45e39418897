package proxy

import (
	"net/url"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/wire"
	"sotto/tokens"
)

// dialled is what a caller asked for: the Request-URI without tokens, and the
// tokens that were found, first carrier first.
type dialled struct {
	uri    sip.Uri
	tokens []string
}

// takeTokens reads the carriers in the order of token-spec.md: the header,
// URI headers, the user part, URI parameters; the first that has tokens
// counts. The request itself is not changed: nothing of it is forwarded to a
// device but what the treatments take from it, and they take none of these.
func (p *Proxy) takeTokens(req *sip.Request) dialled {
	clean, user, uri, param := carriers(req.Recipient)
	_, toUser, toURI, toParam := carriers(req.To().Address)
	if v, ok := wire.Param(req.To().Params, tokens.Param); ok {
		toParam = append(toParam, v)
	}
	var header []string
	for _, name := range []string{tokens.Header, tokens.AliasHeader} {
		for _, v := range wire.All(req, name) {
			header = append(header, tokens.FromHeader(v)...)
		}
	}
	d := dialled{uri: clean}
	for _, found := range [][]string{header, append(uri, toURI...), append(user, toUser...), append(param, toParam...)} {
		if len(found) > 0 {
			d.tokens = found[:min(len(found), maxTokens)]
			break
		}
	}
	return d
}

// maxTokens bounds the tokens that one request may bring (token-spec.md).
const maxTokens = 3

// carriers takes the tokens out of a URI.
func carriers(in sip.Uri) (clean sip.Uri, user, header, param []string) {
	clean = *in.Clone()
	clean.User, user = tokens.CutUser(clean.User)
	for _, h := range clean.Headers {
		if strings.EqualFold(h.K, tokens.Header) || strings.EqualFold(h.K, tokens.AliasHeader) {
			v, _, _ := strings.Cut(h.V, ";") // baresip appends ;transport= behind URI headers
			if dec, err := url.PathUnescape(v); err == nil {
				v = dec
			}
			header = append(header, tokens.FromHeader(v)...)
		}
	}
	if v, ok := wire.Param(clean.UriParams, tokens.Param); ok {
		param = append(param, v)
	}
	clean.Headers = nil
	kept := sip.NewParams()
	for _, kv := range clean.UriParams {
		if !strings.EqualFold(kv.K, tokens.Param) {
			kept.Add(kv.K, kv.V)
		}
	}
	clean.UriParams = kept
	return clean, user, header, param
}

// judgement is a verdict, its reason, and whether the caller is a stranger:
// somebody who is not known to the recipient, even if the phone may ring.
type judgement struct {
	verdict  verdict
	reason   reason
	stranger bool
}

// judge gathers the facts about a caller and a local recipient and screens
// them. The token is verified only where it can matter and at most once per
// transaction (token-spec.md, validation).
func (p *Proxy) judge(who identity, callee aor.AOR, toks []string) judgement {
	_, exists := p.store.User(callee)
	set := p.store.Settings(callee)
	f := facts{
		blocked:      p.store.Blocked(callee, who.aor),
		ringStranger: exists && set.RingStrangers,
		recent:       exists && !who.aor.IsZero() && p.store.Recent(callee, who.aor, set.RecentDays),
		organisation: p.organisation(who),
		psap:         who.peer != nil && who.peer.PSAP,
		window:       exists && time.Now().Before(set.WindowUntil),
	}
	if exists && !f.blocked && len(toks) > 0 {
		f.token = p.tokenHolds(who, callee, toks)
	}
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

// tokenHolds says that one of the tokens lets this caller ring this recipient.
func (p *Proxy) tokenHolds(who identity, callee aor.AOR, toks []string) bool {
	keys := p.store.Keys(callee)
	for _, text := range toks {
		t, err := tokens.Parse(text)
		if err != nil {
			continue // a bad token is exactly a missing one
		}
		claim := tokens.Claim{Recipient: callee, Caller: who.aor, Keys: keys, Now: time.Now()}
		if err := tokens.Verify(t, claim); err != nil || p.store.Revoked(callee, t.Salt()) {
			continue
		}
		if p.use(t, who, callee) {
			return true
		}
	}
	return false
}

// use says that a token which holds may be used, and has that written down
// where uses are counted. A store that cannot write lets nobody through.
func (p *Proxy) use(t tokens.Token, who identity, callee aor.AOR) bool {
	switch t.Bind() {
	case tokens.FirstUse:
		return p.firstUse(t, who, callee)
	case tokens.Open:
		ok, err := p.store.CountUse(callee, t.Salt(), p.store.Settings(callee).OpenUses, t.Expires())
		if err != nil {
			p.log.Warn("use of an open token not written", "callee", callee, "err", err)
		}
		return ok && err == nil
	case tokens.ToCaller, tokens.ToDomain:
	}
	return true
}

// firstUse binds a first-use token to the caller who shows it first. A store
// that cannot write leaves the token unbound, so it must not open the door.
func (p *Proxy) firstUse(t tokens.Token, who identity, callee aor.AOR) bool {
	if who.aor.IsZero() {
		return false // there is nobody to bind it to
	}
	ok, err := p.store.BindFirstUse(callee, t.Salt(), tokens.FirstUseHash(t.Salt(), who.aor), t.Expires())
	if err != nil {
		p.log.Warn("first-use token not bound", "callee", callee, "err", err)
		return false
	}
	return ok
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
	if p.store.Settings(a).RecentDays == 0 {
		return
	}
	for _, u := range []aor.AOR{a, other} {
		if _, ours := p.store.User(u); !ours {
			return // who does not exist calls nobody back
		}
	}
	p.later("recent call", func() error { return p.store.Remember(a, other) })
}
