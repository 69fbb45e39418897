package rtpengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
	"github.com/pion/stun/v3"
)

// elsewhere is where a party writes that its media is and is not: only a
// nominated pair can lead there.
var elsewhere = map[Family]netip.Addr{V4: netip.MustParseAddr("192.0.2.77"), V6: netip.MustParseAddr("2001:db8::77")}

// An icePhone is a party with a full agent for each component.
type icePhone struct {
	t       *testing.T
	family  Family
	own     credentials
	agents  []*ice.Agent
	section string // its lines in an m= section
}

func newICEPhone(t *testing.T, ip string, components int) *icePhone {
	t.Helper()
	p := &icePhone{t: t, family: familyOf(netip.MustParseAddr(ip))}
	p.knows(credentials{"alicealice", "alicepasswordalicepassword"})
	kind := map[Family]ice.NetworkType{V4: ice.NetworkTypeUDP4, V6: ice.NetworkTypeUDP6}[p.family]
	for component := 1; component <= components; component++ {
		a, err := ice.NewAgentWithOptions(
			ice.WithNetworkTypes([]ice.NetworkType{kind}), ice.WithIncludeLoopback(),
			ice.WithLocalCredentials(p.own.Ufrag, p.own.Pwd),
			ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
			ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
			ice.WithMaxBindingRequests(1000), // it does not give up before we do
			ice.WithIPFilter(func(a net.IP) bool { return a.Equal(net.ParseIP(ip)) }),
		)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		p.agents = append(p.agents, a)
		p.gather(a, component)
	}
	return p
}

// knows gives the phone credentials, and takes its candidates.
func (p *icePhone) knows(c credentials) {
	p.own = c
	p.section = "a=ice-ufrag:" + c.Ufrag + "\r\na=ice-pwd:" + c.Pwd + "\r\n"
}

// gather waits for the agent's candidates.
func (p *icePhone) gather(a *ice.Agent, component int) {
	p.t.Helper()
	done := make(chan struct{})
	err := a.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(done)
			return
		}
		f := strings.Fields(c.Marshal())
		f[1] = fmt.Sprint(component)
		p.section += "a=candidate:" + strings.Join(f, " ") + "\r\n"
	})
	if err == nil {
		err = a.GatherCandidates()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		p.t.Fatal("no candidates")
	}
}

// offer is its description.
func (p *icePhone) offer(mux, bundle bool) []byte {
	s := fmt.Sprintf("v=0\r\no=- 1 1 %[1]s\r\ns=-\r\nc=%[1]s\r\nt=0 0\r\n", connection(elsewhere[p.family]))
	if bundle {
		s += "a=group:BUNDLE 0 1\r\n"
	}
	s += "m=audio 4000 RTP/AVP 0\r\n" + p.section
	if mux {
		s += "a=rtcp-mux\r\n"
	}
	if bundle {
		s += "a=mid:0\r\nm=video 4000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=mid:1\r\na=rtcp-mux\r\n" + p.section
	}
	return []byte(s)
}

// connect has the agents check the candidates of an answer.
func (p *icePhone) connect(answer []byte) []*ice.Conn {
	p.t.Helper()
	var d sdp.SessionDescription
	if err := d.Unmarshal(answer); err != nil {
		p.t.Fatal(err)
	}
	m := d.MediaDescriptions[0]
	ufrag, _ := m.Attribute("ice-ufrag")
	pwd, _ := m.Attribute("ice-pwd")
	var conns []*ice.Conn
	for _, a := range m.Attributes {
		if a.Key != "candidate" {
			continue
		}
		c, err := ice.UnmarshalCandidate(a.Value)
		if err != nil {
			p.t.Fatalf("%q: %v", a.Value, err)
		}
		agent := p.agents[int(c.Component())-1]
		if err := agent.AddRemoteCandidate(c); err != nil {
			p.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := agent.Dial(ctx, ufrag, pwd)
		if err != nil {
			p.t.Fatalf("component %d does not connect: %v\n%s", c.Component(), err, answer)
		}
		conns = append(conns, conn)
	}
	return conns
}

// attribute is the first of that name in a description's first section.
func attribute(t *testing.T, body []byte, name string) string {
	t.Helper()
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		t.Fatal(err)
	}
	v, _ := d.MediaDescriptions[0].Attribute(name)
	return v
}

// plain is the description of a party without ICE.
func plain(u udp, streams int, mux bool) []byte {
	at := u.LocalAddr().(*net.UDPAddr).AddrPort()
	s := fmt.Sprintf("v=0\r\no=- 1 1 %[1]s\r\ns=-\r\nc=%[1]s\r\nt=0 0\r\n", connection(at.Addr()))
	for _, line := range []string{"audio %d RTP/AVP 0\r\n", "video %d RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"}[:streams] {
		s += "m=" + fmt.Sprintf(line, at.Port())
		if mux {
			s += "a=rtcp-mux\r\n"
		} else {
			s += fmt.Sprintf("a=rtcp:%d\r\n", at.Port())
		}
	}
	return []byte(s)
}

// iceCall is a call of a party with ICE to one without.
func iceCall(t *testing.T, ip string, mux, bundle bool) (*Engine, *icePhone, udp, []byte) {
	t.Helper()
	e, _, _, _ := relayTo(t, ip, Config{})
	e.Delete(1)
	components := 2
	if mux {
		components = 1
	}
	alice, bob := newICEPhone(t, ip, components), listen(t, ip)
	streams := 1
	if bundle {
		streams = 2
	}
	offer, err := e.Offer(1, Body{SDP: alice.offer(mux, bundle), Source: elsewhere[alice.family]})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(offer); strings.Contains(s, "ice") || strings.Contains(s, "candidate") {
		t.Errorf("who offers no ICE gets\n%s", s)
	}
	answer, err := e.Answer(1, Body{From: Callee, SDP: plain(bob, streams, mux), Source: netip.MustParseAddr(ip)})
	if err != nil {
		t.Fatal(err)
	}
	return e, alice, bob, answer
}

// A full agent of another make connects to the engine, and only its checks
// lead the media to where it is.
func TestICE(t *testing.T) {
	for _, c := range []struct {
		name, ip    string
		mux, bundle bool
	}{
		{"two components", "127.0.0.1", false, false},
		{"rtcp-mux", "127.0.0.1", true, false},
		{"rtcp-mux and BUNDLE", "127.0.0.1", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, alice, bob, answer := iceCall(t, c.ip, c.mux, c.bundle)
			ourAgent(t, answer, alice, c.mux)
			r, _ := e.Query(1)
			before := r.Streams[0].Callee.Relay
			bob.send(rtpPacket(1, "too early"), before)
			conns := alice.connect(answer)
			crossesICE(t, conns[0], bob, before)
			if !c.mux {
				rtcpCrosses(t, conns[1], bob, netip.AddrPortFrom(before.Addr(), before.Port()+1))
			}
		})
	}
}

// ourAgent checks the agent in an answer.
func ourAgent(t *testing.T, answer []byte, p *icePhone, mux bool) {
	t.Helper()
	s := string(answer)
	sections := strings.Count(s, "m=")
	candidates := 2
	if mux {
		candidates = 1
	}
	for part, want := range map[string]int{
		"a=ice-lite\r\n": 1, "a=ice-ufrag:": sections, "a=ice-pwd:": sections, "a=candidate:1 ": candidates * sections,
		"raddr": 0, p.own.Ufrag: 0, p.own.Pwd: 0, elsewhere[p.family].String(): 0,
	} {
		if n := strings.Count(s, part); n != want {
			t.Errorf("%q is there %d times, not %d:\n%s", part, n, want, s)
		}
	}
}

// crossesICE sends RTP both ways.
func crossesICE(t *testing.T, alice net.Conn, bob udp, relay netip.AddrPort) {
	t.Helper()
	if _, err := alice.Write(rtpPacket(1, "from alice")); err != nil {
		t.Fatal(err)
	}
	bob.gets(rtpPacket(1, "from alice"), relay)
	bob.send(rtpPacket(2, "from bob"), relay)
	reads(t, alice, rtpPacket(2, "from bob"))
}

func reads(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(b); err != nil || !bytes.Equal(b[:n], want) {
		t.Fatalf("got %x (%v), want %x", b[:n], err, want)
	}
}

// rtcpCrosses sends a receiver report, which has nothing that is changed.
func rtcpCrosses(t *testing.T, alice net.Conn, bob udp, relay netip.AddrPort) {
	t.Helper()
	report := []byte{0x80, 201, 0, 1, 1, 2, 3, 4}
	bob.send(report, relay)
	b := make([]byte, 2000)
	_ = alice.SetReadDeadline(time.Now().Add(patience))
	if n, err := alice.Read(b); err != nil || n < len(report) || b[1] != 201 {
		t.Fatalf("got %x (%v)", b[:n], err)
	}
}

// check sends a connectivity check and returns its answer.
func (u udp) check(to netip.AddrPort, with ...stun.Setter) *stun.Message {
	u.t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, with...)...)
	if err != nil {
		u.t.Fatal(err)
	}
	u.send(m.Raw, to)
	b := make([]byte, 2000)
	_ = u.SetReadDeadline(time.Now().Add(patience))
	n, _, err := u.ReadFromUDPAddrPort(b)
	res := &stun.Message{Raw: b[:n]}
	if err != nil || res.Decode() != nil || res.TransactionID != m.TransactionID {
		u.t.Fatalf("no answer to a check: %x, %v", b[:n], err)
	}
	return res
}

// Checks as an agent sends them one by one: what is answered, and which pair
// wins. Over IPv6, too, whose loopback the other agent does not use.
func TestChecks(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			e, alice, bob, answer := iceCall(t, ip, true, false)
			r, _ := e.Query(1)
			to, relay := r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay
			pwd := stun.NewShortTermIntegrity(attribute(t, answer, "ice-pwd"))
			name := stun.NewUsername(attribute(t, answer, "ice-ufrag") + ":" + alice.own.Ufrag)
			use := stun.RawAttribute{Type: stun.AttrUseCandidate}
			controlled := stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}
			priority := func(n byte) stun.Setter {
				return stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{n, 0, 0, 0}}
			}
			low, high := listen(t, ip), listen(t, ip)
			gets := func(u udp, n byte) {
				t.Helper()
				bob.send(rtpPacket(n, "from bob"), relay)
				u.gets(rtpPacket(n, "from bob"), to)
			}
			success(t, low, low.check(to, name, priority(2), use, pwd, stun.Fingerprint), pwd)
			gets(low, 1)
			success(t, high, high.check(to, name, priority(3), pwd), pwd)
			gets(low, 2) // not nominated
			success(t, high, high.check(to, name, priority(3), use, pwd, stun.Fingerprint), pwd)
			gets(high, 3)
			success(t, low, low.check(to, name, priority(2), use, pwd), pwd)
			gets(high, 4) // the higher priority stays
			res := low.check(to, name, priority(9), use, controlled, pwd)
			var code stun.ErrorCodeAttribute
			if err := code.GetFrom(res); err != nil || code.Code != stun.CodeRoleConflict {
				t.Errorf("a controlled agent is answered %v", res)
			}
			gets(high, 5)
		})
	}
}

// success checks the answer to a check.
func success(t *testing.T, u udp, res *stun.Message, pwd stun.MessageIntegrity) {
	t.Helper()
	var seen stun.XORMappedAddress
	if err := errors.Join(seen.GetFrom(res), pwd.Check(res), stun.Fingerprint.Check(res)); err != nil {
		t.Fatalf("%v: %v", res, err)
	}
	if res.Type != stun.BindingSuccess || seen.Port != u.LocalAddr().(*net.UDPAddr).Port || len(res.Attributes) != 3 {
		t.Errorf("%v", res)
	}
}

// Only who has the password is answered and followed.
func TestChecksOfOthers(t *testing.T) {
	e, alice, bob, answer := iceCall(t, "127.0.0.1", true, false)
	conn := alice.connect(answer)[0]
	r, _ := e.Query(1)
	to, relay := r.Streams[0].Caller.Relay, r.Streams[0].Callee.Relay
	ufrag := attribute(t, answer, "ice-ufrag")
	thief := listen(t, thiefOf("127.0.0.1"))
	for name, with := range map[string][]stun.Setter{
		"no password":    {stun.NewUsername(ufrag + ":" + alice.own.Ufrag)},
		"another's":      {stun.NewUsername(ufrag + ":" + alice.own.Ufrag), stun.NewShortTermIntegrity("guessed")},
		"the peer's":     {stun.NewUsername(ufrag + ":" + alice.own.Ufrag), stun.NewShortTermIntegrity(alice.own.Pwd)},
		"another's name": {stun.NewUsername("x:" + alice.own.Ufrag), stun.NewShortTermIntegrity("guessed")},
		"no name":        {stun.NewShortTermIntegrity("guessed")},
	} {
		use := stun.RawAttribute{Type: stun.AttrUseCandidate}
		all := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, use}, with...)
		m, err := stun.Build(append(all, stun.Fingerprint)...)
		if err != nil {
			t.Fatal(err)
		}
		thief.send(m.Raw, to)
		thief.send(rtpPacket(7, "mine"), to)
		t.Log(name)
		crossesICE(t, conn, bob, relay)
	}
	_ = thief.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := thief.ReadFromUDPAddrPort(make([]byte, 100)); err == nil {
		t.Errorf("the thief gets %d bytes", n)
	}
}

// A restart has other credentials on both sides; the same offer again has not.
func TestICERestart(t *testing.T) {
	e, alice, bob, answer := iceCall(t, "127.0.0.1", true, false)
	conn := alice.connect(answer)[0]
	again := func() []byte {
		t.Helper()
		if _, err := e.Offer(1, Body{SDP: alice.offer(true, false), Source: elsewhere[V4]}); err != nil {
			t.Fatal(err)
		}
		b, err := e.Answer(1, Body{From: Callee, SDP: plain(bob, 1, true)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := again(); !bytes.Equal(b, answer) {
		t.Errorf("the same offer is answered with\n%s\nafter\n%s", b, answer)
	}
	r, _ := e.Query(1)
	relay := r.Streams[0].Callee.Relay
	crossesICE(t, conn, bob, relay)

	agent := alice.agents[0]
	alice.knows(credentials{"secondsecond", "secondsecondsecondsecond"})
	if err := agent.Restart(alice.own.Ufrag, alice.own.Pwd); err != nil {
		t.Fatal(err)
	}
	alice.gather(agent, 1)
	restarted := again()
	ourAgent(t, restarted, alice, true)
	if attribute(t, restarted, "ice-ufrag") == attribute(t, answer, "ice-ufrag") {
		t.Error("a restart is answered with what was there before")
	}
	reconnect(t, agent, restarted)
	crossesICE(t, conn, bob, relay)

	// the other side asks: the agent's party gets our agent as it is
	offer, err := e.Offer(1, Body{From: Callee, SDP: plain(bob, 1, true)})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"a=ice-lite", "a=ice-ufrag:", "typ host"} {
		if !bytes.Contains(offer, []byte(line)) {
			t.Errorf("no %s in\n%s", line, offer)
		}
	}
	e.Rollback(1)
	crossesICE(t, conn, bob, relay)
}

// reconnect has an agent that was restarted check an answer's candidate.
func reconnect(t *testing.T, agent *ice.Agent, answer []byte) {
	t.Helper()
	c, err := ice.UnmarshalCandidate(attribute(t, answer, "candidate"))
	if err == nil {
		err = agent.SetRemoteCredentials(attribute(t, answer, "ice-ufrag"), attribute(t, answer, "ice-pwd"))
	}
	if err == nil {
		err = agent.AddRemoteCandidate(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if pair, err := agent.GetSelectedCandidatePair(); err == nil && pair != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no pair after the restart")
		}
	}
}

// Descriptions that name no agent we can be checked by get none.
func TestNoICE(t *testing.T) {
	for name, lines := range map[string]string{
		"none":              "",
		"another lite one":  "a=ice-lite\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n",
		"no password":       "a=ice-ufrag:abcd\r\n",
		"a short password":  "a=ice-ufrag:abcd\r\na=ice-pwd:abcd\r\n",
		"a marker for name": "a=ice-ufrag:a b\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n",
	} {
		e := deafEngine(t)
		body := func(lines string) []byte {
			const above = "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\n"
			return []byte(above + lines + "m=audio 4000 RTP/AVP 0\r\n")
		}
		if _, err := e.Offer(1, Body{SDP: body(lines)}); err != nil {
			t.Fatal(err)
		}
		answer, err := e.Answer(1, Body{From: Callee, SDP: body("a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n")})
		if err != nil || bytes.Contains(answer, []byte("ice")) || bytes.Contains(answer, []byte("candidate")) {
			t.Errorf("%s: %v\n%s", name, err, answer)
		}
		again, err := e.Offer(1, Body{SDP: body("")})
		if err != nil || bytes.Contains(again, []byte("ice")) {
			t.Errorf("who answered with ICE that nobody offered gets %v\n%s", err, again)
		}
	}
}

// After a restart of the server a party's checks are still answered: the agent
// is the same, and so is the pair that was nominated.
func TestICEOutlivesTheProcess(t *testing.T) {
	e, alice, bob, answer := iceCall(t, "127.0.0.1", true, false)
	alice.connect(answer)
	s, _, err := e.session(1, false)
	if err != nil {
		t.Fatal(err)
	}
	text, was := s.unkept(), s.streams[0].faces[Caller].latch.latched
	e.Close()
	local := Address{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")}
	next, err := New(Config{Addresses: []Address{local}, PortMin: 24000, PortMax: 24999})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if n := next.Restore(map[uint64][]byte{1: text}); n != 1 {
		t.Fatal("the session is lost")
	}
	if _, err := next.Offer(1, Body{SDP: alice.offer(true, false), Source: elsewhere[V4]}); err != nil {
		t.Fatal(err)
	}
	again, err := next.Answer(1, Body{From: Callee, SDP: plain(bob, 1, true), Source: local.Local})
	if err != nil || !bytes.Equal(again, answer) {
		t.Errorf("%v, and the same offer is answered with\n%s\nafter\n%s", err, again, answer)
	}
	if r, _ := next.Query(1); r.Streams[0].Caller.Latched != was || !was.IsValid() {
		t.Errorf("media goes to %v, not to %v", r.Streams[0].Caller.Latched, was)
	}
}
