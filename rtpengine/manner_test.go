package rtpengine

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
)

// A notary is an engine that writes down what it sends.
type notary struct {
	*Engine
	t    *testing.T
	sent []byte // last; nil: nothing
}

type notedWire struct {
	nullWire
	by *notary
}

func (w notedWire) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	w.by.sent = bytes.Clone(b)
	return len(b), nil
}

func newNotary(t *testing.T, change ...func(*Config)) *notary {
	n := &notary{t: t}
	n.Engine = deafEngine(t, append(change, func(c *Config) {
		c.Listen = func(netip.AddrPort) (Wire, error) { return notedWire{nullWire{make(chan struct{})}, n}, nil }
	})...)
	return n
}

// notedAt is where the parties are.
var notedAt = [2]netip.AddrPort{netip.AddrPortFrom(callerIP, 4000), netip.AddrPortFrom(calleeIP, 6000)}

// says has a party describe itself by sections, of which each has its port.
func (n *notary) says(tell func(*Engine, ID, Body) ([]byte, error), side Side, sections string) string {
	n.t.Helper()
	at := notedAt[side].Addr()
	in := "v=0\r\no=- 1 1 " + connection(at) + "\r\ns=-\r\nc=" + connection(at) + "\r\nt=0 0\r\n" +
		strings.ReplaceAll(sections, "\n", "\r\n")
	out, err := tell(n.Engine, 1, Body{From: side, SDP: []byte(in), Source: at, Toward: V4})
	if err != nil {
		n.t.Fatal(err)
	}
	return string(out)
}

func (n *notary) offer(side Side, sections string) string {
	return n.says((*Engine).Offer, side, sections)
}

func (n *notary) answer(side Side, sections string) string {
	return n.says((*Engine).Answer, side, sections)
}

// makes is what the engine makes of a packet of a party's; nil if it drops it.
func (n *notary) makes(side Side, rtcpPort bool, b []byte) []byte {
	from := notedAt[side]
	if rtcpPort {
		from = netip.AddrPortFrom(from.Addr(), from.Port()+1)
	}
	return n.makesFrom(side, rtcpPort, b, from)
}

func (n *notary) makesFrom(side Side, rtcpPort bool, b []byte, from netip.AddrPort) []byte {
	s := n.sessions[1]
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	n.sent = nil
	s.streams[0].packet(side, rtcpPort, bytes.Clone(b), from)
	return n.sent
}

// The packets of a stream: RTP with an extension, RTCP that tells something,
// the same encrypted, and ZRTP.
var (
	extended  = append([]byte{0x90, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1}, "mark, and media"...)
	telltale  = must(rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 7}, rtcp.NewCNAMESourceDescription(7, marked)}))
	encrypted = append(bytes.Clone(telltale[:8]), strings.Repeat("\xa5\x5a\x01", 14)...)
	hello     = append([]byte{0x10, 0, 0, 1, 'Z', 'R', 'T', 'P'}, make([]byte, 8)...)
)

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Who is offered keys and has none writes in the clear (RFC 8643 §3.1), whatever
// the other one has said; only if both have them nothing is looked into. Also
// then what can be read is not passed on as it is.
func TestClearUnlessBothEncrypt(t *testing.T) {
	const (
		none = "m=audio 4000 RTP/AVP 0\n"
		sdes = none + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n"
		dtls = none + "a=setup:actpass\na=fingerprint:sha-256 4A:AD:B9:B1\n"
	)
	for name, c := range map[string]struct {
		offer, answer string
		zrtp          []Side
		secure        bool
	}{
		"neither":                  {none, none, nil, false},
		"SDES offered":             {sdes, none, nil, false},
		"DTLS offered":             {dtls, none, nil, false},
		"DTLS in the answer alone": {none, dtls, nil, false},
		"SDES":                     {sdes, sdes, nil, true},
		"DTLS":                     {dtls, dtls, nil, true},
		"ZRTP of one":              {none, none, []Side{Caller}, false},
		"ZRTP":                     {none, none, []Side{Caller, Callee}, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNotary(t)
			n.offer(Caller, c.offer)
			n.answer(Callee, strings.Replace(c.answer, "4000", "6000", 1))
			n.answer(Caller, sdes) // an ACK that has a description, too
			for _, side := range c.zrtp {
				if got := n.makes(side, false, hello); !bytes.Equal(got, hello) {
					t.Errorf("ZRTP of the %v became %q", side, got)
				}
			}
			n.isSecure(c.secure)
			if got, _ := n.Query(1); got.Streams[0].Secure != c.secure {
				t.Errorf("reported as secure: %v", got.Streams[0].Secure)
			}
		})
	}
}

// isSecure says that nothing is looked into, but for what can be read.
func (n *notary) isSecure(want bool) {
	n.t.Helper()
	for _, side := range []Side{Caller, Callee} {
		if got := n.makes(side, true, telltale); got == nil || bytes.Contains(got, []byte(marked)) {
			n.t.Errorf("the %v's RTCP became %q", side, got)
		}
		if got := n.makes(side, true, encrypted); bytes.Equal(got, encrypted) != want {
			n.t.Errorf("the %v's encrypted RTCP became %q", side, got)
		}
		if got := n.makes(side, false, extended); bytes.Equal(got, extended) != want || got == nil {
			n.t.Errorf("the %v's RTP became %q", side, got)
		}
	}
}

// What an offer asks for holds from its answer on, and not if it is refused:
// media goes on as agreed before.
func TestOfferChangesNothingBeforeItsAnswer(t *testing.T) {
	const (
		mux   = "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n"
		image = "m=image 4000 udptl t38\n"
	)
	n := newNotary(t)
	n.offer(Caller, mux)
	n.answer(Callee, strings.Replace(mux, "4000", "6000", 1))
	asBefore := func(when string) {
		t.Helper()
		for _, side := range []Side{Caller, Callee} {
			if got := n.makes(side, false, telltale); got == nil || bytes.Contains(got, []byte(marked)) {
				t.Errorf("%s, the %v's RTCP became %q", when, side, got)
			}
			if got := n.makes(side, false, extended); got == nil || bytes.Contains(got, []byte("mark")) {
				t.Errorf("%s, the %v's RTP became %q", when, side, got)
			}
		}
	}
	asBefore("agreed")
	for _, offer := range []string{image, strings.Replace(mux, "a=rtcp-mux\n", "", 1)} {
		n.offer(Caller, offer)
		asBefore("offered")
		n.Rollback(1)
		asBefore("refused")
	}
	n.offer(Caller, image)
	n.answer(Callee, strings.Replace(image, "4000", "6000", 1))
	for seq := range 1 << 16 {
		fax := append([]byte{byte(seq >> 8), byte(seq)}, "marked, and a part of a page"...)
		if got := n.makes(Caller, false, fax); !bytes.Equal(got, fax) {
			t.Fatalf("packet %#x of a fax became %q", seq, got)
		}
	}
	asBefore("while a fax is sent")
	n.offer(Callee, strings.Replace(mux, "4000", "6000", 1))
	n.answer(Caller, mux)
	asBefore("after the fax")
}

// Each answer to an offer is one to the offer, not to the answer before: a
// device that plays early media may do less than the one that takes the call.
func TestAnswersDiffer(t *testing.T) {
	const (
		all   = "m=audio 4000 RTP/AVP 0\na=rtcp-mux\nm=video 4002 RTP/AVP 31\n"
		early = "m=audio 6000 RTP/AVP 0\nm=video 0 RTP/AVP 31\n"
		final = "m=audio 6000 RTP/AVP 0\na=rtcp-mux\nm=video 6002 RTP/AVP 31\n"
	)
	n := newNotary(t)
	n.offer(Caller, all)
	if got := n.answer(Callee, early); !strings.Contains(got, "m=video 0 ") {
		t.Errorf("early: %s", got)
	}
	if got := n.answer(Callee, final); strings.Contains(got, "m=video 0 ") {
		t.Errorf("video is taken, and refused: %s", got)
	}
	if n.makes(Callee, false, telltale) == nil {
		t.Error("RTCP does not cross on the port that was agreed on for it")
	}
}

// A phone behind NAT that is given another mapping during a hold, or while it
// has no video, is heard after it, although it describes itself as before.
func TestNATForgetsDuringAHold(t *testing.T) {
	for name, during := range map[string]string{
		"hold": "m=audio 4000 RTP/AVP 0\r\na=inactive\r\n", "rejected": "m=audio 0 RTP/AVP 0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { natForgets(t, during) })
		})
	}
}

func natForgets(t *testing.T, during string) {
	t.Helper()
	before, after := netip.AddrPortFrom(callerIP, 50000), netip.AddrPortFrom(callerIP, 50001)
	n := newNotary(t)
	n.describesNATted("m=audio 4000 RTP/AVP 0\r\n")
	if !n.hearsCaller(before) || n.hearsCaller(after) {
		t.Fatal("not one mapping of the phone's is heard")
	}
	n.describesNATted(during)
	n.describesNATted("m=audio 4000 RTP/AVP 0\r\n")
	for range 50 { // a second of packets
		if n.hearsCaller(after) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !n.hearsCaller(after) || n.hearsCaller(before) {
		t.Error("not the new mapping is heard, and that alone")
	}
}

// hearsCaller says that a packet of the caller's that comes from there crosses.
func (n *notary) hearsCaller(from netip.AddrPort) bool {
	return n.makesFrom(Caller, false, extended, from) != nil
}

// describesNATted has a caller behind NAT offer a section, and the callee answer it.
func (n *notary) describesNATted(section string) {
	n.t.Helper()
	sdp := []byte("v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\n" + section)
	if _, err := n.Offer(1, Body{SDP: sdp, Source: callerIP, Toward: V4}); err != nil {
		n.t.Fatal(err)
	}
	n.answer(Callee, strings.NewReplacer("4000", "6000", "\r\n", "\n").Replace(section))
}

// How packets are to be read outlives the process, also what came with packets
// and not with signalling.
func TestMannerIsKept(t *testing.T) {
	const mux = "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n"
	n := newNotary(t)
	n.offer(Caller, mux)
	n.answer(Callee, strings.Replace(mux, "4000", "6000", 1))
	for _, side := range []Side{Caller, Callee} {
		if n.makes(side, false, extended) == nil {
			t.Fatalf("the %v is not heard", side)
		}
	}
	if n.sessions[1].unkept() == nil || n.sessions[1].unkept() != nil {
		t.Fatal("not kept once")
	}
	for _, side := range []Side{Caller, Callee} {
		n.makes(side, false, hello)
	}
	text := n.sessions[1].unkept()
	next := newNotary(t)
	if err := next.restore(1, text); err != nil {
		t.Fatal(err)
	}
	for _, side := range []Side{Caller, Callee} {
		if got := next.makes(side, false, encrypted); !bytes.Equal(got, encrypted) {
			t.Errorf("the %v's encrypted RTCP became %q", side, got)
		}
	}
}
