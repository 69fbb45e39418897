package proxy

import (
	"hash/fnv"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/wire"

	"sotto/configs"
)

// readKeys takes the proxy's secrets from the store, which makes them at its
// first start; there is no default key.
func (p *Proxy) readKeys() error {
	current, previous, err := p.store.Secret("seal", secretKeySize)
	if err != nil {
		return err
	}
	if p.seal, err = newSealer(current, previous); err != nil {
		return err
	}
	nonce, _, err := p.store.Secret("nonce", secretKeySize)
	if err != nil {
		return err
	}
	p.auth, err = newAuthenticator(nonce)
	return err
}

// secretKeySize is the length of each secret in bytes (256 bits).
const secretKeySize = 32

// secretOf is how the authenticator asks for a user's hashed passwords.
func (p *Proxy) secretOf(user, realm string) (ha1, bool) {
	a, err := aor.New(user, realm)
	if err != nil {
		return ha1{}, false
	}
	u, ok := p.store.User(a)
	return ha1{sha256: u.HA1SHA256, md5: u.HA1MD5}, ok
}

// shard brings both legs of a protected call to one worker: the callee's side
// knows the call by the sealed Call-ID.
func (p *Proxy) shard(callID string) uint64 {
	if id, ok := p.seal.openCallID(callID); ok {
		callID = id
	}
	return fnv64(callID)
}

// fnv64 spreads strings; it is no secret and protects nothing.
func fnv64(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

// ref is the short name of a request's call in logs.
func (p *Proxy) ref(req *sip.Request) string {
	k := keyOf(req)
	if id, ok := p.seal.openCallID(k.callID); ok {
		tag, _ := wire.Param(req.To().Params, "tag")
		tag, _ = p.seal.openTag(tag)
		k = callKey{id, tag}
	}
	return refOf(k)
}

// flowLimits are the operator's limits in the words of package flow.
func flowLimits(l configs.Limits) flow.Limits {
	d := flow.DefaultLimits()
	if l.Connections > 0 {
		d.Connections = l.Connections
	}
	if l.ConnectionsPerAddress > 0 {
		d.PerAddress = l.ConnectionsPerAddress
	}
	return d
}
