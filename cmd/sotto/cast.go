package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sotto/internal/aor"
	"sotto/proxy/phone"
)

// A player is a user of the demo with a phone, on a loopback address of its
// own so that addresses tell who is who.
type player struct {
	name  string
	who   aor.AOR
	addr  netip.Addr
	about string // what a newcomer should know
	phone *phone.Phone
}

// What a player's phone tells about itself, as real ones do: a host name in
// Call-ID, tags and SDP, its product, and in a header of its own its Wi-Fi.
func (p *player) host() string    { return p.name + "-laptop" }
func (p *player) wifi() string    { return p.name + "-wifi" }
func (p *player) product() string { return strings.ToUpper(p.name[:1]) + p.name[1:] + "phone/4.2" }

// wifiHeader is a header that no standard knows.
const wifiHeader = "X-Wifi"

// marks are the texts that give a player away. The address of record is none:
// it is how the players call each other.
func (p *player) marks() []string {
	return []string{p.addr.String(), p.host(), p.wifi(), p.product()}
}

// uri is the player's address as one dials it.
func (p *player) uri() string { return "sip:" + p.who.String() }

// reports is how often the demo's phones send RTCP: often, since its calls are short.
const reports = 300 * time.Millisecond

// register opens the player's phone and registers it.
func (p *player) register(ctx context.Context, server netip.AddrPort) error {
	var err error
	p.phone, err = phone.New(phone.Config{
		User: p.who.User(), Domain: p.who.Host(), Password: tryPassword,
		Local: netip.AddrPortFrom(p.addr, 0), Server: server,
		CallIDHost: p.host(), TagPrefix: p.host() + "-",
		Headers: []phone.Field{
			{Name: "User-Agent", Value: p.product()},
			{Name: wifiHeader, Value: p.wifi()},
		},
		SDP:       phone.SDP{Owner: p.name, Session: []string{"i=" + p.host(), "a=tool:" + p.product()}},
		RTCPEvery: reports,
	})
	if err != nil {
		return hint(err, "the demo's phones need the loopback addresses 127.0.0.2 to 127.0.0.5")
	}
	if _, err := p.phone.Register(ctx); err != nil {
		return fmt.Errorf("registering the phone of %s: %w", p.name, err)
	}
	return nil
}

// A cast is everybody in the demo.
type cast struct{ alice, bob, carol, mallory *player }

// assemble opens a phone for everybody; close must be called even after an error.
func (d *demo) assemble(ctx context.Context, server netip.AddrPort) (cast, error) {
	c := cast{
		alice:   &player{name: "alice", who: d.alice, about: "her address is always protected"},
		bob:     &player{name: "bob", who: d.bob, about: "silences unknown callers"},
		carol:   &player{name: "carol", who: d.carol, about: "has a privacy token of bob's"},
		mallory: &player{name: "mallory", who: d.mallory, about: "is a stranger"},
	}
	var failed []error
	addr := netip.MustParseAddr("127.0.0.1")
	for _, p := range c.all() {
		addr = addr.Next()
		p.addr = addr
		failed = append(failed, p.register(ctx, server))
	}
	return c, errors.Join(failed...)
}

func (c cast) all() []*player { return []*player{c.alice, c.bob, c.carol, c.mallory} }

// close closes the phones.
func (c cast) close() {
	for _, p := range c.all() {
		if p.phone != nil {
			p.phone.Close()
		}
	}
}
