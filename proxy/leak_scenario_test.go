package proxy_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// The leak harness (leaks.md §5): each of these is played by the caller and by
// the callee of a protected call, over every transport and family. Then every
// byte that each got is searched for what the other knows of itself, in every form.

// A leakScenario is something that a party of a call does to the other, and
// what comes of it: a search that finds nothing would prove nothing if nothing
// had arrived.
type leakScenario struct {
	name string
	play act
	code int    // of the final that the doer gets
	gets string // a pattern of what the other then receives; "": nothing at all
}

// An act is one step of a call. It returns the code of the final.
type act func(w *leakStage, a, b *proxytest.Call) int

// leakStage is where scenarios are played.
type leakStage struct {
	*proxytest.Stage
	alice, bob *proxytest.Phone
	third      []*proxytest.Phone
	more       func(name string) *proxytest.Phone // on the same ground
}

// plays plays a scenario and holds it to what must come of it.
func (w *leakStage) plays(sc leakScenario, a, b *proxytest.Call) {
	w.T().Helper()
	w.Wait(time.Second)
	before := len(b.Phone.Received(phone.SIP))
	code := sc.play(w, a, b)
	w.Wait(time.Second)
	got := sipSince(b.Phone, before)
	switch {
	case code != sc.code:
		w.T().Errorf("%s: answered %d; want %d", sc.name, code, sc.code)
	case sc.gets == "" && got != "":
		w.T().Errorf("%s: what must not arrive arrived:\n%s", sc.name, got)
	case sc.gets != "" && !regexp.MustCompile(sc.gets).MatchString(got):
		w.T().Errorf("%s: %q did not arrive in\n%s", sc.name, sc.gets, got)
	}
	if sc.gets != "" {
		return
	}
	// Nothing arrived because of what it was: the way is open.
	if code := a.Asks("OPTIONS"); code != 200 || !strings.Contains(sipSince(b.Phone, before), "OPTIONS sip:") {
		w.T().Errorf("%s: an OPTIONS after it was answered %d", sc.name, code)
	}
}

// sipSince is all the SIP that a phone received after its first n packets of it.
func sipSince(p *proxytest.Phone, n int) string {
	var all strings.Builder
	for _, k := range p.Received(phone.SIP)[n:] {
		all.Write(k.Data)
	}
	return all.String()
}

// tells sends a request within the call.
func tells(method string, opts ...phone.Option) act {
	return func(_ *leakStage, a, _ *proxytest.Call) int { return a.Asks(method, opts...) }
}

// writes sends a body of a type in which HOST stands for the sender's own address.
func writes(method, kind, text string, headers ...phone.Option) act {
	return func(_ *leakStage, a, _ *proxytest.Call) int {
		own := a.Phone.Local().Addr().String()
		return a.Asks(method, append(headers, phone.Body(kind, strings.ReplaceAll(text, "HOST", own)))...)
	}
}

// description is one of a phone's that tells its address in every line, with those m= sections.
func description(c *proxytest.Call, media ...string) string {
	own, family, host := c.Phone.Local().Addr(), "IP4", c.Phone.Local().Addr().String()
	if own.Is6() {
		family, host = "IP6", "["+host+"]"
	}
	head := []string{
		"v=0", "o=HOST 77 77 IN FAM HOST", "s=HOST", "i=HOST", "u=http://AUTH/", "e=x@HOST",
		"c=IN FAM HOST", "t=0 0", "a=tool:HOST",
	}
	text := strings.Join(append(head, media...), "\r\n") + "\r\n"
	port := strconv.Itoa(int(c.Local().Port()))
	return strings.NewReplacer("HOST", own.String(), "AUTH", host, "FAM", family, "PORT", port).Replace(text)
}

// offers sends a re-INVITE with a description.
func offers(media ...string) act {
	return func(_ *leakStage, a, _ *proxytest.Call) int {
		a.Does(func(ctx context.Context) error {
			_ = a.Reinvite(ctx, phone.Body("application/sdp", description(a, media...))) // its final tells
			return nil
		})
		return lastFinal(a)
	}
}

// lastFinal is the code of the last final response to an INVITE of a call.
func lastFinal(c *proxytest.Call) int {
	all := c.Responses()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].StatusCode >= 200 {
			return all[i].StatusCode
		}
	}
	return 0
}

// does is a step of the call that must succeed.
func does(step func(context.Context, *proxytest.Call) error) act {
	return func(_ *leakStage, a, _ *proxytest.Call) int {
		a.Does(func(ctx context.Context) error { return step(ctx, a) })
		return 200
	}
}

// state is how a NOTIFY within a call is written.
func state(event string) []phone.Option {
	return []phone.Option{
		phone.Header("Event", event), phone.Header("Subscription-State", "active;expires=60"),
	}
}

const audio = "m=audio PORT RTP/AVP 0"

// Patterns of what arrives.
const (
	bare     = `[^~]*Content-Length: 0\r\n\r\n`    // a message without its body
	reinvite = `INVITE sip:[^~]*c=IN IP[46] [^~]*` // a description that is the engine's
	oneAudio = reinvite + `m=audio [1-9]\d* RTP/AVP 0\r\n`
)

var leakScenarios = []leakScenario{
	{"nothing but the call", func(*leakStage, *proxytest.Call, *proxytest.Call) int { return 200 }, 200, ""},
	{"RTCP with every item", func(w *leakStage, a, b *proxytest.Call) int {
		w.Wait(7 * time.Second)
		if names := b.CNAMEs(); len(names) != 1 || len(a.CNAMEs()) != 1 {
			w.T().Errorf("RTCP told %q", names)
		}
		return 200
	}, 200, ""},
	{"hold and resume", does(func(ctx context.Context, c *proxytest.Call) error {
		if err := c.Hold(ctx); err != nil {
			return err
		}
		return c.Resume(ctx)
	}), 200, reinvite + `a=sendonly[^~]*` + reinvite + `a=sendrecv`},
	{
		"re-INVITE", does(func(ctx context.Context, c *proxytest.Call) error { return c.Reinvite(ctx) }),
		200, reinvite,
	},
	{"re-INVITE with a late offer", does(func(ctx context.Context, c *proxytest.Call) error {
		return c.Reinvite(ctx, phone.LateOffer())
	}), 200, `INVITE sip:` + bare + `ACK sip:[^~]*a=rtpmap:0 PCMU/8000`},
	{
		"UPDATE", does(func(ctx context.Context, c *proxytest.Call) error { return c.Update(ctx) }),
		200, `UPDATE sip:` + bare,
	},
	{"UPDATE with an offer", does(func(ctx context.Context, c *proxytest.Call) error {
		return c.Update(ctx, phone.EarlyMedia())
	}), 200, `UPDATE sip:[^~]*a=rtpmap:0 PCMU/8000`},
	{"session refresh", func(w *leakStage, a, _ *proxytest.Call) int {
		a.Does(func(ctx context.Context) error { return a.Update(ctx, phone.SessionTimer(90, "uac")) })
		w.Wait(time.Minute)
		return 200
	}, 200, `UPDATE sip:[^~]*Session-Expires: 90;refresher=uac[^~]*UPDATE sip:`},
	{"digits in RTP", func(w *leakStage, a, b *proxytest.Call) int {
		a.Does(func(context.Context) error { return a.Digits("42#") })
		b.Does(func(ctx context.Context) error { return b.HearsDigits(ctx, "42#") })
		return 200
	}, 200, ""},
	{
		"INFO with a digit", does(func(ctx context.Context, c *proxytest.Call) error { return c.Info(ctx, "5") }),
		200, `INFO sip:[^~]*Signal=5\r\nDuration=160`,
	},
	{
		"INFO, more than a digit", writes("INFO", "application/dtmf-relay", "Signal=5\r\nX=HOST\r\nDuration=160\r\n"),
		200, `INFO sip:[^~]*\r\n\r\nSignal=5\r\nDuration=160\r\n$`,
	},
	{
		"INFO, trickle ICE", writes("INFO", "application/trickle-ice-sdpfrag",
			"a=ice-ufrag:HOST\r\na=candidate:1 1 UDP 1 HOST 9 typ host\r\n", phone.Header("Info-Package", "trickle-ice")),
		200, `INFO sip:` + bare,
	},
	{"re-INVITE, multipart", parts, 200, oneAudio + `(ACK|$)`},
	{"INFO, multipart", writes("INFO", "multipart/mixed;boundary=x",
		"--x\r\nContent-Type: application/dtmf\r\n\r\n5 HOST\r\n--x--\r\n"), 200, `INFO sip:` + bare},
	{
		"INFO, position", writes("INFO", "application/pidf+xml", `<presence entity="sip:x@HOST"/>`),
		200, `INFO sip:` + bare,
	},
	{"INFO, ISUP", writes("INFO", "application/isup", "HOST"), 200, `INFO sip:` + bare},
	{
		"INFO, picture update", writes("INFO", "application/media_control+xml",
			"<media_control><to_encoder><picture_fast_update/>HOST</to_encoder></media_control>"),
		200, `INFO sip:[^~]*<picture_fast_update/></to_encoder></vc_primitive>`,
	},
	{
		"MESSAGE, text", writes("MESSAGE", "text/plain;x=HOST", "hello"),
		200, `MESSAGE sip:[^~]*Content-Type: text/plain;charset=UTF-8\r\n[^~]*\r\n\r\nhello$`,
	},
	{"MESSAGE, CPIM", writes("MESSAGE", "message/cpim", "From: <sip:x@HOST>\r\n\r\nhello"), 415, ""},
	{
		"MESSAGE, IMDN",
		writes("MESSAGE", "message/imdn+xml", "<imdn><recipient-uri>sip:x@HOST</recipient-uri></imdn>"),
		415, "",
	},
	{
		"MESSAGE, composing",
		writes("MESSAGE", "application/im-iscomposing+xml", "<isComposing>HOST</isComposing>"),
		415, "",
	},
	{
		"MESSAGE, file transfer",
		writes("MESSAGE", "application/vnd.gsma.rcs-ft-http+xml", `<data url="http://HOST/"/>`),
		415, "",
	},
	{
		"MESSAGE, external body",
		writes("MESSAGE", `message/external-body;access-type=URL;URL="http://x/"`, "HOST"),
		415, "",
	},
	{"MESSAGE, card", writes("MESSAGE", "text/vcard", "PHOTO:http://HOST/\r\n"), 415, ""},
	{"OPTIONS", tells("OPTIONS"), 200, `OPTIONS sip:` + bare},
	{"PUBLISH", writes("PUBLISH", "application/pidf+xml", `<presence entity="sip:x@HOST"/>`,
		phone.Header("Event", "presence")), 405, ""},
	{"method that nobody knows", tells("LOOKUP"), 405, ""},
	{"SUBSCRIBE, dialog", tells("SUBSCRIBE", phone.Header("Event", "dialog")), 200, `SUBSCRIBE sip:[^~]*Event: dialog`},
	{
		"SUBSCRIBE, presence", tells("SUBSCRIBE", phone.Header("Event", "presence")),
		200, `SUBSCRIBE sip:[^~]*Event: presence`,
	},
	{"SUBSCRIBE, reg", tells("SUBSCRIBE", phone.Header("Event", "reg")), 200, `SUBSCRIBE sip:` + bare},
	{
		"NOTIFY, dialog",
		writes("NOTIFY", "application/dialog-info+xml", "<target uri='sip:x@HOST'/>", state("dialog")...),
		200, `NOTIFY sip:[^~]*Event: dialog` + bare,
	},
	{"NOTIFY, dialog with names", func(_ *leakStage, a, _ *proxytest.Call) int {
		return a.Asks("NOTIFY", append(state("dialog"),
			phone.Body("application/dialog-info+xml", telling(a, "confirmed")))...)
	}, 200, `NOTIFY sip:[^~]*<dialog id="[\w-]{16}" call-id="s1-[\w-]+" local-tag="0" remote-tag="0"` +
		` direction="recipient"><state code="180">confirmed</state><remote><identity>sip:\w+@sotto.example</identity>` +
		`<target uri="sip:\w+@sotto.example"/></remote></dialog>\r\n</dialog-info>\r\n$`},
	{
		"NOTIFY, reg", writes("NOTIFY", "application/reginfo+xml", "<uri>sip:x@HOST</uri>", state("reg")...),
		200, `NOTIFY sip:` + bare,
	},
	{
		"NOTIFY, presence", writes("NOTIFY", "application/pidf+xml", "<contact>sip:x@HOST</contact>", state("presence")...),
		200, `NOTIFY sip:[^~]*Event: presence` + bare,
	},
	{"NOTIFY, conference", writes("NOTIFY", "application/conference-info+xml", "<uri>sip:x@HOST</uri>",
		state("conference")...), 200, `NOTIFY sip:[^~]*Event: conference` + bare},
	{
		"NOTIFY, message summary", writes("NOTIFY", "application/simple-message-summary",
			"Messages-Waiting: yes\r\nMessage-Account: sip:x@HOST\r\n", state("message-summary")...),
		200, `NOTIFY sip:[^~]*Event: message-summary` + bare,
	},
	{
		"NOTIFY, more than a status", writes("NOTIFY", "message/sipfrag",
			"SIP/2.0 200 HOST\r\nContact: <sip:x@HOST>\r\n", state("refer")...),
		200, `NOTIFY sip:[^~]*\r\n\r\nSIP/2.0 200 OK\r\n$`,
	},
	{
		"REFER", tells("REFER", phone.Header("Refer-To", "<"+proxytest.URI("carol")+">")),
		202, `REFER sip:[^~]*Refer-To: <sip:carol@sotto.example>`,
	},
	{"REFER that is refused", func(_ *leakStage, a, b *proxytest.Call) int {
		b.Does(func(context.Context) error { return b.Refuse("REFER", 603) })
		return a.Asks("REFER", phone.Header("Refer-To", "<"+proxytest.URI("carol")+">"))
	}, 603, `REFER sip:[^~]*Refer-To: <sip:carol@sotto.example>`},
	{"REFER to an own address", func(_ *leakStage, a, _ *proxytest.Call) int {
		return a.Asks("REFER", phone.Header("Refer-To", "<sip:x@"+a.Phone.Local().String()+">"))
	}, 403, ""},
	{"REFER with a route in it", func(_ *leakStage, a, _ *proxytest.Call) int {
		return a.Asks("REFER", phone.Header("Refer-To",
			"<"+proxytest.URI("carol")+"?Route=%3Csip%3A"+a.Phone.Local().Addr().String()+"%3E>"))
	}, 202, `REFER sip:[^~]*Refer-To: <sip:carol@sotto.example>\r\n`},
	{"re-INVITE that is refused", func(_ *leakStage, a, b *proxytest.Call) int {
		b.Does(func(context.Context) error { return b.Refuse("INVITE", 488) })
		a.Does(func(ctx context.Context) error {
			_ = a.Reinvite(ctx) // its final tells
			return nil
		})
		return lastFinal(a)
	}, 488, reinvite},
	{"ICE restart", offers(audio, "a=ice-ufrag:HOST", "a=ice-pwd:HOSTHOSTHOSTHOSTHOSTHOST",
		"a=candidate:HOST 1 UDP 1 HOST 9 typ srflx raddr HOST rport 9", "a=remote-candidates:1 HOST 9",
		"a=end-of-candidates", "a=ice-options:trickle"), 200, oneAudio},
	{
		"sources and groups", offers("a=group:BUNDLE HOST", "a=msid-semantic:WMS HOST", audio, "a=mid:HOST",
			"a=ssrc:1 cname:x@HOST", "a=msid:HOST x", "a=label:HOST", "a=extmap:1 urn:x:HOST", "a=rtcp-xr:HOST"),
		200, oneAudio,
	},
	{
		"fmtp of an own kind",
		offers("m=audio PORT RTP/AVP 0 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:97 iLBC/8000",
			"a=fmtp:97 mode=HOST;x=HOST;mode=20;HOST", "a=imageattr:0 HOST"),
		200, reinvite + `m=audio [1-9]\d* RTP/AVP 0 97\r\na=rtpmap:0 PCMU/8000\r\n` +
			`a=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=20\r\n`,
	},
	{"codec of an own kind", offers("m=audio PORT RTP/AVP 0 97", "a=rtpmap:97 HOST/8000"), 200, oneAudio},
	{"RTCP at an own address", offers(audio, "a=rtcp:4001 IN FAM HOST", "a=rtcp-fb:* nack HOST"), 200, oneAudio},
	{"T.38", faxes, 200, reinvite + `m=image [1-9]\d* udptl t38\r\na=T38FaxVersion:0\r\n(ACK|$)`},
	{"T.38 that is refused", offers("m=image PORT udptl t38", "a=T38FaxVersion:0", "a=T38VendorInfo:HOST",
		"a=T38FaxUdpEC:HOST"), 488, reinvite + `m=image [1-9]\d* udptl t38\r\na=T38FaxVersion:0\r\n(ACK|$)`},
	{
		"MSRP", offers(audio, "m=message 4002 TCP/MSRP *", "a=path:msrp://HOST:4002/x;tcp"),
		200, oneAudio + `m=message 0 TCP/MSRP \*\r\n`,
	},
	{
		"BFCP", offers(audio, "m=application 4004 TCP/BFCP *", "a=floorctrl:HOST", "a=confid:HOST"),
		200, oneAudio + `m=application 0 TCP/BFCP \*\r\n`,
	},
	{
		"SCTP", offers(audio, "m=application 4006 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "a=x:HOST"),
		200, oneAudio + `m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n`,
	},
	{"medium of an own kind", offers(audio, "m=xHOST 4006 HOST/HOST HOST"), 200, oneAudio + `m=audio 0 RTP/AVP 0\r\n`},
	{"description with a name in c=", offers(audio, "c=IN FAM marked-HOST.example"), 488, ""},
	{"keys and times", offers("k=uri:http://HOST/", "z=0 HOST", audio, "k=clear:HOST", "i=HOST", "b=X-HOST:1"), 488, ""},
	{"STUN and RTCP APP on the media port", probes, 200, ""},
	{"RTCP XR", extended, 200, ""},
}

// faxes sends a re-INVITE to T.38, which the other takes, and a packet of UDPTL each way.
func faxes(w *leakStage, a, b *proxytest.Call) int {
	lines := []string{"m=image PORT udptl t38", "a=T38FaxVersion:0", "a=T38VendorInfo:HOST", "a=T38FaxUdpEC:HOST"}
	b.Does(func(context.Context) error { return b.WillAnswer(description(b, lines...)) })
	code := offers(lines...)(w, a, b)
	for _, way := range [][2]*proxytest.Call{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		sends := []byte("\x00\x01\x05fax of " + from.Phone.User)
		from.Does(func(context.Context) error { return from.Send(sends, imageOf(from)) })
		w.Wait(50 * time.Millisecond)
		from.Does(func(context.Context) error { return from.Send(sends, imageOf(from)) })
		w.Wait(50 * time.Millisecond)
		if !received(to.Phone, phone.RTP, sends) {
			w.T().Errorf("%s got no fax of %s", to.Phone.User, from.Phone.User)
		}
	}
	return code
}

// imageOf is where a phone was last told to send its fax.
func imageOf(c *proxytest.Call) netip.AddrPort {
	all := sipSince(c.Phone, 0)
	host := regexp.MustCompile(`c=IN IP[46] (\S+)`).FindAllStringSubmatch(all, -1)
	port := regexp.MustCompile(`m=image (\d+)`).FindAllStringSubmatch(all, -1)
	if len(host) == 0 || len(port) == 0 {
		return netip.AddrPort{}
	}
	at, _ := netip.ParseAddrPort(net.JoinHostPort(host[len(host)-1][1], port[len(port)-1][1])) // zero: nothing arrives
	return at
}

// received says that a phone received a packet with these octets in it.
func received(p *proxytest.Phone, kind phone.Kind, what []byte) bool {
	for _, k := range p.Received(kind) {
		if bytes.Contains(k.Data, what) {
			return true
		}
	}
	return false
}

// probes sends RTCP with a report and an APP, sound with a header extension,
// and a STUN request; the report's time is the address. The report and the sound arrive, and nothing else.
func probes(w *leakStage, a, b *proxytest.Call) int {
	own := a.Phone.Local().Addr().String()
	own += strings.Repeat("\x00", (4-len(own)%4)%4)
	words := 2 + len(own)/4
	ip := a.Phone.Local().Addr().As16()
	report := slices.Concat([]byte{0x80, 200, 0, 6, 0xab, 0xcd, 0xef, 0x77}, ip[8:], make([]byte, 12))
	sound := slices.Concat([]byte{0x90, 0, 0, 1, 0, 0, 0, 1, 0xab, 0xcd, 0xef, 0x77, 0xbe, 0xde, 0, byte(len(own) / 4)},
		[]byte(own), []byte("SOUND"))
	app := append([]byte{0x80, 204, 0, byte(words), 0xab, 0xcd, 0xef, 0x77, 'M', 'A', 'R', 'K'}, own...)
	stun := append([]byte{
		0, 1, 0, byte(4 + len(own)), 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 0x80, 0x22,
		0, byte(len(own)),
	}, own...)
	a.Report(append(report, app...))
	for _, packet := range [][]byte{stun, sound} {
		a.Does(func(context.Context) error { return a.Send(packet, a.Remote()) })
	}
	w.Wait(100 * time.Millisecond)
	if !received(b.Phone, phone.RTCP, report[:8]) || !received(b.Phone, phone.RTP, []byte("SOUND")) {
		w.T().Errorf("the report or the sound of %s did not arrive", a.Phone.User)
	}
	if received(b.Phone, phone.RTCP, []byte("MARK")) || received(b.Phone, phone.RTP, stun[4:20]) {
		w.T().Errorf("an APP or a STUN request of %s arrived", a.Phone.User)
	}
	return 200
}
