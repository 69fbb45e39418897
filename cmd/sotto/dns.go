package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"sotto/configs"
	"sotto/proxy/resolve"
)

// names says if phones that know only a domain find this server (RFC 3263). No
// answer of DNS is an error: phones can be told the server as well, and names
// may lead elsewhere from elsewhere.
func (d *doctor) names(ctx context.Context) {
	ours := d.reachedAt(ctx)
	for _, domain := range d.cfg.Domains {
		if reserved(domain) {
			d.note("DNS: %s is in no DNS, being reserved (RFC 6761); phones must be told the server", domain)
			continue
		}
		d.name(ctx, domain, ours)
	}
}

// reserved says that a domain is an address, or for use within a machine, a
// house or a document.
func reserved(domain string) bool {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return true
	}
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	return slices.Contains([]string{"localhost", "test", "example", "invalid", "local"}, last)
}

// reachedAt are the addresses by which phones reach this server, as far as the
// configuration and the machine say.
func (d *doctor) reachedAt(ctx context.Context) (all []netip.Addr) {
	for _, p := range d.own {
		all = append(all, p.Addr())
	}
	everybody, _ := relayAddresses(d.cfg)
	for _, a := range everybody {
		all = append(all, a.Advertised)
	}
	if ip, err := netip.ParseAddr(strings.Trim(d.cfg.Advertise, "[]")); err == nil {
		return append(all, ip.Unmap())
	}
	if d.cfg.Advertise != "" && !reserved(d.cfg.Advertise) {
		found, _ := d.resolver.Resolve(ctx, resolve.Query{Host: d.cfg.Advertise, Port: 5060}) // not found: it adds nothing
		for _, f := range found {
			all = append(all, f.Addr.Addr())
		}
	}
	return all
}

// name looks one domain up.
func (d *doctor) name(ctx context.Context, domain string, ours []netip.Addr) {
	found, err := d.resolver.Resolve(ctx, resolve.Query{Host: domain})
	var here, elsewhere []string
	for _, f := range found {
		listens := func(l configs.Listen) bool { return l.Transport == f.Transport && l.Addr.Port() == f.Addr.Port() }
		if slices.Contains(ours, f.Addr.Addr()) && slices.ContainsFunc(d.cfg.Listen, listens) {
			here = append(here, f.Transport+" "+f.Addr.String())
		} else {
			elsewhere = append(elsewhere, f.Transport+" "+f.Addr.String())
		}
	}
	switch {
	case len(here) > 0 && len(elsewhere) > 0:
		d.note("DNS: %s leads here, to %s, and elsewhere, to %s", domain, inOrder(here), inOrder(elsewhere))
		return
	case len(here) > 0:
		d.ok("DNS: %s leads here, to %s", domain, inOrder(here))
		return
	case len(elsewhere) > 0:
		d.warn("DNS: %s leads to %s, which is not where this server listens", domain, inOrder(elsewhere))
	case errors.Is(err, resolve.ErrNotFound):
		d.note("DNS: %s leads nowhere; phones must be told the server", domain)
	default:
		d.note("DNS: nobody answers where %s leads", domain)
		return
	}
	d.hint("_sips._tcp.%s. SRV 0 0 5061 HOST., and _sip._tcp and _sip._udp with 5060; HOST is this server", domain)
}

// inOrder joins texts in an order of their own, since an answer has none.
func inOrder(all []string) string {
	slices.Sort(all)
	return strings.Join(all, ", ")
}
