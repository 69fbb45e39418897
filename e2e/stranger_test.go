package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"sotto/proxy/flow"
	"sotto/proxy/phone"
)

// strangersRequests are all methods that a stranger may try outside of dialogs, and
// what each meets, whoever it is for (facade.md).
var strangersRequests = []struct {
	method string
	code   int
}{
	{"OPTIONS", 200},
	{"MESSAGE", 202},
	{"SUBSCRIBE", 489},
	{"PUBLISH", 489},
	{"INFO", 481},
	{"NOTIFY", 481},
	{"UPDATE", 481},
	{"PRACK", 481},
	{"BYE", 481},
	{"CANCEL", 481},
	{"REFER", 405},
	{"FOO", 405},
}

// TestNothingOfAStrangerReachesAPhone has a user whom nobody knows, and somebody
// without an account, send every method to real phones: to their users, and to
// their addresses in the ways in which an open relay would carry it there. The
// phones' links carry the notices of silenced calls, and nothing else.
func TestNothingOfAStrangerReachesAPhone(t *testing.T) {
	t.Parallel()
	// No budget keeps mallory from what lies behind it.
	s := newLab(t, false).serve("limits: {exempt: [10.77.143.229/32], requests_per_user: 100000}")
	s.set("bob", "silence_strangers", "on")
	s.sotto("block", "add", "alice@"+domain, "mallory@"+domain)
	began := time.Now()
	bob, carol := s.linphone("bob", "udp"), s.baresip("carol", "udp", callerTone)
	alice := s.linphone("alice", "tcp")
	h := s.lab.host("mallory")
	from, mark := time.Now(), bob.mark()
	for _, transport := range []string{"udp", "tcp"} {
		mallory := h.phone(s, "mallory", domain, transport)
		eve := h.phone(s, "eve", "evil.example", transport)
		for _, to := range []*host{alice.host, bob.host, carol.host} {
			for _, p := range []*phone.Phone{mallory, eve} {
				asksEverything(t, s, p, to)
			}
		}
		callsInVain(t, mallory, bob.host)
		callsInVain(t, eve, bob.host)
		callsInVain(t, mallory, alice.host)
	}
	bob.p.says(mark, `Message received from sip:silenced-calls@`+domain)
	time.Sleep(4 * time.Second) // longer than a notice waits here
	for _, to := range []*host{alice.host, bob.host, carol.host} {
		onlyNotices(t, to, from)
		to.noTrace(h, began, "")
		notices := 0
		for _, p := range since(to.allPackets(), from) {
			if p.dst.Addr() == to.ip && bytes.HasPrefix(p.payload, []byte("MESSAGE ")) {
				notices++
			}
		}
		if told := to == bob.host; told != (notices > 0) {
			t.Errorf("%s is told %d times of silenced calls", to.name, notices)
		}
	}
}

// asksEverything sends every method in every way in which it might reach a phone.
func asksEverything(t *testing.T, s *server, p *phone.Phone, to *host) {
	t.Helper()
	address, user := "sip:"+to.name+"@"+to.at(5060), "sip:"+to.name+"@"+domain
	for _, r := range strangersRequests {
		ask(t, p, r.method, user, r.code)
		ask(t, p, r.method, address, 0)
		ask(t, p, r.method, user, 0, phone.Header("Route", "<"+address+";lr>"))
		ask(t, p, r.method, user, 0, phone.Header("Route", "<sip:"+s.at(5060)+";lr>, <"+address+";lr>"))
		ask(t, p, r.method, "sip:"+s.at(5060), 0, phone.Header("Route", "<"+address+">"))
	}
	ask(t, p, "REGISTER", user, 0)
	ack := fmt.Sprintf("ACK %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKstray%s\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:x@evil.example>;tag=1\r\nTo: <%[1]s>;tag=2\r\nCall-ID: stray-%[2]s\r\n"+
		"CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n", address, to.name)
	if err := p.Send([]byte(ack)); err != nil {
		t.Error(err)
	}
}

// ask sends one request; code 0 is any that is final.
func ask(t *testing.T, p *phone.Phone, method, to string, code int, opts ...phone.Option) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts = append(opts, phone.Header("Event", "presence"))
	res, err := p.Request(ctx, method, to, opts...)
	if res == nil || code != 0 && res.StatusCode != code {
		t.Errorf("%s %s: %v; want %d", method, to, err, code)
	}
}

// callsInVain calls and gives up when it rings.
func callsInVain(t *testing.T, p *phone.Phone, to *host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := p.Invite("sip:" + to.name + "@" + domain)
	if err == nil {
		_, err = c.Progress(ctx, 180)
	}
	if err == nil {
		err = c.Cancel(ctx)
	}
	if err != nil {
		t.Error(err)
	}
}

// phone opens a scripted phone on a host; who is not of the server's domain has no password.
func (h *host) phone(s *server, user, of, transport string) *phone.Phone {
	h.lab.t.Helper()
	c := phone.Config{
		User: user, Domain: of, Network: hostNetwork{h}, Local: netip.AddrPortFrom(h.ip, 0),
		Server: s.port(transport), Transport: transport,
	}
	if of == domain {
		c.Password = password
	}
	p, err := phone.New(c)
	if err != nil {
		h.lab.t.Fatal(err)
	}
	h.lab.t.Cleanup(p.Close)
	return p
}

// hostNetwork opens sockets on a host.
type hostNetwork struct{ h *host }

// ListenPacket implements flow.Network.
func (n hostNetwork) ListenPacket(a netip.AddrPort) (c flow.PacketConn, err error) {
	err = n.h.within(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		return err
	})
	return c, err
}

// Listen implements flow.Network.
func (n hostNetwork) Listen(a netip.AddrPort) (l net.Listener, err error) {
	err = n.h.within(func() (err error) {
		l, err = net.Listen("tcp", a.String())
		return err
	})
	return l, err
}

// Dial implements flow.Network.
func (n hostNetwork) Dial(_ context.Context, a netip.AddrPort) (c net.Conn, err error) {
	err = n.h.within(func() (err error) {
		c, err = net.Dial("tcp", a.String())
		return err
	})
	return c, err
}
