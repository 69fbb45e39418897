// Package leaktest plays calls over a SIP server with two phones that tell
// all they know of themselves, and says what each learnt of the other: in
// which header, which line of a description, which item of RTCP. Any server
// will do; it is looked at from outside, by what its users receive.
package leaktest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"sotto/proxy/leak"
	"sotto/proxy/phone"
)

// An Account is a user of the server.
type Account struct {
	User, Domain, Password string
	Local                  netip.Addr // of the user's phone
}

// Config is what is played, and where.
type Config struct {
	Server     netip.AddrPort
	ServerName string // in the certificate
	Transport  string // udp, tcp or tls
	TLS        *tls.Config
	Accounts   [2]Account
}

// A Play is one scenario, acted by one of the two.
type Play struct {
	Scenario string
	By       int               // whose play it was: an index of Accounts
	Err      error             // it could not be played to its end: refused, or nobody answered
	Found    [2][]leak.Finding // what each phone received of the other
}

// Times of a play (ours): who waits longer than a person would is not answered,
// and reports come often because the calls are short.
const (
	playTime  = 8 * time.Second
	talkTime  = 450 * time.Millisecond
	afterward = 100 * time.Millisecond
	reports   = 200 * time.Millisecond
)

// ErrUnplayable is the error of a server over which the plainest call cannot be made.
var ErrUnplayable = errors.New("a call cannot be made")

// Run plays every scenario, once by each of the two, and tells of each as it
// ends. It fails with ErrUnplayable when not even the first call can be made.
func Run(ctx context.Context, c Config, tell func([2]Play)) ([]Play, error) {
	var all []Play
	for _, sc := range scenarios {
		var both [2]Play
		for by := range both {
			both[by] = c.play(ctx, sc, by)
			switch {
			case ctx.Err() != nil:
				return all, ctx.Err()
			case len(all) == 0 && both[by].Err != nil:
				return nil, fmt.Errorf("%w: %w", ErrUnplayable, both[by].Err)
			}
		}
		tell(both)
		all = append(all, both[:]...)
	}
	return all, nil
}

// play plays one scenario, with phones of its own: nothing of an earlier one
// is left to disturb it.
func (c Config) play(ctx context.Context, sc scenario, by int) Play {
	ctx, cancel := context.WithTimeout(ctx, playTime)
	defer cancel()
	p := Play{Scenario: sc.name, By: by}
	var w [2]*player
	for i := range w {
		var err error
		if w[i], err = c.open(ctx, i); w[i] != nil {
			defer w[i].leave()
		}
		if err != nil {
			p.Err = err
			return p
		}
	}
	for _, x := range w {
		x.Forget()
	}
	p.Err = sc.play(ctx, w[by], w[1-by])
	wait(ctx, afterward)
	for i := range w {
		p.Found[i] = w[i].Findings(w[1-i].markers...)
	}
	return p
}

// A player is a phone in a play, and what gives it away.
type player struct {
	*phone.Phone
	uri, address string
	markers      []string
}

// open opens the phone of an account, and registers it.
func (c Config) open(ctx context.Context, i int) (*player, error) {
	a := c.Accounts[i]
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	mark := fmt.Sprintf("mark%x-", random)
	said := a.Local
	if a.Local == c.Accounts[1-i].Local {
		// Both have one address, so neither can be told by it: what each says of
		// itself is an address in a network of its own (RFC 1918).
		said = netip.AddrFrom4([4]byte{10, 1 + random[0]%250, 1 + random[1]%250, 1 + random[2]%250})
	}
	cfg := phone.Marked(said, mark)
	phone.TellAll(&cfg)
	cfg.User, cfg.Domain, cfg.Password = a.User, a.Domain, a.Password
	cfg.Local, cfg.Server, cfg.ServerName = netip.AddrPortFrom(a.Local, 0), c.Server, c.ServerName
	cfg.Transport, cfg.TLS, cfg.RTCPEvery = c.Transport, c.TLS, reports
	p, err := phone.New(cfg)
	if err != nil {
		return nil, err
	}
	x := &player{p, p.URI(), said.String(), []string{said.String(), mark}}
	_, err = p.Register(ctx)
	return x, err
}

// leave takes the phone away, so that no call of a later play rings at it.
func (x *player) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), playTime/4)
	defer cancel()
	_ = x.Unregister(ctx) // a server that did not register it does not matter
	x.Close()
}

// wait waits as people do.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// What says which of its secrets a marker gives away.
func What(marker string) string {
	if _, err := netip.ParseAddr(marker); err == nil {
		return "address"
	}
	return "device"
}
