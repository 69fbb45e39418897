// Package resolve finds where a SIP URI leads (RFC 3263): NAPTR, then SRV,
// then A and AAAA. Answers are cached, and a lookup never runs on the message
// path: the proxy calls it from a goroutine and goes on when it returns.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Query is what a SIP URI says about where it leads.
type Query struct {
	Host      string // a domain name; addresses need no lookup
	Port      int    // 0: not given
	Transport string // "udp", "tcp", "tls" or "" for whatever the domain prefers
	Secure    bool   // a sips URI: only TLS will do
}

// Destination is one place to try; a list of them is in order of preference.
type Destination struct {
	Transport string
	Addr      netip.AddrPort
}

// ErrNotFound says that the domain names no SIP server.
var ErrNotFound = errors.New("no SIP server found")

// Limits (ours). The system's resolver gives no lifetime with its answers.
const (
	keepFound    = time.Minute
	keepNotFound = 10 * time.Second
	maxCached    = 4096
	maxFound     = 8 // destinations of one domain that are worth trying
)

// Resolver looks up destinations. Safe for concurrent use.
type Resolver struct {
	names   *net.Resolver
	servers []string // "host:port" for NAPTR; empty: NAPTR is not asked

	mu    sync.Mutex
	cache map[Query]entry
}

type entry struct {
	found []Destination
	err   error
	until time.Time
}

// New makes a resolver. Servers are name servers as "host:port"; without any
// the system's are used.
func New(servers ...string) *Resolver {
	r := &Resolver{names: net.DefaultResolver, servers: servers, cache: map[Query]entry{}}
	if len(servers) > 0 {
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, servers[0])
		}
		r.names = &net.Resolver{PreferGo: true, Dial: dial}
		return r
	}
	if conf, err := dns.ClientConfigFromFile("/etc/resolv.conf"); err == nil {
		for _, s := range conf.Servers {
			r.servers = append(r.servers, net.JoinHostPort(s, conf.Port))
		}
	}
	return r
}

// Resolve returns the destinations of q, best first, or ErrNotFound.
func (r *Resolver) Resolve(ctx context.Context, q Query) ([]Destination, error) {
	q.Host = strings.ToLower(strings.TrimSuffix(q.Host, "."))
	if e, ok := r.cached(q); ok {
		return e.found, e.err
	}
	found, err := r.lookUp(ctx, q)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if len(found) > maxFound {
		found = found[:maxFound]
	}
	if ctx.Err() == nil {
		r.keep(q, found, err)
	}
	return found, err
}

// cached returns what is known of q.
func (r *Resolver) cached(q Query) (entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.cache[q]
	return e, ok && time.Now().Before(e.until)
}

// keep remembers an answer, also that there was none. A full cache is emptied:
// it is a short-lived copy, and no attacker is worth a list of ages.
func (r *Resolver) keep(q Query, found []Destination, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= maxCached {
		clear(r.cache)
	}
	life := keepFound
	if err != nil {
		life = keepNotFound
	}
	r.cache[q] = entry{slices.Clone(found), err, time.Now().Add(life)}
}

// lookUp is RFC 3263 §4.1 and §4.2.
func (r *Resolver) lookUp(ctx context.Context, q Query) ([]Destination, error) {
	transport := q.Transport
	if q.Secure {
		transport = "tls"
	}
	if q.Port != 0 {
		return r.hosts(ctx, q.Host, q.Port, cmp.Or(transport, "udp"))
	}
	var found []Destination
	for _, s := range r.services(ctx, q.Host, transport) {
		ds, err := r.srv(ctx, s)
		if err != nil {
			continue
		}
		found = append(found, ds...)
	}
	if len(found) > 0 {
		return found, nil
	}
	transport = cmp.Or(transport, "udp")
	return r.hosts(ctx, q.Host, defaultPort(transport), transport)
}

// service is the name of an SRV record and the transport that it is for.
type service struct{ name, transport string }

// services are the SRV names to ask for, by NAPTR where the domain has any
// (§4.1), else the usual ones.
func (r *Resolver) services(ctx context.Context, host, transport string) []service {
	all := []service{
		{"_sips._tcp." + host, "tls"}, {"_sip._tcp." + host, "tcp"}, {"_sip._udp." + host, "udp"},
	}
	if named := r.naptr(ctx, host); len(named) > 0 {
		all = named
	}
	if transport == "" {
		return all
	}
	return slices.DeleteFunc(all, func(s service) bool { return s.transport != transport })
}

// naptr asks for the domain's own preference (RFC 3263 §4.1).
func (r *Resolver) naptr(ctx context.Context, host string) []service {
	if len(r.servers) == 0 {
		return nil
	}
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(host), dns.TypeNAPTR)
	res, _, err := new(dns.Client).ExchangeContext(ctx, msg, r.servers[0])
	if err != nil {
		return nil
	}
	var records []*dns.NAPTR
	for _, rr := range res.Answer {
		if n, ok := rr.(*dns.NAPTR); ok && strings.EqualFold(n.Flags, "s") {
			records = append(records, n)
		}
	}
	slices.SortStableFunc(records, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
	})
	var all []service
	for _, n := range records {
		if t, ok := naptrTransport[strings.ToUpper(n.Service)]; ok {
			all = append(all, service{strings.TrimSuffix(n.Replacement, "."), t})
		}
	}
	return all
}

// naptrTransport is RFC 3263 §4.1's table, as far as we speak it.
var naptrTransport = map[string]string{"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}

// srv resolves one service; net.Resolver sorts by priority and weight (RFC 2782).
func (r *Resolver) srv(ctx context.Context, s service) ([]Destination, error) {
	_, records, err := r.names.LookupSRV(ctx, "", "", s.name)
	if err != nil {
		return nil, err
	}
	var all []Destination
	for _, rec := range records {
		if rec.Port == 0 {
			continue // nothing can be sent there: a domain says so that there is no such service
		}
		ds, err := r.hosts(ctx, strings.TrimSuffix(rec.Target, "."), int(rec.Port), s.transport)
		if err == nil {
			all = append(all, ds...)
		}
	}
	return all, nil
}

// hosts resolves a host name to its addresses, in random order for each family.
func (r *Resolver) hosts(ctx context.Context, host string, port int, transport string) ([]Destination, error) {
	ips, err := r.names.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("looking up host: %w", nameless(err))
	}
	//nolint:gosec // load is spread; nobody gains by guessing which server comes first
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	all := make([]Destination, 0, len(ips))
	for _, ip := range ips {
		// Ports come from SRV or through the wire gate.
		all = append(all, Destination{transport, netip.AddrPortFrom(ip.Unmap(), uint16(port))})
	}
	return all, nil
}

// nameless is the error of a look-up without the name, which somebody else has
// chosen: errors are logged.
func nameless(err error) error {
	var e *net.DNSError
	switch {
	case !errors.As(err, &e):
	case e.IsNotFound:
		return ErrNotFound
	default:
		return errors.New(e.Err)
	}
	return errors.New("no name server answers")
}

// defaultPort is RFC 3261 §19.1.2.
func defaultPort(transport string) int {
	if transport == "tls" {
		return 5061
	}
	return 5060
}
