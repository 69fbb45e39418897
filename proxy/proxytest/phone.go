package proxytest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/leak"
	"sotto/proxy/phone"
)

// Phone is a phone that does as the script says. What goes wrong ends the test.
type Phone struct {
	*phone.Phone
	User string

	s       *Stage
	markers []string
}

// Phone opens a phone of a user, at an address of its own. Every place where
// a phone can tell something about itself has a marker in it; see Knows.
func (s *Stage) Phone(name string, change ...func(*phone.Config)) *Phone {
	s.t.Helper()
	return s.phoneAt(netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + len(s.phones))}), Server, name, change)
}

// Phone6 is Phone over IPv6. The address ends in an identifier as a real phone's does (RFC 7217),
// and not in zeros, which are found in any packet.
func (s *Stage) Phone6(name string, change ...func(*phone.Config)) *Phone {
	s.t.Helper()
	ip := netip.MustParseAddr("2001:db8:77:5a:91c3:7e4d:a6f2:b00").As16()
	ip[15] = byte(10 + len(s.phones))
	return s.phoneAt(netip.AddrFrom16(ip), Server6, name, change)
}

func (s *Stage) phoneAt(ip netip.Addr, server netip.AddrPort, name string, change []func(*phone.Config)) *Phone {
	s.t.Helper()
	mark := fmt.Sprintf("marked%d-", len(s.phones))
	c := phone.Marked(ip, mark)
	mac := MAC(&c)
	c.User, c.Domain, c.Password = name, Domain, Password
	c.Network, c.Server, c.Local = s.Net.Host(ip), server, netip.AddrPortFrom(ip, 5060)
	for _, f := range change {
		f(&c)
	}
	if c.Transport == "tls" {
		c.TLS, c.ServerName = s.tls.phone, Domain
		c.Server = netip.AddrPortFrom(server.Addr(), server.Port()+1)
	}
	s.Net.name(ip, fmt.Sprintf("%s(%s)", name, ip))
	raw, err := phone.New(c)
	s.must(err)
	p := &Phone{Phone: raw, User: name, s: s, markers: []string{
		ip.String(), mark, mac, strings.Join(pairs(mac), ":"), strings.Join(pairs(mac), "-"),
	}}
	if private := c.Local.Addr(); private != ip {
		p.markers = append(p.markers, private.String())
	}
	s.phones = append(s.phones, p)
	return p
}

// pairs are the octets of a MAC address.
func pairs(mac string) []string {
	var out []string
	for i := 0; i+1 < len(mac); i += 2 {
		out = append(out, mac[i:i+2])
	}
	return out
}

// MAC is the address of the network card that a phone of a stage has.
func MAC(c *phone.Config) string {
	n := 0
	if _, err := fmt.Sscanf(c.TagPrefix, "marked%d-", &n); err != nil {
		panic("a phone of no stage") // of a script
	}
	return fmt.Sprintf("a0c91e6bf6%02x", n)
}

// URI is how others dial the user.
func URI(name string) string {
	if strings.Contains(name, ":") {
		return name
	}
	if strings.Contains(name, "@") {
		return "sip:" + name
	}
	return "sip:" + name + "@" + Domain
}

// context bounds a wait.
func (p *Phone) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.s.t.Context(), patience)
}

// do runs a step of the script; an error ends the test.
func (p *Phone) do(step func(context.Context) error) {
	p.s.t.Helper()
	ctx, cancel := p.context()
	defer cancel()
	if err := step(ctx); err != nil {
		p.s.t.Fatalf("%s: %v", p.User, err)
	}
}

// Does runs a step such as p.UnregisterAll; an error ends the test.
func (p *Phone) Does(step func(context.Context) error) {
	p.s.t.Helper()
	p.do(step)
}

// Registers registers the phone and returns the user's contacts.
func (p *Phone) Registers(opts ...phone.Option) (contacts []string) {
	p.s.t.Helper()
	p.do(func(ctx context.Context) (err error) {
		contacts, err = p.Register(ctx, opts...)
		return err
	})
	return contacts
}

// Unregisters removes the phone's contact.
func (p *Phone) Unregisters() {
	p.s.t.Helper()
	p.do(func(ctx context.Context) error { return p.Unregister(ctx) })
}

// Knows searches all that the phone received for the other phone's markers:
// its address in any form, and what it wrote into any header or body.
func (p *Phone) Knows(other *Phone) []leak.Leak { return p.Leaks(other.markers...) }

// KnowsNothingOf fails the test if the phone received a marker of the other.
func (p *Phone) KnowsNothingOf(other *Phone) {
	p.s.t.Helper()
	for _, l := range p.Knows(other) {
		p.s.t.Errorf("%s received of %s: %v", p.User, other.User, l)
	}
}

// Heard are the first lines of what SIP the phone received, in order.
func (p *Phone) Heard() []string {
	var lines []string
	for _, k := range p.Received(phone.SIP) {
		line, _, _ := strings.Cut(string(k.Data), "\r\n")
		lines = append(lines, line)
	}
	return lines
}

// HearsNothing fails the test if the phone has received any byte since Forget
// or its beginning.
func (p *Phone) HearsNothing() {
	p.s.t.Helper()
	if got := p.Received(); len(got) > 0 {
		p.s.t.Errorf("%s received %d packets, the first:\n%s", p.User, len(got), got[0].Data)
	}
}

// Gets waits for a request outside of calls.
func (p *Phone) Gets(method string) (req *sip.Request) {
	p.s.t.Helper()
	p.do(func(ctx context.Context) (err error) {
		req, err = p.Next(ctx, method)
		return err
	})
	return req
}

// Asks sends a request outside of calls and returns the code of its final.
func (p *Phone) Asks(method, to string, opts ...phone.Option) (code int) {
	p.s.t.Helper()
	p.do(func(ctx context.Context) error {
		res, err := p.Request(ctx, method, URI(to), opts...)
		if res == nil {
			return err
		}
		code = res.StatusCode
		return nil
	})
	return code
}

// times are the moments at which a response with that code came, since from.
func (p *Phone) times(code int, from time.Time) []time.Duration {
	var all []time.Duration
	prefix := fmt.Sprintf("SIP/2.0 %d ", code)
	for _, k := range p.Received(phone.SIP) {
		if strings.HasPrefix(string(k.Data), prefix) && !k.At.Before(from) {
			all = append(all, k.At.Sub(from))
		}
	}
	return all
}

// HeardAt are the moments since from at which a response with that code came.
func (p *Phone) HeardAt(code int, from time.Time) []time.Duration { return p.times(code, from) }

// Heeds says that the phone heard a line that begins so.
func (p *Phone) Heeds(prefix string) bool {
	return slices.ContainsFunc(p.Heard(), func(l string) bool { return strings.HasPrefix(l, prefix) })
}

// Mark is what stands in every text by which the phone names itself.
func (p *Phone) Mark() string { return p.markers[1] }
