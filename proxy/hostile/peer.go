// Package hostile is a SIP peer that breaks the rules on purpose, and knows
// them well enough to get far: it registers, calls, answers, remembers tags,
// routes, contacts and nonces of what it has heard, and sends what fits into
// the state that the server must be in by now, most of it damaged. Fuzz
// targets drive it through a server in memory, a long test through one on real
// sockets; both look after what it must not do to others.
package hostile

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// Config is one peer.
type Config struct {
	Conn   flow.PacketConn // its socket, which Close closes
	Local  netip.AddrPort  // where that is
	Server netip.AddrPort
	Domain string

	User, Password string   // of an account; "": a stranger without one
	Targets        []string // users to bother

	// Choose decides everything: a number from 0 to n-1.
	Choose func(n int) int
}

// A Peer is a running peer. It acts only in Act, which is not safe for
// concurrent use.
type Peer struct {
	cfg  Config
	done chan struct{}

	mu    sync.Mutex
	inbox []sip.Message

	sent      int
	calls     []*call
	challenge *digest.Challenge
	nc        int
	heard     []string // lines of what came, to be put where they do not belong
}

// call is what a peer knows of a call, from either side.
type call struct {
	id, method   string
	local, other string // From and To as we write them
	target       string // Request-URI of what follows
	routes       []string
	cseq         int
	branch       string         // of the last INVITE
	invite       *sip.Request   // one that came
	state        int            // of the three below
	last         *sip.Response  // the last that came
	answered     map[string]int // finals that we sent
}

// States of a call.
const (
	fresh = iota
	early
	confirmed
)

// Limits of what a peer remembers (ours).
const (
	maxCalls = 8
	maxHeard = 200
	maxInbox = 256
	// registering is how many messages a registration takes.
	registering = 2
)

// New starts a peer.
func New(c Config) *Peer {
	p := &Peer{cfg: c, done: make(chan struct{})}
	go p.listen()
	return p
}

// Close closes the peer's socket.
func (p *Peer) Close() {
	_ = p.cfg.Conn.Close() // nothing is to be said to the server
	<-p.done
}

// Sent is how many messages the peer has sent.
func (p *Peer) Sent() int { return p.sent }

// listen keeps what comes for the next Act.
func (p *Peer) listen() {
	defer close(p.done)
	buf := make([]byte, 65536)
	for {
		n, _, err := p.cfg.Conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := wire.Parse(buf[:n])
		if err != nil {
			continue
		}
		p.mu.Lock()
		if len(p.inbox) < maxInbox {
			p.inbox = append(p.inbox, m)
		}
		p.mu.Unlock()
	}
}

// Act takes in what has come, answers or does not, and sends one message.
func (p *Peer) Act() {
	p.mu.Lock()
	inbox := p.inbox
	p.inbox = nil
	p.mu.Unlock()
	for _, m := range inbox {
		p.remember(m)
		switch m := m.(type) {
		case *sip.Response:
			p.learn(m)
		case *sip.Request:
			p.asked(m)
		}
	}
	p.send(p.next())
}

// send sends a message, damaged or not. A user's first ones are not: they
// register it.
func (p *Peer) send(m string) {
	if p.sent++; p.cfg.Password == "" || p.sent > registering {
		m = p.damage(m)
	}
	_, _ = p.cfg.Conn.WriteToUDPAddrPort([]byte(m), p.cfg.Server) // what is too long is not sent
}

// remember keeps lines for where they do not belong.
func (p *Peer) remember(m sip.Message) {
	for _, line := range strings.Split(string(wire.Bytes(m)), "\r\n") {
		if len(line) > 2 && len(p.heard) < maxHeard {
			p.heard = append(p.heard, line)
		}
	}
}

// learn takes what a response tells about a call, and the nonce of a challenge.
func (p *Peer) learn(res *sip.Response) {
	for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate"} {
		for _, v := range wire.All(res, name) {
			if c, err := digest.ParseChallenge(v); err == nil && digest.CanDigest(c) {
				p.challenge, p.nc = c, 0
			}
		}
	}
	c := p.find(res.CallID().Value())
	if c == nil || res.CSeq().MethodName != sip.INVITE {
		return
	}
	c.last = res
	switch {
	case res.StatusCode >= 300:
		p.send(p.ack(c))
		p.forget(c)
		return
	case res.StatusCode <= 100:
		return
	case res.StatusCode < 200:
		c.state = max(c.state, early)
	default:
		c.state = confirmed
	}
	c.other = res.To().Value()
	if ct := res.Contact(); ct != nil {
		c.target = ct.Address.String()
	}
	c.routes = nil
	for _, r := range wire.All(res, "Record-Route") {
		c.routes = append([]string{r}, c.routes...)
	}
	if res.StatusCode >= 200 && p.one(4) {
		p.send(p.ack(c))
	}
}

// one is true once in n times; with 0 the most usual.
func (p *Peer) one(n int) bool { return p.cfg.Choose(n) == 0 }

func (p *Peer) find(id string) *call {
	for _, c := range p.calls {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (p *Peer) forget(c *call) {
	for i, o := range p.calls {
		if o == c {
			p.calls = append(p.calls[:i], p.calls[i+1:]...)
			return
		}
	}
}

// keep notes a call; the oldest is forgotten, whatever its state.
func (p *Peer) keep(c *call) {
	if p.calls = append(p.calls, c); len(p.calls) > maxCalls {
		p.calls = p.calls[1:]
	}
}

// number is a number that no other message of the peer has.
func (p *Peer) number() string { return strconv.Itoa(p.sent) + "-" + p.cfg.User }

// credentials answer the last challenge.
func (p *Peer) credentials(method, uri string) string {
	if p.challenge == nil || p.cfg.Password == "" {
		return ""
	}
	p.nc++
	a, err := digest.Digest(p.challenge, digest.Options{
		Method: method, URI: uri, Username: p.cfg.User, Password: p.cfg.Password, Count: p.nc,
	})
	if err != nil {
		return ""
	}
	name := "Proxy-Authorization"
	if method == "REGISTER" {
		name = "Authorization"
	}
	return name + ": " + a.String() + "\r\n"
}
