package rtpengine

import (
	"bytes"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// nullWire is a socket that nothing comes from.
type nullWire struct{ closed chan struct{} }

func (w nullWire) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	<-w.closed
	return 0, netip.AddrPort{}, errors.New("closed")
}

func (w nullWire) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }

func (w nullWire) Close() error {
	close(w.closed)
	return nil
}

var relay6 = netip.MustParseAddr("2001:db8::1")

// deafEngine is an engine whose sockets lead nowhere.
func deafEngine(t testing.TB, change ...func(*Config)) *Engine {
	t.Helper()
	c := Config{
		Addresses: []Address{
			{relayIP, relayIP},
			{relay6, relay6},
		}, PortMin: 20000, PortMax: 29999, Workers: 1,
		Listen: func(netip.AddrPort) (Wire, error) { return nullWire{make(chan struct{})}, nil },
	}
	for _, f := range change {
		f(&c)
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// crlf is a description as it is on the wire.
func crlf(lines string) []byte {
	return []byte(strings.ReplaceAll(strings.TrimSpace(lines)+"\n", "\n", "\r\n"))
}

// masked hides what is random: the ID of the session and the relay's ports.
func masked(b []byte) string {
	s := regexp.MustCompile(`o=- \d+ \d+ `).ReplaceAllString(string(b), "o=- ID VERSION ")
	s = regexp.MustCompile(`(m=\w+) [1-9]\d* `).ReplaceAllString(s, "$1 PORT ")
	return strings.ReplaceAll(s, "\r\n", "\n")
}

const head = "v=0\no=- ID VERSION IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"

// descriptions are what a phone writes, and what the other party gets; "" is
// refused. Everything that could tell something is a marker.
var descriptions = map[string]struct{ in, want string }{
	"everything that tells something": {`
v=0
o=alice 3981523 1 IN IP4 192.168.77.23
s=Talk of alice-laptop
i=marker
u=http://192.168.77.23/
e=alice@alice-laptop
p=+49 1
c=IN IP4 192.168.77.23
b=CT:1000
t=3981523 3981524
r=7d 1h 0
z=0 0
k=clear:marker
a=tool:marker
a=ice-ufrag:mark
a=ice-pwd:markermarkermarkermarkermarker
a=rtcp-xr:rcvr-rtt=all:10000
a=group:BUNDLE marker
a=msid-semantic: WMS marker
m=audio 4000 RTP/AVP 0 8 101
c=IN IP4 192.168.77.23
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=candidate:1 1 UDP 2130706431 192.168.77.23 4000 typ host
a=remote-candidates:1 192.168.77.23 4000
a=end-of-candidates
a=rtcp:4001 IN IP4 192.168.77.23
a=ssrc:1 cname:alice@192.168.77.23
a=msid:marker marker
a=label:marker
a=mid:marker
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=X-nat:0
a=ptime:20
a=sendrecv`, head + `m=audio PORT RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv
`},
	"several streams, one rejected, two that are not relayed": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 198.51.100.7
t=0 0
m=audio 4000 RTP/AVP 0
m=video 4002 RTP/AVP 96
b=AS:512
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f;x-marker=1;packetization-mode=1
a=rtcp-fb:96 nack pli
m=video 0 RTP/AVP 97
m=message 9 TCP/MSRP *
a=path:msrp://198.51.100.7:9/s;tcp
m=application 4010 UDP/BFCP *
m=image 4020 udptl t38
a=T38FaxVersion:0
a=T38FaxUdpEC:t38UDPRedundancy
a=marker:1`, head + `m=audio PORT RTP/AVP 0
m=video PORT RTP/AVP 96
b=AS:512
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1
a=rtcp-fb:96 nack pli
m=video 0 RTP/AVP 97
m=message 0 TCP/MSRP *
m=application 0 UDP/BFCP *
m=image PORT udptl t38
a=T38FaxVersion:0
a=T38FaxUdpEC:t38UDPRedundancy
`},
	"keys pass end to end": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 198.51.100.7
t=0 0
m=audio 4000 RTP/SAVP 0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4
a=zrtp-hash:1.10 fe30efd02423cb054e50efd0248742ac7a52c8f91bc2df881ae642c371ba46df
a=setup:actpass
a=fingerprint:SHA-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB`, head + `m=audio PORT RTP/SAVP 0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4
a=zrtp-hash:1.10 fe30efd02423cb054e50efd0248742ac7a52c8f91bc2df881ae642c371ba46df
a=setup:actpass
a=fingerprint:SHA-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB
`},
	"hold of RFC 2543": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 0.0.0.0
t=0 0
m=audio 4000 RTP/AVP 0`, head + "m=audio PORT RTP/AVP 0\na=sendonly\n"},
	"hold of both kinds": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 0.0.0.0
t=0 0
m=audio 4000 RTP/AVP 0
a=recvonly`, head + "m=audio PORT RTP/AVP 0\na=inactive\n"},
	"a name for an address": {`
v=0
o=- 1 1 IN IP4 a
s=-
c=IN IP4 beacon.example.com
t=0 0
m=audio 4000 RTP/AVP 0`, ""},
	"multicast": {`
v=0
o=- 1 1 IN IP4 a
s=-
c=IN IP4 224.2.36.42/127
t=0 0
m=audio 4000 RTP/AVP 0`, ""},
	"no address": {`
v=0
o=- 1 1 IN IP4 a
s=-
t=0 0
m=audio 4000 RTP/AVP 0`, ""},
	"a range of ports": {`
v=0
o=- 1 1 IN IP4 a
s=-
c=IN IP4 198.51.100.7
t=0 0
m=audio 4000/2 RTP/AVP 0`, ""},
	"no format that is one": {`
v=0
o=- 1 1 IN IP4 a
s=-
c=IN IP4 198.51.100.7
t=0 0
m=audio 4000 RTP/AVP marker`, ""},
	"camera control beside voice": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 198.51.100.7
t=0 0
m=audio 4000/1 RTP/AVP 0
m=application 4004 RTP/AVP 100
a=rtpmap:100 H224/4800`, head + "m=audio PORT RTP/AVP 0\nm=application 0 RTP/AVP 100\n"},
	"an agent that has yet to find out where it is": {`
v=0
o=- 1 1 IN IP4 198.51.100.7
s=-
c=IN IP4 0.0.0.0
t=0 0
m=audio 9 RTP/AVP 0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv`, head + "m=audio PORT RTP/AVP 0\n"},
	"no description": {"hello", ""},
}

func TestDescriptions(t *testing.T) {
	for name, c := range descriptions {
		e := deafEngine(t)
		got, err := e.Offer(1, Body{From: Caller, SDP: crlf(c.in), Toward: V4})
		if c.want == "" {
			if !errors.Is(err, ErrUnsafe) || got != nil {
				t.Errorf("%s: %q, %v; want it refused", name, got, err)
			}
			if used, _ := e.Ports(); used != 0 || e.Sessions() != 0 {
				t.Errorf("%s: a refused offer holds %d ports, %d sessions", name, used, e.Sessions())
			}
			continue
		}
		if err != nil || masked(got) != c.want {
			t.Errorf("%s (%v):\n got %s\nwant %s", name, err, masked(got), c.want)
		}
	}
}

// The answer to what was offered, from one family of addresses to the other.
func TestAnswerOverIPv6(t *testing.T) {
	e := deafEngine(t)
	offer, err := e.Offer(1, Body{From: Caller, SDP: audio(callerIP, 4000), Source: callerIP, Toward: V6})
	if err != nil || !bytes.Contains(offer, []byte("c=IN IP6 2001:db8::1\r\n")) {
		t.Fatalf("%v, %s", err, offer)
	}
	in := crlf(
		"v=0\no=- 1 1 IN IP6 2001:db8:77::5\ns=-\nc=IN IP6 2001:db8:77::5\nt=0 0\nm=audio 6000 RTP/AVP 0",
	)
	answer, err := e.Answer(
		1,
		Body{From: Callee, SDP: in, Source: netip.MustParseAddr("2001:db8:77::5"), Toward: V4},
	)
	if err != nil || masked(answer) != head+"m=audio PORT RTP/AVP 0\n" {
		t.Fatalf("%v, %s", err, answer)
	}
	r, _ := e.Query(1)
	if s := r.Streams[0]; s.Caller.Relay.Addr() != relayIP || s.Callee.Relay.Addr() != relay6 ||
		s.Callee.Signalled.String() != "[2001:db8:77::5]:6000" {
		t.Errorf("%+v", s)
	}
}

// version is the number that grows with a description (RFC 3264 §8).
func version(t *testing.T, b []byte) (id, version string) {
	t.Helper()
	m := regexp.MustCompile(`o=- (\d+) (\d+) `).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no o= line in %q", b)
	}
	return string(m[1]), string(m[2])
}

// An offer that is repeated gets the same ports and the same version; one that
// changes keeps its ports and gets another version.
func TestOfferAgain(t *testing.T) {
	e := deafEngine(t)
	ask := func(sdp []byte) []byte {
		out, err := e.Offer(1, Body{From: Caller, SDP: sdp, Source: callerIP, Toward: V4})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := ask(audio(callerIP, 4000))
	if again := ask(audio(callerIP, 4000)); !bytes.Equal(first, again) {
		t.Errorf("repeated:\n%s\n%s", first, again)
	}
	if moved := ask(audio(callerIP, 5000)); !bytes.Equal(first, moved) {
		t.Errorf("the caller's address shows in what the callee gets:\n%s\n%s", first, moved)
	}
	held := ask(append(audio(callerIP, 5000), "a=sendonly\r\n"...))
	id1, v1 := version(t, first)
	id2, v2 := version(t, held)
	if id1 != id2 || v1 == v2 {
		t.Errorf("session %s, %s; version %s, %s", id1, id2, v1, v2)
	}
	if used, _ := e.Ports(); used != 4 {
		t.Errorf("%d ports", used)
	}
}

// Forked early media: several answers to one offer, each other than the one before.
func TestSeveralAnswers(t *testing.T) {
	e := deafEngine(t)
	if _, err := e.Offer(1, Body{From: Caller, SDP: audio(callerIP, 4000), Source: callerIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	for i, ip := range []netip.Addr{calleeIP, thiefIP, calleeIP} {
		out, err := e.Answer(1, Body{From: Callee, SDP: audio(ip, 6000+i), Source: ip, Toward: V4})
		if err != nil || masked(out) != head+"m=audio PORT RTP/AVP 0\n" {
			t.Fatalf("%v, %s", err, out)
		}
		r, _ := e.Query(1)
		if got := r.Streams[0].Callee.Signalled; got != netip.AddrPortFrom(ip, uint16(6000+i)) {
			t.Errorf("packets for the callee go to %v", got)
		}
	}
	more := append(audio(calleeIP, 6000), "m=video 7000 RTP/AVP 96\r\n"...)
	if _, err := e.Answer(1, Body{From: Callee, SDP: more, Toward: V4}); !errors.Is(err, ErrUnsafe) {
		t.Errorf("an answer with more streams than the offer: %v", err)
	}
}

// A refused re-offer leaves no trace; one that cannot be taken neither.
func TestRollback(t *testing.T) {
	e := deafEngine(t)
	call(t, e, 1)
	before, _ := e.Query(1)
	video := append(audio(callerIP, 4444), "m=video 7000 RTP/AVP 96\r\n"...)
	if _, err := e.Offer(1, Body{From: Caller, SDP: video, Source: callerIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	e.Rollback(1)
	after, _ := e.Query(1)
	if len(after.Streams) != 1 || after.Streams[0].Caller.Signalled != before.Streams[0].Caller.Signalled {
		t.Errorf("%+v, before %+v", after, before)
	}
	if used, _ := e.Ports(); used != 4 {
		t.Errorf("%d ports", used)
	}
}

// call makes a session with one audio stream.
func call(t testing.TB, e *Engine, id ID) {
	t.Helper()
	if _, err := e.Offer(id, Body{From: Caller, SDP: audio(callerIP, 4000), Source: callerIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Answer(id, Body{From: Callee, SDP: audio(calleeIP, 6000), Source: calleeIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
}

// FuzzSDP: whatever is offered, what the other party gets is a description in
// which no line of the sender's stands unless it is on the list, and no
// address but the relay's.
func FuzzSDP(f *testing.F) {
	for _, c := range descriptions {
		f.Add(crlf(c.in))
	}
	e := deafEngine(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		defer e.Delete(1)
		out, err := e.Offer(1, Body{From: Caller, SDP: in, Toward: V4})
		if err != nil {
			if out != nil {
				t.Errorf("%v, and yet %q", err, out)
			}
			return
		}
		if _, err := parse(out); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\r\n"), "\r\n") {
			if !listed(line) {
				t.Errorf("line %q, from %q", line, in)
			}
		}
	})
}

// ours are the forms of the lines that are no attributes.
var ours = regexp.MustCompile(`^(v=0|o=- \d+ \d+ IN IP4 192\.0\.2\.1|s=-|c=IN IP4 192\.0\.2\.1|t=0 0|` +
	`m=[A-Za-z][A-Za-z0-9*-]* \d+ [A-Za-z0-9/*-]+( [A-Za-z0-9*-]+)+|b=(AS|TIAS|RS|RR):\d+)$`)

// listed says that a line may stand in what the other party gets.
func listed(line string) bool {
	attribute, ok := strings.CutPrefix(line, "a=")
	if !ok {
		return ours.MatchString(line)
	}
	key, value, _ := strings.Cut(attribute, ":")
	if key == "fmtp" {
		return fmtp.MatchString(value)
	}
	for _, list := range []map[string]*regexp.Regexp{mediaAttributes, t38Attributes, sessionAttributes} {
		if list[key] != nil && list[key].MatchString(value) {
			return true
		}
	}
	return false
}
