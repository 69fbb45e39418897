package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/proxy/flow"
	"sotto/proxy/phone"
)

// inside is the network of a host, for a phone of our own that is on it.
type inside struct {
	*host
	look look
}

// ListenPacket implements flow.Network.
func (n inside) ListenPacket(a netip.AddrPort) (flow.PacketConn, error) {
	var c *net.UDPConn
	err := n.within(func() (err error) {
		if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a)); err == nil {
			err = n.look.apply(c)
		}
		return err
	})
	return c, err
}

// Listen implements flow.Network.
func (n inside) Listen(a netip.AddrPort) (l net.Listener, err error) {
	err = n.within(func() (err error) {
		l, err = net.Listen("tcp", a.String())
		return err
	})
	return l, err
}

// Dial implements flow.Network.
func (n inside) Dial(ctx context.Context, a netip.AddrPort) (c net.Conn, err error) {
	err = n.within(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", a.String())
		return err
	})
	return c, err
}

// A scripted is a phone of our own on a host: it does what no other phone here
// can, and tells its address wherever it can.
type scripted struct {
	*host
	*phone.Phone
}

// scripted puts a phone on a host, and registers it.
func (s *server) scripted(place, user string) *scripted {
	s.lab.t.Helper()
	return s.scriptedWith(look{}, place, user)
}

// scriptedWith is scripted, with packets that look like that.
func (s *server) scriptedWith(packets look, place, user string) *scripted {
	s.lab.t.Helper()
	h := s.lab.host(place)
	c := phone.Marked(h.ip, "marked-"+user+"-")
	c.User, c.Domain, c.Password = user, domain, password
	c.Network, c.Local, c.Server = inside{h, packets}, netip.AddrPortFrom(h.ip, 5060), s.port("udp")
	p, err := phone.New(c)
	if err != nil {
		s.lab.t.Fatal(err)
	}
	s.lab.t.Cleanup(p.Close)
	x := &scripted{h, p}
	x.does(func(ctx context.Context) error {
		_, err := p.Register(ctx)
		return err
	})
	return x
}

// does a step, which must succeed.
func (x *scripted) does(step func(context.Context) error) {
	x.lab.t.Helper()
	ctx, cancel := context.WithTimeout(x.lab.t.Context(), patience)
	defer cancel()
	if err := step(ctx); err != nil {
		x.lab.t.Fatal(err)
	}
}

// heard is every message that the phone has received.
func (x *scripted) heard() string {
	var all strings.Builder
	for _, k := range x.Received(phone.SIP) {
		all.Write(k.Data)
	}
	return all.String()
}

// watches subscribes a phone to the calls of another one.
func (x *scripted) watches(of *scripted) (w *phone.Watcher) {
	x.lab.t.Helper()
	of.does(func(context.Context) error { return of.Tells("dialog") })
	x.does(func(ctx context.Context) error {
		_, err := x.Subscribe(ctx, of.URI(), "dialog")
		return err
	})
	of.does(func(ctx context.Context) (err error) {
		w, err = of.Watched(ctx)
		return err
	})
	return w
}

// reference is what the watcher is told of a call, as a Replaces header has it.
func (x *scripted) reference(w *phone.Watcher, of *scripted, c *phone.Call, state string) string {
	x.lab.t.Helper()
	id, tags, _ := strings.Cut(c.Replaces(), ";to-tag=")
	other, own, _ := strings.Cut(tags, ";from-tag=")
	of.does(func(ctx context.Context) error {
		_, err := w.Notify(ctx, "application/dialog-info+xml", fmt.Sprintf(
			`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:x@%[1]s">`+
				`<dialog id="%[1]s" call-id="%[2]s" local-tag="%[3]s" remote-tag="%[4]s" direction="recipient">`+
				`<state>%[5]s</state><local><target uri="sip:x@%[1]s"/></local></dialog></dialog-info>`,
			of.ip, id, own, other, state))
		return err
	})
	var told string
	x.does(func(ctx context.Context) error {
		req, err := x.Next(ctx, "NOTIFY")
		if err == nil {
			told = string(req.Body())
		}
		return err
	})
	m := regexp.MustCompile(`call-id="(.+?)" local-tag="(.+?)" remote-tag="(.+?)"`).FindStringSubmatch(told)
	if m == nil {
		x.lab.t.Fatalf("the watcher was told\n%s", told)
	}
	return m[1] + ";to-tag=" + m[3] + ";from-tag=" + m[2]
}

// A pickup is linphonec's call to a phone that carol watches.
type pickup struct {
	s       *server
	alice   *linphone
	bob     *scripted
	tablet  *scripted // carol's, which watches
	carol   *sipp     // which picks up
	in      *phone.Call
	w       *phone.Watcher
	from    time.Time
	dialled int // what alice's phone had said then
}

// newPickup has alice's call ring at bob's.
func newPickup(t *testing.T) *pickup {
	t.Helper()
	s := newLab(t, false).serve(acquainted)
	for _, u := range []string{"alice", "bob", "carol"} {
		s.set(u, "protect_ip", "always")
	}
	p := &pickup{
		s: s, alice: s.linphone("alice", "udp"), bob: s.scripted("bob", "bob"), tablet: s.scripted("tablet", "carol"),
		carol: s.sipp("carol", "udp"), from: time.Now(),
	}
	p.w = p.tablet.watches(p.bob)
	p.dialled = p.alice.call("sip:bob@" + domain)
	p.bob.does(func(ctx context.Context) (err error) {
		if p.in, err = p.bob.Incoming(ctx); err != nil {
			return err
		}
		return p.in.Ring(ctx)
	})
	p.alice.p.says(p.dialled, `to (LinphoneCallOutgoingRinging)`)
	return p
}

// takes has carol take the call; how is what the Replaces header has more.
func (p *pickup) takes(state, how string) (asked int, r *run) {
	ref := p.tablet.reference(p.w, p.bob, p.in, state)
	p.carol.edit = func(as *script) { as.Header = "Replaces: " + ref + how }
	asked = p.alice.mark()
	r = p.carol.play("tone", "bob", "-d", "6000")
	p.alice.rings(asked)
	return asked, r
}

// isTaken waits until alice and carol have talked and bob's phone is out of it,
// and checks that nobody knows where another one is.
func (p *pickup) isTaken(asked int, r *run) {
	t := p.s.lab.t
	t.Helper()
	p.alice.talks(asked)
	p.bob.does(p.in.Ended)
	p.alice.plays(calleeTone)
	r.succeeds()
	p.alice.over(asked)
	eventually(t, "alice has heard carol", func() bool { return p.alice.hears(callerTone) })
	eventually(t, "carol has heard alice", func() bool { return onLine(p.carol.host, p.from, calleeTone) })
	carols := r.heard(0) + p.tablet.heard()
	p.bob.noTrace(p.alice.host, p.from, p.bob.heard())
	p.alice.noTrace(p.bob.host, p.from, p.alice.heard(p.dialled))
	for _, hers := range []*host{p.carol.host, p.tablet.host} {
		p.alice.noTrace(hers, p.from, p.alice.heard(p.dialled))
		p.bob.noTrace(hers, p.from, p.bob.heard())
		hers.noTrace(p.alice.host, p.from, carols)
		hers.noTrace(p.bob.host, p.from, carols)
	}
	p.s.idle()
}

// TestPickup has SIPp pick up a call of linphonec's from where it rings, or from
// where it was answered. The phone there stops, linphonec and SIPp hear each
// other, and nobody learns where anybody is.
func TestPickup(t *testing.T) {
	t.Parallel()
	t.Run("ringing", func(t *testing.T) {
		t.Parallel()
		p := newPickup(t)
		asked, r := p.takes("early", ";early-only")
		p.alice.p.types("answer 2") // the second of her calls
		p.isTaken(asked, r)
		if phone.Status(p.in.Why()) != 487 {
			t.Errorf("bob's call ended with %v", p.in.Why())
		}
	})
	t.Run("answered", func(t *testing.T) {
		t.Parallel()
		p := newPickup(t)
		p.bob.does(func(ctx context.Context) error { return p.in.Answer(ctx) })
		p.alice.talks(p.dialled)
		p.isTaken(p.takes("confirmed", "")) // which linphonec does by itself
		if p.in.Why() != nil {
			t.Errorf("bob's call ended with %v", p.in.Why())
		}
	})
}
