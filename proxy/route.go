package proxy

import (
	"errors"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/wire"
)

// A way is what the Request-URI and the Route headers of a request mean
// (RFC 3261 §16.4).
type way struct {
	sealed *box      // the Request-URI is a Contact that we handed out
	box    *box      // the last of our own Route entries that had one
	uri    sip.Uri   // the Request-URI to go on with
	routes []sip.Uri // Route entries after ours
}

// routed says that the request follows a route that we recorded.
func (w way) routed() bool { return w.box != nil }

// route reads the Request-URI and takes our own entries off the Route.
func (p *Proxy) route(req *sip.Request) (way, error) {
	w := way{uri: *req.Recipient.Clone()}
	if p.isUs(w.uri) && sealedUser(w.uri.User) {
		b, err := p.opened(w.uri.User)
		if err != nil || b.kind == boxRoute {
			return way{}, refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
		}
		w.sealed = b
		return w, nil
	}
	routes, err := routeSet(wire.All(req, "Route"))
	if err != nil {
		return way{}, refuse(sip.StatusBadRequest, whyNoDialog)
	}
	for ; len(routes) > 0 && p.isUs(routes[0]); routes = routes[1:] {
		if !sealedUser(routes[0].User) {
			continue
		}
		if w.box, err = p.opened(routes[0].User); err != nil || w.box.kind != boxRoute {
			return way{}, refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
		}
	}
	w.routes = routes
	if w.box == nil && len(routes) > 0 {
		// A Route to somewhere else that we did not record would make us an open relay.
		return way{}, refuse(sip.StatusForbidden, whyNotServed)
	}
	return w, nil
}

// opened is the box in a user part.
func (p *Proxy) opened(user string) (*box, error) {
	b, err := p.seal.open(user, time.Now())
	return &b, err
}

// errTooManyRoutes refuses a route set that nobody has.
var errTooManyRoutes = errors.New("too many routes")

// maxRoutes bounds a route set (ours; real ones have two or three).
const maxRoutes = 16

// routeSet parses Route or Record-Route values, topmost first.
func routeSet(values []string) ([]sip.Uri, error) {
	var set []sip.Uri
	for _, v := range values {
		for _, one := range splitList(v) {
			var u sip.Uri
			if _, err := sip.ParseAddressValue(one, &u, nil); err != nil {
				return nil, err
			}
			set = append(set, u)
		}
	}
	if len(set) > maxRoutes {
		return nil, errTooManyRoutes
	}
	return set, nil
}

// isUs says that a URI's host and port name this server.
func (p *Proxy) isUs(u sip.Uri) bool {
	host := canonical(u.Host)
	if p.domains[host] || host == canonical(p.cfg.Advertise) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, b := range p.bound {
		switch {
		case u.Port != 0 && u.Port != int(b.Addr.Port()):
		case b.Addr.Addr().Unmap() == ip.Unmap():
			return true
		case b.Addr.Addr().IsUnspecified() && p.isLocal(ip.Unmap()):
			return true
		}
	}
	return false
}

// served is the domain that a host stands for: itself, or the first domain
// where a phone dials the server by its address.
func (p *Proxy) served(u sip.Uri) (string, bool) {
	host := canonical(u.Host)
	if p.domains[host] {
		return host, true
	}
	if p.isUs(u) {
		return canonical(p.cfg.Domains[0]), true
	}
	return "", false
}

// localAOR is the local user that a URI names, if its domain is served here.
func (p *Proxy) localAOR(u sip.Uri) (aor.AOR, bool) {
	domain, ok := p.served(u)
	if !ok || u.User == "" {
		return aor.AOR{}, false
	}
	a, err := aor.New(u.User, domain)
	return a, err == nil
}
