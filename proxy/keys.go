package proxy

import (
	"errors"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/guard"
	"sotto/proxy/wire"
)

// readKeys takes the proxy's secrets from the store, which makes them at its
// first start; there is no default key.
func (p *Proxy) readKeys() error {
	current, previous, err := p.store.Secret(sealSecret, secretKeySize)
	if err != nil {
		return err
	}
	if p.seal, err = newSealer(current, previous); err != nil {
		return err
	}
	made, err := p.store.SecretMade(sealSecret)
	if err != nil {
		return err
	}
	p.sealMade.Store(made.Unix())
	nonce, _, err := p.store.Secret("nonce", secretKeySize)
	if err != nil {
		return err
	}
	p.auth, err = newAuthenticator(nonce)
	return err
}

// knowHomes makes those who were registered before a restart known at their
// addresses, so that no guessing meanwhile keeps them from coming back.
func (p *Proxy) knowHomes(now time.Time) {
	for _, u := range p.store.Users() {
		for _, b := range p.loc.Bindings(u.AOR, now) {
			p.auth.guesses.right(b.Flow.Peer.Addr(), u.AOR.String(), now)
			p.guard.Proved(b.Flow.Peer, b.Expires, now)
		}
	}
}

// secretKeySize is the length of each secret in bytes (256 bits).
const secretKeySize = 32

// sealSecret names the sealing key in the store.
const sealSecret = "seal"

// sealLife is how long a sealing key seals (ours). The key before it still
// opens, so a call goes on for at least so long; it must be more than boxLife.
const sealLife = 7 * 24 * time.Hour

// ErrTooSoon is the error of a rotation that would cut calls under way: the
// key before the current one still has their dialogs.
var ErrTooSoon = errors.New(
	"the last rotation is less than a day ago; another one would cut calls that began before it")

// RotateKeys makes a new sealing key. What was sealed with the one of before
// still opens; what is older does not. It fails with ErrTooSoon, or when the
// store cannot write; then nothing has changed.
func (p *Proxy) RotateKeys() error {
	p.rotating.Lock()
	defer p.rotating.Unlock()
	if len(p.seal.keys()) > 1 && time.Since(time.Unix(p.sealMade.Load(), 0)) < boxLife {
		return ErrTooSoon
	}
	if err := p.store.Rotate(sealSecret); err != nil {
		return err
	}
	current, previous, err := p.store.Secret(sealSecret, secretKeySize)
	if err != nil {
		return err
	}
	if err := p.seal.replace(current, previous); err != nil {
		return err
	}
	p.sealMade.Store(time.Now().Unix())
	return nil
}

// rotateOld replaces a sealing key whose time is over. A store that cannot
// write keeps the key that there is; the next sweep tries again.
func (p *Proxy) rotateOld(now time.Time) {
	if now.Sub(time.Unix(p.sealMade.Load(), 0)) < sealLife {
		return
	}
	if err := p.RotateKeys(); err != nil {
		p.log.Warn("sealing key not replaced", "err", err)
		return
	}
	p.log.Info("sealing key replaced; calls under way go on")
}

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

// guardConfig is who may be heard how much, in the words of package guard.
func guardConfig(c configs.Config, log *slog.Logger) guard.Config {
	l := c.Limits
	g := guard.Config{
		Messages: l.MessagesPerAddress, Invites: l.InvitesPerAddress, PerUser: l.RequestsPerUser, All: l.MessagesOfStrangers,
		Ban: l.Ban, Log: log,
	}
	for _, p := range l.Exempt {
		g.Exempt = append(g.Exempt, p.Prefix)
	}
	for _, peer := range c.Peers {
		for _, p := range peer.Addresses {
			g.Exempt = append(g.Exempt, p.Prefix)
		}
	}
	return g
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
