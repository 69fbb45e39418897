package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/location"
	"sotto/proxy/flow"
	"sotto/proxy/resolve"
	"sotto/proxy/wire"
)

// A target is one place that a request is sent to (RFC 3261 §16.5).
type target struct {
	uri     sip.Uri   // the Request-URI to write
	routes  []sip.Uri // a route set to go through: Path, or what the dialog has
	flow    flow.Ref  // the connection to use; zero: resolve the URI
	binding uint64    // where to find the flow again when it is gone; 0: nowhere
	nat     bool      // it registered from behind a NAT
	aor     aor.AOR   // the local user whose device this is; zero elsewhere
	peer    string    // the trunk's name, if this is one
	spare   []target  // the same device over its other flows (RFC 5626 §5.3)
}

// key tells targets apart.
func (t target) key() string {
	return t.uri.String() + "|" + strconv.FormatUint(t.binding, 16)
}

// A destination is a flow that exists, or where to open one.
type destination struct {
	flow      *flow.Flow
	transport string
	addr      netip.AddrPort
	name      string  // for the certificate (RFC 5922)
	fixed     bool    // the transport is not ours to change
	of        *target // what it leads to, if that is not what was asked for
}

// maxUDP is the largest request that goes over UDP where the path's MTU is not
// known (RFC 3261 §18.1.1).
const maxUDP = 1300

// tooLargeFor says that a request should go there over TCP instead: UDP would
// cut it in pieces, which NATs and firewalls lose. A phone that registered over
// UDP gets the pieces; there is no other way to it.
func (d destination) tooLargeFor(req *sip.Request) bool {
	return d.flow == nil && d.transport == "udp" && !d.fixed && len(wire.Bytes(req)) > maxUDP
}

// over is the same destination over a transport that is no more to be changed.
func (d destination) over(transport string) destination {
	d.transport, d.fixed = transport, true
	return d
}

// resolveTimeout bounds name lookups (ours: a caller waits for it).
const resolveTimeout = 5 * time.Second

// reach finds where t is and calls then on the worker of callID: at once
// when the flow is known or the host is an address, later otherwise.
func (p *Proxy) reach(t target, callID string, then func([]destination, error)) {
	if fl := p.flowOf(t); fl != nil {
		then(append([]destination{{flow: fl}}, p.spare(t)...), nil)
		return
	}
	next := t.uri
	if len(t.routes) > 0 {
		next = t.routes[0]
	}
	if t.flow != (flow.Ref{}) && t.flow.Transport != "udp" && t.binding != 0 {
		b, _ := p.loc.ByID(t.binding)
		path, ok := p.pathOf(b)
		if !ok {
			// RFC 5626 §5.3: a phone is reached over its flow or not at all.
			p.awaitFlow(t, callID, time.Now().Add(flowPatience), then)
			return
		}
		next, t.peer = path, path.Host // which is a peer's: it may be wherever that name leads
	}
	if err := p.mayReach(next, t); err != nil {
		then(nil, err)
		return
	}
	transport := transportOf(next)
	allowed := func(ds []destination, err error) { p.allowed(t, callID, ds, err, then) }
	if ip, err := netip.ParseAddr(canonical(next.Host)); err == nil {
		allowed([]destination{literal(ip, next.Port, transport)}, nil)
		return
	}
	go p.lookUp(next, transport, callID, allowed)
}

// allowed goes on with those of the places where t is said to be that a request may be
// sent to. Where there is none, it is as if nobody had answered there: who tries addresses
// does not find our users' phones.
func (p *Proxy) allowed(t target, callID string, ds []destination, err error, then func([]destination, error)) {
	ds = slices.DeleteFunc(ds, func(d destination) bool { return !p.mayGo(t, d.addr) })
	if err == nil && len(ds) == 0 {
		p.txn.After(callID, silenceTime, func() { then(nil, errNoWay) })
		return
	}
	then(ds, err)
}

// silenceTime is how long an INVITE waits for an address from which nothing comes
// (RFC 3261 §17.1.1.2, timer B: 64*T1).
const silenceTime = 64 * txnT1

// mayGo says that a request for t may be sent to an address that somebody has
// named, in a Contact, a Route or a Request-URI. Our users' phones are reached over
// their flows alone, behind the screening; a party of a call is where it was heard from,
// unless a peer's word, or the operator's leave, sends us elsewhere (direct).
func (p *Proxy) mayGo(t target, at netip.AddrPort) bool {
	from := t.flow.Peer.Addr().Unmap()
	switch {
	case t.peer != "", at.Addr() == from, p.isPeer(at.Addr()):
		return true
	case from.IsValid() && p.cfg.Foreign != "allow":
		return false
	}
	return !p.loc.DeviceAt(at)
}

// pathOf is the neighbour through which a phone has registered (RFC 3327), if that
// is a peer: what anybody else writes into Path might lead anywhere.
func (p *Proxy) pathOf(b location.Binding) (path sip.Uri, ok bool) {
	if len(b.Path) == 0 {
		return path, false
	}
	if _, err := sip.ParseAddressValue(b.Path[0], &path, nil); err != nil {
		return path, false
	}
	host := canonical(path.Host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return path, p.isPeer(addr.Unmap())
	}
	return path, slices.ContainsFunc(p.peers, func(pr peer) bool {
		var at sip.Uri
		return sip.ParseUri(pr.Target, &at) == nil && canonical(at.Host) == host
	})
}

// byPath says that a phone is reached although the connection has ended over which
// it was registered: its neighbour closes that when it likes.
func (p *Proxy) byPath(b location.Binding) bool {
	_, ok := p.pathOf(b)
	return ok
}

// spare are the other flows of t's device, for when the first fails.
func (p *Proxy) spare(t target) []destination {
	var all []destination
	for _, s := range t.spare {
		if fl := p.mux.Find(s.flow); fl != nil {
			all = append(all, destination{flow: fl, of: &s})
		}
	}
	return all
}

// How long a phone that has lost its connection may take to come back before
// a request for it fails (ours): after a restart of the server all phones come
// back within seconds of each other, and the first to do so asks for the others.
const (
	flowPatience = 5 * time.Second
	flowRetry    = 200 * time.Millisecond
)

// awaitFlow goes on when the phone is back, or with errFlowGone.
func (p *Proxy) awaitFlow(t target, callID string, until time.Time, then func([]destination, error)) {
	p.txn.After(callID, flowRetry, func() {
		fl := p.flowOf(t)
		switch {
		case fl != nil:
			then([]destination{{flow: fl}}, nil)
		case time.Now().After(until):
			then(nil, errFlowGone)
		default:
			p.awaitFlow(t, callID, until, then)
		}
	})
}

// literal is the destination of a URI whose host is an address (RFC 3263 §4.2).
func literal(ip netip.Addr, port int, transport string) destination {
	fixed := transport != ""
	if !fixed {
		transport = "udp"
	}
	if port == 0 {
		port = defaultPort(transport)
	}
	return destination{
		transport: transport, fixed: fixed, name: ip.String(),
		addr: netip.AddrPortFrom(ip.Unmap(), uint16(port)),
	}
}

// lookUp resolves a name and goes on with the call on its worker.
func (p *Proxy) lookUp(u sip.Uri, transport, callID string, then func([]destination, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	found, err := p.resolver.Resolve(ctx, resolve.Query{
		Host: u.Host, Port: u.Port, Transport: transport, Secure: u.Scheme == "sips",
	})
	ds := make([]destination, 0, len(found))
	for _, d := range found {
		ds = append(ds, destination{transport: d.Transport, fixed: transport != "", addr: d.Addr, name: u.Host})
	}
	if doErr := p.txn.Do(callID, func() { then(ds, err) }); doErr != nil {
		p.log.Warn("call lost after name lookup", "err", doErr)
	}
}

// flowOf is the live flow of a device: the one that its binding has now, else
// the one named. A phone that has moved registers anew, over another connection
// or from another port; the old one may look alive for long.
func (p *Proxy) flowOf(t target) *flow.Flow {
	if t.flow == (flow.Ref{}) {
		return nil
	}
	if b, ok := p.loc.ByID(t.binding); ok && t.binding != 0 {
		if fl := p.mux.Find(flow.Ref(b.Flow)); fl != nil {
			return fl
		}
	}
	if fl := p.mux.Find(t.flow); fl != nil {
		return fl
	}
	return p.cameBack(t)
}

// cameBack is the flow of a device that has lost its connection and registered
// again. Without an instance ID (RFC 5626 §4.1; some turn it off, since it
// names the device) that is another binding, because the port in its contact
// is another one. It is taken for the same device if its user has no other at
// the same address.
func (p *Proxy) cameBack(t target) (found *flow.Flow) {
	if t.aor.IsZero() {
		return nil
	}
	for _, b := range p.loc.Bindings(t.aor, time.Now()) {
		if b.Flow.Transport != t.flow.Transport || b.Flow.Peer.Addr() != t.flow.Peer.Addr() {
			continue
		}
		if fl := p.mux.Find(flow.Ref(b.Flow)); fl != nil {
			if found != nil {
				return nil // two: nobody can tell which
			}
			found = fl
		}
	}
	return found
}

// connect returns a flow to d.
func (p *Proxy) connect(d destination) (*flow.Flow, error) {
	if d.flow != nil {
		return d.flow, nil
	}
	return p.mux.To(d.transport, d.addr, d.name)
}

// mayReach refuses to send out of the domain what nobody allowed: a target
// that is no device of ours, no dialog's and no trunk's must be reachable by
// the operator's word. Whoever made t has checked that; here remains that we
// do not send to ourselves for ever.
func (p *Proxy) mayReach(next sip.Uri, t target) error {
	if len(t.routes) == 0 && t.binding == 0 && p.isUs(next) && t.uri.User == "" {
		return errNoWay
	}
	return nil
}

// errFlowGone says that a phone's connection is gone and it has not come back.
var (
	errFlowGone = errors.New("the phone's connection is gone")
	errNoWay    = errors.New("no way to the target")
)

// unreachable is the final of a target that nothing was sent to. A phone whose
// connection is gone is away for now: 408 would end the dialog (RFC 5057 §5.3.1).
func unreachable(err error) int {
	if errors.Is(err, errFlowGone) {
		return sip.StatusTemporarilyUnavailable
	}
	return sip.StatusRequestTimeout
}

// transportOf is the transport that a URI asks for; "" leaves it to DNS. With
// "sips", transport=tcp means TLS over TCP (RFC 3261 §26.2.2, RFC 5630 §3.1.4).
func transportOf(u sip.Uri) string {
	if u.Scheme == "sips" {
		return "tls"
	}
	if t, ok := u.UriParams.Get("transport"); ok {
		return strings.ToLower(t)
	}
	return ""
}

// defaultPort is the port of RFC 3261 §19.1.2.
func defaultPort(transport string) int {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// targetOf is the target that a binding stands for.
func targetOf(b location.Binding) (target, error) {
	t := target{flow: flow.Ref(b.Flow), binding: b.ID, nat: b.NAT, aor: b.AOR}
	if err := sip.ParseUri(b.Contact, &t.uri); err != nil {
		return target{}, err
	}
	for _, path := range b.Path {
		var u sip.Uri
		if _, err := sip.ParseAddressValue(path, &u, nil); err != nil {
			return target{}, err
		}
		t.routes = append(t.routes, u)
	}
	return t, nil
}

// devices are the targets of a local user. A device with several flows is one
// target (RFC 5626 §5.3), over the flow that it has registered last: with two it
// would ring twice, or refuse the second request as the first one's double.
func (p *Proxy) devices(a aor.AOR) []target {
	var all []target
	instances := map[string]int{}
	for _, b := range p.loc.Bindings(a, time.Now()) {
		t, err := targetOf(b)
		if err != nil {
			p.log.Warn("binding skipped", "aor", a, "err", err)
			continue
		}
		i, again := instances[b.Instance]
		switch {
		case b.Instance == "" || !again:
			instances[b.Instance] = len(all)
			all = append(all, t)
		case p.mux.Find(t.flow) != nil:
			t.spare, all[i].spare = append([]target{all[i]}, all[i].spare...), nil
			all[i] = t
		default:
			all[i].spare = append(all[i].spare, t)
		}
	}
	return all
}

// trunk is the target of a peer for a dialled URI.
func trunk(pr configs.Peer, dialled sip.Uri) (target, error) {
	t := target{peer: pr.Name, uri: *dialled.Clone()}
	var at sip.Uri
	if err := sip.ParseUri(pr.Target, &at); err != nil {
		return target{}, err
	}
	t.uri.Scheme, t.uri.Host, t.uri.Port = at.Scheme, at.Host, at.Port
	t.uri.UriParams, t.uri.Headers = at.UriParams, nil
	return t, nil
}
