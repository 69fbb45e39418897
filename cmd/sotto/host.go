package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sotto/configs"
	"sotto/proxy/flow"
	"sotto/rtpengine"
)

// ownAddresses are those of this machine's interfaces.
func ownAddresses() []netip.Prefix {
	all, _ := net.InterfaceAddrs() // none: every address is missed, and said to be
	var own []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return own
}

// here says that an address is one of this machine; of loopback all of a
// prefix are.
func (d *doctor) here(a netip.Addr) bool {
	return a.IsUnspecified() || slices.ContainsFunc(d.own, func(p netip.Prefix) bool {
		return p.Addr() == a || p.Addr().IsLoopback() && p.Contains(a)
	})
}

// listeners says of each address for SIP, and of that for metrics, if a server
// can have it.
func (d *doctor) listeners() {
	for _, l := range d.cfg.Listen {
		d.listener(l, "listen")
	}
	at := d.cfg.Metrics.AddrPort
	if !at.IsValid() {
		return
	}
	d.listener(configs.Listen{Transport: metricsKey, Addr: at}, metricsKey)
	if !at.Addr().IsLoopback() {
		d.note("metrics: whoever reaches %s can read them; they are for the operator only", at)
		d.hint("let a firewall pass nobody but the monitoring system, or set metrics to 127.0.0.1:%d", at.Port())
	}
}

// listener says of one; key is where the operator has written it.
func (d *doctor) listener(l configs.Listen, key string) {
	at := l.Transport + " " + l.Addr.String()
	err := d.bind(l)
	switch {
	case d.held[at]:
		d.ok("%s is the running server's", at)
	case !d.here(l.Addr.Addr()):
		d.wrong("%s: this machine has no such address", at)
		d.hint("set %s to one that it has, or to 0.0.0.0 for all", key)
	case errors.Is(err, syscall.EADDRINUSE):
		d.wrong("%s: another program has this port", at)
		d.hint("end it, or set another port with %s; ss -lnp shows which it is", key)
	case errors.Is(err, syscall.EACCES):
		d.wrong("%s: ports below %d are for root", at, privileged())
		d.hint("AmbientCapabilities=CAP_NET_BIND_SERVICE in the service, or set another port with %s", key)
	case err != nil:
		d.wrong("%s: %v", at, err)
	default:
		d.ok("%s is free", at)
	}
}

// bind opens a listener for a moment, unless the running server has it.
func (d *doctor) bind(l configs.Listen) error {
	if d.held[l.Transport+" "+l.Addr.String()] {
		return nil
	}
	if l.Transport == "udp" {
		c, err := net.ListenUDP(flow.Family("udp", l.Addr.Addr()), net.UDPAddrFromAddrPort(l.Addr))
		if err != nil {
			return err
		}
		return c.Close()
	}
	c, err := net.Listen(flow.Family("tcp", l.Addr.Addr()), l.Addr.String())
	if err != nil {
		return err
	}
	return c.Close()
}

// privileged is the first port that is for everybody.
func privileged() int {
	if n, ok := sysctl("net/ipv4/ip_unprivileged_port_start"); ok {
		return n
	}
	return 1024
}

// sysctl reads a number.
func sysctl(name string) (int, bool) {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// mediaAddresses says if media can be relayed where it is said to be, and who
// can reach it there.
func (d *doctor) mediaAddresses() {
	all, networks := relayAddresses(d.cfg)
	if len(all) == 0 {
		d.wrong(noMedia)
		d.hint(nameMedia)
		return
	}
	for _, a := range all {
		if d.bindable(a.Local) {
			d.reach(a)
		}
	}
	for _, n := range networks {
		if d.bindable(n.Address.Local) {
			d.ok("media on %s for the phones of %s", known(n.Address), n.Prefix)
		}
	}
	for _, l := range d.cfg.Listen {
		of := func(a rtpengine.Address) bool { return a.Local.Is4() == l.Addr.Addr().Is4() }
		if !l.Addr.Addr().IsUnspecified() && !slices.ContainsFunc(all, of) {
			d.warn("%s %s has phones of a family that media.addresses has not", l.Transport, l.Addr)
			d.hint("calls of theirs that are relayed are refused; add an address of their family to media.addresses")
		}
	}
}

// bindable says that media can be relayed on an address.
func (d *doctor) bindable(a netip.Addr) bool {
	if d.here(a) {
		return true
	}
	d.wrong("media on %s: this machine has no such address", a)
	d.hint("set media.addresses to one that it has; behind a 1:1 NAT to 10.0.0.5=192.0.2.1, its own first")
	return false
}

// known is an address and, if phones know it as another one, that.
func known(a rtpengine.Address) string {
	if a.Local == a.Advertised {
		return a.Local.String()
	}
	return a.Local.String() + ", which phones know as " + a.Advertised.String()
}

// carriers are the addresses that providers give instead of public ones (RFC 6598).
var carriers = netip.MustParsePrefix("100.64.0.0/10")

// reach says who reaches media at an address as phones are told it.
func (d *doctor) reach(a rtpengine.Address) {
	told, name := a.Advertised, known(a)
	sip, err := netip.ParseAddr(strings.Trim(d.cfg.Advertise, "[]"))
	switch {
	case told.IsLoopback():
		d.note("media on %s: only programs of this machine reach it", name)
	case !told.IsPrivate() && !told.IsLinkLocalUnicast() && !carriers.Contains(told):
		d.ok("media on %s", name)
	case err == nil && !sip.IsPrivate() && sip.Is4() == told.Is4():
		d.warn("media on %s: phones are told %s for SIP, and a private address for media", name, sip)
		d.hint("media: {addresses: [%s=%s]}", a.Local, sip)
	default:
		d.note("media on %s: phones outside of this network do not reach it", name)
		d.hint("behind a 1:1 NAT, media: {addresses: [%s=PUBLIC]}, and advertise", a.Local)
	}
}

// ports says if the media ports are the server's alone.
func (d *doctor) ports() {
	p := d.cfg.Media.Ports
	err := portsFit(p)
	var h *hinted
	switch {
	case errors.As(err, &h):
		d.wrong("%v", err)
		d.hint("%s", h.hint)
	default:
		d.ok("media.ports %d-%d are no other program's", p.Min, p.Max)
	}
}

// clock says if somebody keeps the clock right: tokens and certificates expire by it.
func (d *doctor) clock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	says := "it says " + d.now.UTC().Format("2006-01-02 15:04 UTC")
	switch {
	case err != nil:
		d.note("nobody says if the clock is synchronised: %v", err)
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		d.warn("the clock is not synchronised, as far as the system knows; %s", says)
		d.hint("run systemd-timesyncd or chrony: tokens and certificates expire by the clock")
	default:
		d.ok("the clock is synchronised; %s", says)
	}
}
