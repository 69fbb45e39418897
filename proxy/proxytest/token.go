package proxytest

import (
	"crypto/ed25519"
	"time"

	"sotto/internal/aor"
	"sotto/tokens"
)

// Grant is what a recipient's token grants; see tokens.Grant.
type Grant struct {
	To     string // the caller; "": anybody, see Bind
	Bind   tokens.Bind
	Issued time.Duration // so long ago
	Life   time.Duration // from then; 0: the usual
}

// Key makes a key for a user, of which the server keeps the public half.
func (p *Phone) Key() ed25519.PrivateKey {
	p.s.t.Helper()
	key, err := tokens.NewKey()
	p.s.must(err)
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		p.s.t.Fatal("key has no public half")
	}
	p.s.must(p.s.Store.AddKey(user(p.User), public, "test"))
	return key
}

// Token issues a token of the user's with a key of its own.
func (p *Phone) Token(g Grant) tokens.Token {
	p.s.t.Helper()
	return p.TokenOf(p.Key(), g)
}

// TokenOf issues a token of the user's with a key.
func (p *Phone) TokenOf(key ed25519.PrivateKey, g Grant) tokens.Token {
	p.s.t.Helper()
	t, err := p.issue(key, g)
	p.s.must(err)
	return t
}

// Retires has a key of the user's end in a while.
func (p *Phone) Retires(key ed25519.PrivateKey, in time.Duration) {
	p.s.t.Helper()
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		p.s.t.Fatal("key has no public half")
	}
	p.s.must(p.s.Store.RetireKey(user(p.User), public, time.Now().Add(in)))
}

// Forged issues a token with a key that the server does not know.
func (p *Phone) Forged(g Grant) tokens.Token {
	p.s.t.Helper()
	key, err := tokens.NewKey()
	p.s.must(err)
	t, err := p.issue(key, g)
	p.s.must(err)
	return t
}

func (p *Phone) issue(key ed25519.PrivateKey, g Grant) (tokens.Token, error) {
	issued := time.Now().Add(-g.Issued)
	if g.Life == 0 {
		g.Life = tokens.Life
	}
	var caller aor.AOR
	if g.To != "" {
		caller = user(g.To)
	}
	return tokens.Issue(key, tokens.Grant{
		Recipient: user(p.User), Bind: g.Bind, Caller: caller, Domain: Domain, Expires: issued.Add(g.Life),
	}, issued)
}

// Revokes revokes a token of the user's.
func (p *Phone) Revokes(t tokens.Token) {
	p.s.t.Helper()
	p.s.must(p.s.Store.Revoke(user(p.User), t.Salt(), t.Expires()))
}
