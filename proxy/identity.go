package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// kind says how an identity was established (token-spec.md, validation).
type kind uint8

const (
	nobody      kind = iota // not established: a caller from outside
	digestUser              // a user of ours, by digest
	trustedPeer             // asserted by a trusted peer (RFC 3325)
)

// identity is who sends a request. The AOR is zero for nobody: what a From
// says is only a claim.
type identity struct {
	kind kind
	aor  aor.AOR
	peer *peer
	from string // what From claims, for the owner's list: sanitised, in lower case (no I for an l)
}

// String names the sender for the owner of a call.
func (i identity) String() string {
	if !i.aor.IsZero() {
		return i.aor.String()
	}
	return i.from + " (not verified)"
}

// A peer is a trunk: another server that we know by address or certificate.
type peer struct {
	configs.Peer
}

// readPeers checks the trunks' targets.
func readPeers(all []configs.Peer) ([]peer, error) {
	peers := make([]peer, 0, len(all))
	for _, c := range all {
		if c.Target != "" {
			var u sip.Uri
			if err := sip.ParseUri(c.Target, &u); err != nil || !sipURI(u) {
				return nil, fmt.Errorf("peer %s: target %q is not a SIP URI", c.Name, c.Target)
			}
		}
		peers = append(peers, peer{c})
	}
	return peers, nil
}

// peerOf is the trunk at the other end of a flow, or nil. A name counts only
// with a verified certificate, an address only where it is listed.
func (p *Proxy) peerOf(f *flow.Flow) *peer {
	addr := f.Peer().Addr().Unmap()
	for i := range p.peers {
		if p.peers[i].owns(addr) || p.peers[i].shows(f) {
			return &p.peers[i]
		}
	}
	return nil
}

// isPeer says that a trunk is at an address.
func (p *Proxy) isPeer(addr netip.Addr) bool {
	return slices.ContainsFunc(p.peers, func(pr peer) bool { return pr.owns(addr) })
}

// trusts says that the trunk of that name is trusted.
func (p *Proxy) trusts(name string) bool {
	for i := range p.peers {
		if p.peers[i].Name == name {
			return p.peers[i].Trusted
		}
	}
	return false
}

// owns says that the peer's addresses contain addr.
func (pr *peer) owns(addr netip.Addr) bool {
	for _, n := range pr.Addresses {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// shows says that the other end of f has proved the peer's name by certificate.
func (pr *peer) shows(f *flow.Flow) bool {
	state := f.TLS()
	if pr.TLSName == "" || state == nil || len(state.VerifiedChains) == 0 {
		return false
	}
	return state.VerifiedChains[0][0].VerifyHostname(pr.TLSName) == nil
}

// identify establishes who sends a request: a trusted peer says, a user of
// ours proves (407 until it does), anybody else is nobody.
func (p *Proxy) identify(s *txn.Server) (identity, error) {
	from := s.Req.From().Address
	who := identity{from: sanitise(strings.ToLower(from.User + "@" + from.Host))}
	if pr := p.peerOf(s.Flow); pr != nil {
		who.peer = pr
		p.guard.Proved(s.Flow.Peer(), time.Now().Add(provedLife), time.Now()) // one known by certificate
		if pr.Trusted {
			who.kind, who.aor = trustedPeer, asserted(s.Req)
		}
		return who, nil
	}
	domain, ours := p.served(from)
	if !ours {
		return who, nil
	}
	user, err := p.authenticate(s, sip.StatusProxyAuthRequired, domain)
	if err != nil {
		return identity{}, err
	}
	claimed, _ := p.localAOR(from)
	if user != claimed && !p.anonymous(from) {
		return identity{}, refuse(sip.StatusForbidden, whyNotYours)
	}
	who.kind, who.aor = digestUser, user
	return who, nil
}

// anonymous says that a From names nobody on purpose (RFC 3323 §4.1.1.3).
func (p *Proxy) anonymous(from sip.Uri) bool {
	return strings.EqualFold(from.User, "anonymous")
}

// asserted is the identity that a trusted peer vouches for (RFC 3325 §9.1),
// else the one in From.
func asserted(req *sip.Request) aor.AOR {
	for _, v := range wire.All(req, "P-Asserted-Identity") {
		for _, one := range splitList(v) {
			if a, err := aor.Parse(one); err == nil {
				return a
			}
		}
	}
	from := req.From().Address
	a, err := aor.New(from.User, from.Host)
	if err != nil {
		return aor.AOR{}
	}
	return a
}

// authenticate checks the sender's credentials for a realm of ours. Unknown
// users and wrong passwords are challenged alike, after the same work.
func (p *Proxy) authenticate(s *txn.Server, code int, realm string) (aor.AOR, error) {
	name, challenge := "Authorization", "WWW-Authenticate"
	if code == sip.StatusProxyAuthRequired {
		name, challenge = "Proxy-Authorization", "Proxy-Authenticate"
	}
	from := p.source(s.Flow)
	stale := false
	for _, v := range wire.All(s.Req, name) {
		user, result := p.auth.check(v, realm, s.Req, from, p.secretOf)
		switch result {
		case authOK:
			return p.proved(s, user, realm)
		case authWrong:
			p.guard.Failed(s.Flow.Peer().Addr(), time.Now())
		case authStale:
			stale = true
		}
	}
	headers := make([]sip.Header, 0, 2)
	for _, c := range forPhone(s.Req, p.auth.challenges(realm, from, stale)) {
		headers = append(headers, sip.NewHeader(challenge, c))
	}
	return aor.AOR{}, refuse(code, whyNoIdentity, headers...)
}

// proved lets a user in whose password was right, and makes the flow known
// for a while; a registration makes it known for longer.
func (p *Proxy) proved(s *txn.Server, user, realm string) (aor.AOR, error) {
	a, err := aor.New(user, realm)
	if err != nil {
		return a, err
	}
	now := time.Now()
	p.guard.Proved(s.Flow.Peer(), now.Add(provedLife), now)
	if !p.guard.User(a.String(), s.Flow.Peer().Addr(), now) {
		return aor.AOR{}, refuse(sip.StatusServiceUnavailable, whyTooFast)
	}
	return a, nil
}

// provedLife is how long a flow is known at least over which a password was
// right (ours): a call's set-up and its first minutes.
const provedLife = 10 * time.Minute

// source is the address that pays for what comes over a flow: none for a
// peer, behind which there are many.
func (p *Proxy) source(f *flow.Flow) netip.Addr {
	if p.peerOf(f) != nil {
		return netip.Addr{}
	}
	return f.Peer().Addr()
}

// md5Only are the beginnings of the User-Agent of phones that give up when
// they meet a challenge with an algorithm that they do not know, instead of
// passing over it (RFC 8760 §2.4; seen with baresip 1.0.0: "Function not
// implemented", whatever the order; and with SIPp 3.6.1, which takes all
// challenges for one). They are offered MD5 alone. Who could forge the header
// to get there could as well remove the better challenge.
var md5Only = []string{"baresip v0.", "baresip v1.0.", "SIPp"}

// forPhone are the challenges that the sender of a request can read.
func forPhone(req *sip.Request, challenges []string) []string {
	agent := wire.Header(req, "User-Agent")
	for _, a := range md5Only {
		if strings.HasPrefix(agent, a) {
			return challenges[len(challenges)-1:]
		}
	}
	return challenges
}
