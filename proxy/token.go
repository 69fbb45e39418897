package proxy

import (
	"net/url"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/txn"
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

// tokenThatHolds is the first of the tokens that lets this caller ring this
// recipient, as far as can be said without writing anything. They are verified
// once per transaction, under the caller's budget, and at the same cost
// whoever the recipient is (token-spec.md, validation).
func (p *Proxy) tokenThatHolds(s *txn.Server, who identity, callee aor.AOR, toks []string) (tokens.Token, bool) {
	if len(toks) == 0 || !p.spent.take(who, s.Flow.Peer().Addr(), len(toks), time.Now()) {
		return tokens.Token{}, false
	}
	keys := p.store.Keys(callee)
	for _, text := range toks {
		t, err := tokens.Parse(text)
		if err != nil {
			continue // a bad token is exactly a missing one
		}
		claim := tokens.Claim{Recipient: callee, Caller: who.aor, Keys: keys, Now: time.Now()}
		if err := tokens.Verify(t, claim); err == nil && !p.store.Revoked(callee, t.Salt()) {
			return t, true
		}
	}
	return tokens.Token{}, false
}

// A use is who shows a token that holds, to whom, and whether the recipient
// knows that caller without it.
type use struct {
	caller identity
	callee aor.AOR
	known  bool
}

// use has a token that counts its users written down, and says whether it may
// be used: a first-use token is bound to who shows it first, an open one rings
// only so often. A store that does not take that in time leaves the door shut.
func (p *Proxy) use(s *txn.Server, t tokens.Token, u use, then func(bool)) {
	write, ok := p.useOf(s, t, u)
	if write == nil {
		then(ok)
		return
	}
	over, callID := false, s.CallID() // the disk may take longer than the call
	finish := func(ok bool) {
		if over || s.Final() { // decided already, or given up meanwhile
			return
		}
		over = true
		then(ok)
	}
	entered := p.ledger.enter(entry{"use of a token", func() error {
		ok, err := write()
		if err != nil {
			p.log.Warn("use of a token not written; it does not count", "callee", u.callee, "err", err)
		}
		if err := p.txn.Do(callID, func() { finish(ok && err == nil) }); err != nil {
			p.log.Debug("call lost after the use of a token was written", "err", err)
		}
		return nil // not tried again: the caller waits
	}})
	if !entered {
		then(false)
		return
	}
	s.After(usePatience, func() { finish(false) })
}

// usePatience is how long a call waits for the disk to take the use of its
// token (ours: a healthy one needs some milliseconds).
const usePatience = 2 * time.Second

// useOf says whether a token that holds may be used, as far as memory knows;
// if that depends on a write, it returns the write.
func (p *Proxy) useOf(s *txn.Server, t tokens.Token, u use) (func() (bool, error), bool) {
	switch t.Bind() {
	case tokens.FirstUse:
		if u.caller.aor.IsZero() {
			return nil, false // there is nobody to bind it to
		}
		own := tokens.FirstUseHash(t.Salt(), u.caller.aor)
		if holder, bound := p.store.FirstUser(u.callee, t.Salt()); bound {
			return nil, holder == own
		}
		return func() (bool, error) { return p.store.BindFirstUse(u.callee, t.Salt(), own, t.Expires()) }, false
	case tokens.Open:
		most := p.store.Settings(u.callee).OpenUses
		if p.store.Uses(u.callee, t.Salt()) >= most {
			return nil, false
		}
		if u.known || s.Req.Method != sip.INVITE && s.Req.Method != sip.MESSAGE {
			return nil, true // who rings without it, and a phone's keep-alives, use nothing up
		}
		return func() (bool, error) { return p.store.CountUse(u.callee, t.Salt(), most, t.Expires()) }, false
	case tokens.ToCaller, tokens.ToDomain:
	}
	return nil, true
}
