package rtpengine

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"github.com/pion/sdp/v3"

	"sotto/internal/stun"
)

// Toward a party that offers ICE the engine is an agent of its own, a lite one
// (RFC 8445 §2.5): its one candidate is its own port, its credentials are its
// own, and nothing of them comes from the other party, who may do ICE with the
// engine, too, or none. Checks are answered and never cross. One that
// nominates is the best proof there is of where the party is: it holds the
// password that only the party was sent.

// The forms of credentials (RFC 8839 §5.4).
var (
	iceUfrag = regexp.MustCompile(`^[A-Za-z0-9+/]{4,256}$`)
	icePwd   = regexp.MustCompile(`^[A-Za-z0-9+/]{22,256}$`)
)

// credentials are an agent's for one stream.
type credentials struct{ Ufrag, Pwd string }

// readICE reads what a description says of its author's agent for a stream,
// zero if it has none: of the stream, else of the session. Another lite agent
// sends no checks, so that ICE with it would be for nothing.
func readICE(d *sdp.SessionDescription, m *sdp.MediaDescription) credentials {
	if _, lite := d.Attribute("ice-lite"); lite {
		return credentials{}
	}
	either := func(key string) string {
		if v, ok := m.Attribute(key); ok {
			return v
		}
		v, _ := d.Attribute(key)
		return v
	}
	c := credentials{either("ice-ufrag"), either("ice-pwd")}
	if !iceUfrag.MatchString(c.Ufrag) || !icePwd.MatchString(c.Pwd) {
		return credentials{}
	}
	return c
}

// agent is the engine's agent toward one party for one stream; nil while the
// party has none.
type agent struct {
	own, peer credentials
	rtp, rtcp nominee
}

// nominee is the pair that a party has nominated for a component.
type nominee struct {
	priority uint32
	checked  time.Time // last; zero: none is nominated
}

// offered is the agent after an offer with these credentials. Others than
// before restart ICE, with others of ours (RFC 8445 §9, RFC 8839 §4.4.1.1.1).
func (a *agent) offered(peer credentials) *agent {
	switch {
	case peer == credentials{}:
		return nil
	case a != nil && a.peer == peer:
		return a
	}
	return &agent{own: credentials{rand.Text()[:8], rand.Text()}, peer: peer}
}

// answered is the agent after an answer with these credentials to an offer with
// ours. Without any the party wants no ICE any more; who was offered none has
// no say in it.
func (a *agent) answered(peer credentials) *agent {
	switch {
	case a == nil, peer == credentials{}:
		return nil
	case a.peer == peer:
		return a
	}
	return &agent{own: a.own, peer: peer}
}

// nominees are the pairs of both components, also of no agent.
func (a *agent) nominees() (rtp, rtcp nominee) {
	if a == nil {
		return rtp, rtcp
	}
	return a.rtp, a.rtcp
}

// clone is a copy that what is nominated from now on does not change.
func (a *agent) clone() *agent {
	if a == nil {
		return nil
	}
	c := *a
	return &c
}

// lines are the agent's attributes in a section for the party (RFC 8839 §5).
// There is one kind of candidate, and priority and foundation say nothing else.
func (a *agent) lines(at netip.AddrPort, mux bool) []string {
	if a == nil {
		return nil
	}
	const host = 126<<24 | 65535<<8 // RFC 8445 §5.1.2.1, §5.1.2.2
	all := []string{"ice-ufrag:" + a.own.Ufrag, "ice-pwd:" + a.own.Pwd}
	for component := 1; component == 1 || component == 2 && !mux; component++ {
		all = append(all, fmt.Sprintf("candidate:1 %d UDP %d %s %d typ host",
			component, host+256-component, at.Addr(), int(at.Port())+component-1))
	}
	return all
}

// lite says that the description for the party has an agent of ours in it.
func (d *description) lite(s *session, to Side) bool {
	for i, m := range d.media {
		if m.port != 0 && s.streams[i].faces[to].ice != nil {
			return true
		}
	}
	return false
}

// signalled notes where the party says that it wants its media, and its
// credentials. What it has nominated stays while it does not restart ICE,
// whatever address it then writes for those that do no ICE (RFC 8839 §4.4.1.2.2).
func (f *face) signalled(m *mediaLine, b Body, offer bool) {
	if offer {
		f.ice = f.ice.offered(m.ice)
	} else {
		f.ice = f.ice.answered(m.ice)
	}
	rtp, rtcp := f.ice.nominees()
	source := b.Source.Unmap()
	for _, c := range []struct {
		l  *latch
		n  nominee
		at netip.AddrPort
	}{{&f.latch, rtp, m.rtp}, {&f.latchC, rtcp, m.rtcp}} {
		learnt := c.l.latched
		c.l.set(c.at, source, b.Split, f.said.Sends)
		if c.l.nominated = !c.n.checked.IsZero(); c.l.nominated {
			c.l.latched = learnt
		}
	}
}

// consent is how long a nominated pair may be unchecked before the party may
// nominate a worse one: by then it has lost the better (RFC 7675 §5.1).
const consent = 30 * time.Second

// check answers a connectivity check. If it nominates its pair, media goes
// there, and is taken from nowhere else. The pair of the highest priority
// wins, since an aggressive agent nominates each (RFC 5245 §8.1.1.2).
func (t *stream) check(in, out *face, lt *latch, rtcpPort bool, b []byte, from netip.AddrPort) {
	a, s := in.ice, in.rtp
	n := &a.rtp
	if rtcpPort {
		n, s = &a.rtcp, in.rtcp
	}
	c, ok := stun.ReadCheck(b, a.own.Ufrag, a.own.Pwd, a.peer.Ufrag)
	if !ok || rtcpPort && t.Mux {
		in.refuse(from, refuseCheck, time.Now())
		return
	}
	if res, err := c.Answer(from); err == nil && s != nil {
		s.send(res, from)
	}
	now := time.Now()
	switch {
	case c.Conflict:
	case !n.checked.IsZero() && from == lt.latched:
		n.checked = now // also without nominating: it consents
		n.priority = max(n.priority, c.Priority)
	case c.Nominates && (n.checked.IsZero() || c.Priority >= n.priority || now.Sub(n.checked) > consent):
		*n = nominee{c.Priority, now}
		if lt.latched != from {
			in.withdraw()
			out.withdraw()
			lt.latched, lt.nominated = from, true
		}
	}
}
