package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/proxy/hostile"
	"sotto/proxy/leak"
	"sotto/proxy/phone"
)

// marker is a word that is nowhere but where a test puts it.
const marker = "qzvmark"

// A marking numbers markers, one for each place. What each number was is kept.
type marking struct{ places []string }

// put fills the markers of a text in: each {place} becomes a word of its own.
func (m *marking) put(text string) string {
	for {
		before, rest, found := strings.Cut(text, "{")
		place, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return text
		}
		m.places = append(m.places, place)
		text = before + fmt.Sprintf("%s%dx", marker, len(m.places)) + after
	}
}

// markedHead is what most marked requests have in common; %s is a method.
const markedHead = `%[1]s sip:{user of R-URI}@%[2]s SIP/2.0
Via: SIP/2.0/UDP {host of Via}.example:5060;branch=z9hG4bK{branch};rport
From: "{display name}" <sip:{user of From}@{host of From}.example>;tag={From tag}
To: "{display name of To}" <sip:{user of To}@%[2]s>
Call-ID: {Call-ID}@{host of Call-ID}
CSeq: 1 %[1]s
Max-Forwards: 70
Contact: "{display name of Contact}" <sip:{user of Contact}@{host of Contact}.example;transport={transport}>
User-Agent: {User-Agent}
X-{name of a header}: {unknown header}
Subject: {Subject}
`

// markedLines are headers that a marked request has one of.
var markedLines = []string{
	"Route: <sip:{user of Route}@{host of Route}.example;lr>", "Record-Route: <sip:{Record-Route}.example;lr>",
	"Require: {Require}", "Proxy-Require: {Proxy-Require}", "Supported: {Supported}", "Event: {Event}",
	`Authorization: Digest username="{user name}", realm="{realm}", nonce="{nonce}", uri="sip:{uri}", ` +
		`response="{response}"`,
	`Proxy-Authorization: Digest username="bob", realm="sotto.test", nonce="{nonce 2}", uri="sip:{uri 2}", ` +
		`cnonce="{cnonce}", opaque="{opaque}", qop={qop}, nc=00000001, algorithm={algorithm}, response="{response 2}"`,
	"Privacy-Token: pt1.{token}", "Privacy-Token-Offer: {offer}", "P-Asserted-Identity: <sip:{asserted}@x.example>",
	"Refer-To: <sip:{Refer-To}@{host of Refer-To}.example>", "Replaces: {Replaces};to-tag={to-tag};from-tag={from-tag}",
	"Path: <sip:{Path}.example;lr>", "Content-Type: {type}/{subtype}", "Content-Encoding: {encoding}", "Reason: {Reason}",
	"Privacy: {Privacy}", "Expires: {Expires}", "Max-Forwards: {Max-Forwards}", "Content-Length: {length}",
	"CSeq: {CSeq} OPTIONS", "Via: {Via}", "From: {From}", "To: <sip:{broken", "Session-Expires: {Session-Expires}",
	"Contact: <{scheme}:{opaque URI}>", "Contact: <sip:a@b;{parameter}={value}?{header}={its value}>",
	"Warning: 399 {agent} \"{Warning}\"", "Date: {Date}", "RAck: {RAck}", "RSeq: {RSeq}", "Identity: {Identity}",
}

// markedMethods are the methods that they have; the last is the sender's own.
var markedMethods = []string{
	"INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "INFO", "PUBLISH", "UPDATE", "PRACK",
	"BYE", "CANCEL", "ACK", "{METHOD}",
}

// odd is what is no request, or hardly one.
var odd = []string{
	"SIP/2.0 200 {reason phrase}\r\nVia: SIP/2.0/UDP {Via of a response};branch=z9hG4bK{its branch}\r\n" +
		"From: <sip:{its From}@a>;tag=1\r\nTo: <sip:{its To}@b>;tag=2\r\nCall-ID: {its Call-ID}\r\nCSeq: 1 INVITE\r\n\r\n",
	"SIP/2.0 {code} OK\r\n\r\n", "{garbage}", "{garbage} with lines\r\n{one}: {two}\r\n\r\n", "\x00{NUL}",
	"GET /{path} HTTP/1.1\r\n\r\n",
	"INVITE {URI} SIP/2.0\r\n\r\n", "INVITE sip:b@c {version}\r\n\r\n", "OPTIONS sip:{nothing but a start line}\r\n\r\n",
	"\x00\x01\x00\x14\x21\x12\xa4\x42aaaaaaaaaaaa\x00\x06\x00\x10{STUN name}",
}

// TestLogHoldsNothingOfAMessage has everything that a server receives marked, and
// searches all that it logs, with every detail: no part of a message is there, in no form, nor a
// token, nor a password.
func TestLogHoldsNothingOfAMessage(t *testing.T) {
	t.Parallel()
	at := netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1})
	g := &siege{
		t: t, server: netip.AddrPortFrom(at, 5060), ended: make(chan struct{}), over: make(chan struct{}),
		level: "debug", streams: true,
	}
	g.open("limits: {exempt: [127.0.0.0/8]}\nforeign: allow\nprotect_ip: always")
	m, began := &marking{}, time.Now()
	secrets := g.usersTalk(m)
	g.sendsMarked(m)
	g.handshakes(m)
	time.Sleep(7 * time.Second) // handshakes and half messages are given up

	_ = g.proc.Process.Kill()
	<-g.ended
	out := g.out.String()
	if n := strings.Count(out, "\n"); n < 100 || !strings.Contains(out, "level=DEBUG") {
		t.Errorf("only %d lines are logged:\n%s", n, out)
	}
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Errorf("a secret is logged: %q", secret)
		}
	}
	m.finds(t, out)
	fewOfEach(t, out, time.Since(began))
}

// finds fails the test for each marker in a log.
func (m *marking) finds(t *testing.T, out string) {
	t.Helper()
	found := leak.Find([]byte(out), marker)
	for _, l := range found[:min(len(found), 30)] {
		n, place := 0, ""
		_, _ = fmt.Sscanf(out[l.At:min(len(out), l.At+20)], marker+"%d", &n)
		if n > 0 && n <= len(m.places) {
			place = m.places[n-1]
		}
		start := 1 + strings.LastIndex(out[:l.At], "\n")
		end := l.At + strings.Index(out[l.At:], "\n")
		t.Errorf("%s, %v, is logged: %.300s", place, l, out[start:end])
	}
	t.Logf("%d places were marked, %d lines logged, %d markers found",
		len(m.places), strings.Count(out, "\n"), len(found))
}

// fewOfEach fails the test if a message above debug is logged more often than 20
// times in 10 s.
func fewOfEach(t *testing.T, out string, took time.Duration) {
	t.Helper()
	repeated := map[string]int{}
	for _, l := range regexp.MustCompile(`level=(?:INFO|WARN|ERROR) msg=("[^"]*"|\S+)`).FindAllStringSubmatch(out, -1) {
		repeated[l[1]]++
	}
	for what, n := range repeated {
		if most := 20 * (1 + int(took/(10*time.Second))); n > most {
			t.Errorf("%s is logged %d times; %d in so much time are allowed", what, n, most)
		}
	}
}

// usersTalk has users who mark all that they say call each other, well and badly,
// and returns what must not be logged: their password, and a token.
func (g *siege) usersTalk(m *marking) (secrets []string) {
	g.t.Helper()
	alice, bob := g.marked(m, "alice", 10), g.marked(m, "bob", 11)
	token := "pt1." + strings.Repeat("Zx9-", 25)
	to := "sip:bob@" + domain
	for _, does := range []func(context.Context, *phone.Call){
		func(ctx context.Context, c *phone.Call) { _ = c.Answer(ctx) },
		func(ctx context.Context, c *phone.Call) {
			_ = c.Answer(ctx, phone.Body("application/sdp", m.put("v=0\r\no={origin}\r\nx{line}\r\n")))
		},
		func(ctx context.Context, c *phone.Call) {
			_ = c.Answer(ctx, phone.Body(m.put("x/{type}"), m.put("{body}")))
		},
		func(_ context.Context, c *phone.Call) {
			_ = c.Reject(302, phone.Header("Contact", m.put("<sip:{moved}@{host of 302}.example>")))
		},
		func(_ context.Context, c *phone.Call) {
			_ = c.Reject(399, phone.Header("Warning", m.put(`399 x "{Warning}"`)))
		},
	} {
		talksOnce(g.t, m, alice, bob, does, token)
	}
	for _, body := range []string{
		"v=0\r\no={o} 1 1 IN IP4 {address}\r\ns={s}\r\nc=IN IP4 {c}\r\nt=0 0\r\nm={m} 9 {proto} 0\r\na={a}:{v}\r\n",
		"{no SDP}",
	} {
		for _, uri := range []string{to, m.put("sip:{user}@{foreign host}.example;transport={foreign transport}")} {
			callsBriefly(alice, uri, phone.Body("application/sdp", m.put(body)))
			soon(func(ctx context.Context) { _ = alice.Message(ctx, uri, m.put("{text of a message}")) })
		}
	}
	for _, contact := range []string{
		"<sip:{contact}@{its host}.example>", "<sip:x@{contact}.example;transport={its transport}>",
	} {
		soon(func(ctx context.Context) { _, _ = bob.Register(ctx, phone.Contact(m.put(contact))) })
		callsBriefly(alice, to)
		soon(func(ctx context.Context) { _ = alice.Message(ctx, to, "hello") })
	}
	return []string{password, token[4:30], token[len(token)-30:]}
}

// soon does something that may end in nothing.
func soon(do func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	do(ctx)
}

// marked opens and registers a user's phone that marks all that it says.
func (g *siege) marked(m *marking, user string, last byte) *phone.Phone {
	g.t.Helper()
	c := phone.Marked(g.host(last), m.put("{"+user+"'s phone}"))
	c.User, c.Password, c.Display = user, password, m.put("{display name}")
	return g.opens(c, last)
}

// talksOnce is one call, in which bob does something to the INVITE; if that was to
// answer it, alice sends what may be sent in a call.
func talksOnce(t *testing.T, m *marking, alice, bob *phone.Phone, does func(context.Context, *phone.Call), tok string) {
	t.Helper()
	out, err := alice.Invite("sip:bob@"+domain, phone.Header("Privacy-Token", tok))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	in, err := bob.Incoming(ctx)
	if err != nil {
		t.Fatal(err)
	}
	soon(func(ctx context.Context) { does(ctx, in) })
	soon(func(ctx context.Context) { err = out.Answered(ctx) })
	if err != nil {
		soon(func(ctx context.Context) { _ = out.Cancel(ctx) })
		return
	}
	for _, ask := range []func(context.Context){
		func(ctx context.Context) { _ = out.Info(ctx, "5") },
		func(ctx context.Context) {
			_, _ = out.Request(ctx, m.put("{IN-CALL}"), phone.Header("X", m.put("{of a request in a call}")))
		},
		func(ctx context.Context) {
			_, _ = out.Request(ctx, "UPDATE", phone.Body("application/sdp", m.put("v=0\r\nc={connection}\r\n")))
		},
		func(ctx context.Context) {
			_, _ = out.Request(ctx, "REFER", phone.Header("Refer-To", m.put("<sip:{transfer}@{to}.example>")))
		},
		func(ctx context.Context) { _ = out.Bye(ctx) },
	} {
		soon(ask)
	}
}

// callsBriefly calls somebody who does not answer.
func callsBriefly(p *phone.Phone, uri string, opts ...phone.Option) {
	out, err := p.Invite(uri, opts...)
	if err != nil {
		return
	}
	soon(func(ctx context.Context) { err = out.Answered(ctx) })
	if err != nil {
		soon(func(ctx context.Context) { _ = out.Cancel(ctx) })
	}
}

// sendsMarked sends marked requests of every method, with every header, over UDP and TCP.
func (g *siege) sendsMarked(m *marking) {
	g.t.Helper()
	ip := g.server.Addr().As4()
	ip[3] = 66
	var messages []string
	for _, method := range markedMethods {
		for _, line := range append(markedLines, "") {
			head := fmt.Sprintf(markedHead, method, domain) + line + "\n\n"
			messages = append(messages, m.put(strings.ReplaceAll(head, "\n", "\r\n")+"{body}"))
		}
	}
	for _, text := range odd {
		messages = append(messages, m.put(text))
	}
	for _, b := range hostile.Bombs("UDP", m.put("sip:{bomb}@"+domain)) {
		messages = append(messages, b.Text)
	}
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(ip), 0)),
		net.UDPAddrFromAddrPort(g.server))
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for i, text := range messages {
		if _, err := c.Write([]byte(text)); err != nil {
			g.t.Fatal(err)
		}
		if i%20 == 0 {
			time.Sleep(10 * time.Millisecond) // for the socket's queue
		}
		if i%7 == 0 {
			waiting.Go(func() { g.streams1(ip, "tcp", text) })
		}
	}
}

// streams1 sends a text over one connection.
func (g *siege) streams1(ip [4]byte, transport, text string) {
	to := g.server
	if transport == "tls" {
		to = netip.AddrPortFrom(to.Addr(), 5061)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip[:]}, Timeout: patience}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		g.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, text) // it may be closed before all is out
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c)
}

// handshakes opens TLS connections with markers in what a client says there.
func (g *siege) handshakes(m *marking) {
	g.t.Helper()
	ip := g.server.Addr().As4()
	ip[3] = 67
	for _, text := range []string{
		"{garbage for TLS}", "\x16\x03\x01\x02\x00\x01{half a hello}", "GET /{path} HTTP/1.1\r\n\r\n",
	} {
		g.streams1(ip, "tls", m.put(text))
	}
	for _, c := range []*tls.Config{
		{ServerName: m.put("{server name}.example"), NextProtos: []string{m.put("{protocol}")}, InsecureSkipVerify: true},
		{ServerName: m.put("{server name}.example"), MaxVersion: tls.VersionTLS10, InsecureSkipVerify: true},
		{ServerName: m.put("{server name}.example")}, // does not trust it
	} {
		nc, err := tls.Dial("tcp", netip.AddrPortFrom(g.server.Addr(), 5061).String(), c)
		if err == nil {
			_, _ = io.WriteString(nc, m.put("OPTIONS sip:{over TLS} SIP/2.0\r\n\r\n"))
			_ = nc.Close()
		}
	}
}
