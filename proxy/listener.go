package proxy

import (
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
)

// How the other end of a flow reaches us: what Via, Record-Route and Contact say.

// via is the Via of a request that leaves over f on behalf of in
// (RFC 3261 §16.6 step 8; the branch carries the loop hash of RFC 5393 §4.2.1).
func (p *Proxy) via(f *flow.Flow, in *sip.Request) *sip.ViaHeader {
	host, port := p.sentBy(f)
	v := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(f.Transport()),
		Host: host, Port: port, Params: sip.NewParams(),
	}
	branch := txn.NewBranch()
	if in != nil {
		branch += p.loopHash(in)
	}
	v.Params.Add("branch", branch)
	if f.Transport() == "udp" {
		v.Params.Add("rport", "") // RFC 3581 §3
	}
	return v
}

// sentBy is the host and port under which the other end of f reaches us.
func (p *Proxy) sentBy(f *flow.Flow) (string, int) {
	at := p.listenerFor(f)
	if p.cfg.Advertise != "" {
		return p.cfg.Advertise, int(at.Port())
	}
	ip := at.Addr()
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = flow.LocalToward(f.Peer())
	}
	return ip.Unmap().String(), int(at.Port())
}

// listenerFor is where we listen for the other end of f. A connection that it
// opened is at a listener; one that we dialled has a port of its own, and no
// address before it is up: then it is the listener at the address that the
// system dials from, if there is one.
func (p *Proxy) listenerFor(f *flow.Flow) netip.AddrPort {
	local := f.Local()
	at := netip.AddrPortFrom(local.Addr(), uint16(defaultPort(f.Transport())))
	var source netip.Addr
	if !local.IsValid() && p.severalFor(f) {
		source = flow.LocalToward(f.Peer())
	}
	for _, b := range p.bound {
		switch {
		case !b.serves(f):
		case b.Addr == local, b.Addr.Addr() == source:
			return b.Addr
		case local.Addr().IsValid() && b.Addr.Addr().IsUnspecified() && b.Addr.Port() == local.Port():
			return local
		case local.IsValid():
			at = netip.AddrPortFrom(local.Addr(), b.Addr.Port())
		default:
			at = b.Addr
		}
	}
	return at
}

// severalFor says that more than one listener could take what comes back over f.
func (p *Proxy) severalFor(f *flow.Flow) bool {
	n := 0
	for _, b := range p.bound {
		if b.serves(f) {
			n++
		}
	}
	return n > 1
}

// serves says that a listener takes what the other end of f can send.
func (b Bound) serves(f *flow.Flow) bool {
	return b.Transport == f.Transport() && sameFamily(b.Addr.Addr(), f.Peer().Addr())
}

func sameFamily(a, b netip.Addr) bool {
	return a.Unmap().Is4() == b.Unmap().Is4() || a == netip.IPv6Unspecified()
}

// isLocal says that ip is one of this machine's addresses.
func (p *Proxy) isLocal(ip netip.Addr) bool {
	return ip.IsLoopback() || flow.LocalToward(netip.AddrPortFrom(ip, 9)) == ip
}

// uriToward is a URI of ours as the other end of f can use it.
func (p *Proxy) uriToward(f *flow.Flow, user string) sip.Uri {
	host, port := p.sentBy(f)
	u := sip.Uri{Scheme: "sip", User: user, Host: host, Port: port, UriParams: sip.NewParams()}
	u.UriParams.Add("transport", f.Transport())
	return u
}

// contact is a sealed Contact for the party at the other end of f.
func (p *Proxy) contact(f *flow.Flow, b box) (*sip.ContactHeader, error) {
	user, err := p.seal.seal(b)
	if err != nil {
		return nil, err
	}
	return &sip.ContactHeader{Address: p.uriToward(f, user), Params: sip.NewParams()}, nil
}
