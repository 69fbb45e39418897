package proxy_test

import (
	"context"
	"strings"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// The leak harness (leaks.md §5): each of these is played by the caller and by
// the callee of a protected call, over every transport and family. Then every
// byte that each got is searched for what the other knows of itself, in every form.

// A leakScenario is something that a party of a call does to the other.
type leakScenario struct {
	name string
	play func(w *leakStage, a, b *proxytest.Call)
}

// leakStage is where scenarios are played.
type leakStage struct {
	*proxytest.Stage
	alice, bob *proxytest.Phone
}

// tells sends a request within the call, whatever becomes of it.
func tells(method string, opts ...phone.Option) func(*leakStage, *proxytest.Call, *proxytest.Call) {
	return func(_ *leakStage, a, _ *proxytest.Call) { a.Asks(method, opts...) }
}

// writes sends a body of a type in which HOST stands for the sender's own address.
func writes(method, kind, text string, headers ...phone.Option) func(*leakStage, *proxytest.Call, *proxytest.Call) {
	return func(_ *leakStage, a, _ *proxytest.Call) {
		own := a.Phone.Local().Addr().String()
		a.Asks(method, append(headers, phone.Body(kind, strings.ReplaceAll(text, "HOST", own)))...)
	}
}

// offers sends a re-INVITE with a description; the other may refuse it.
func offers(media ...string) func(*leakStage, *proxytest.Call, *proxytest.Call) {
	return func(_ *leakStage, a, _ *proxytest.Call) {
		own, family := a.Phone.Local().Addr(), "IP4"
		if own.Is6() {
			family = "IP6"
		}
		head := []string{
			"v=0", "o=HOST 77 77 IN FAM HOST", "s=HOST", "i=HOST", "u=http://HOST/", "e=x@HOST",
			"c=IN FAM HOST", "t=0 0", "a=tool:HOST",
		}
		text := strings.Join(append(head, media...), "\r\n") + "\r\n"
		text = strings.NewReplacer("HOST", own.String(), "FAM", family).Replace(text)
		a.Does(func(ctx context.Context) error {
			_ = a.Reinvite(ctx, phone.Body("application/sdp", text)) // a refusal will do
			return nil
		})
	}
}

// does is a step of the call that must succeed.
func does(step func(context.Context, *proxytest.Call) error) func(*leakStage, *proxytest.Call, *proxytest.Call) {
	return func(_ *leakStage, a, _ *proxytest.Call) {
		a.Does(func(ctx context.Context) error { return step(ctx, a) })
	}
}

// state is how a NOTIFY within a call is written.
func state(event string) []phone.Option {
	return []phone.Option{
		phone.Header("Event", event), phone.Header("Subscription-State", "active;expires=60"),
	}
}

const audio = "m=audio 4000 RTP/AVP 0"

var leakScenarios = []leakScenario{
	{"nothing but the call", func(*leakStage, *proxytest.Call, *proxytest.Call) {}},
	{"RTCP with every item", func(w *leakStage, _, _ *proxytest.Call) { w.Wait(7 * time.Second) }},
	{"hold and resume", does(func(ctx context.Context, c *proxytest.Call) error {
		if err := c.Hold(ctx); err != nil {
			return err
		}
		return c.Resume(ctx)
	})},
	{"re-INVITE", does(func(ctx context.Context, c *proxytest.Call) error { return c.Reinvite(ctx) })},
	{"re-INVITE with a late offer", does(func(ctx context.Context, c *proxytest.Call) error {
		return c.Reinvite(ctx, phone.LateOffer())
	})},
	{"UPDATE", does(func(ctx context.Context, c *proxytest.Call) error { return c.Update(ctx) })},
	{"UPDATE with an offer", does(func(ctx context.Context, c *proxytest.Call) error {
		return c.Update(ctx, phone.EarlyMedia())
	})},
	{"session refresh", func(w *leakStage, a, _ *proxytest.Call) {
		a.Does(func(ctx context.Context) error { return a.Update(ctx, phone.SessionTimer(90, "uac")) })
		w.Wait(time.Minute)
	}},
	{"digits in RTP", does(func(_ context.Context, c *proxytest.Call) error { return c.Digits("42#") })},
	{"INFO with a digit", does(func(ctx context.Context, c *proxytest.Call) error { return c.Info(ctx, "5") })},
	{"INFO, more than a digit", writes("INFO", "application/dtmf-relay", "Signal=5\r\nX=HOST\r\nDuration=160\r\n")},
	{"INFO, trickle ICE", writes("INFO", "application/trickle-ice-sdpfrag",
		"a=ice-ufrag:HOST\r\na=candidate:1 1 UDP 1 HOST 9 typ host\r\n", phone.Header("Info-Package", "trickle-ice"))},
	{"INFO, multipart", writes("INFO", "multipart/mixed;boundary=x",
		"--x\r\nContent-Type: application/dtmf\r\n\r\n5 HOST\r\n--x--\r\n")},
	{"INFO, position", writes("INFO", "application/pidf+xml", `<presence entity="sip:x@HOST"/>`)},
	{"INFO, ISUP", writes("INFO", "application/isup", "HOST")},
	{"INFO, picture update", writes("INFO", "application/media_control+xml",
		"<media_control><to_encoder><picture_fast_update/>HOST</to_encoder></media_control>")},
	{"MESSAGE, CPIM", writes("MESSAGE", "message/cpim", "From: <sip:x@HOST>\r\n\r\nhello")},
	{"MESSAGE, IMDN", writes("MESSAGE", "message/imdn+xml", "<imdn><recipient-uri>sip:x@HOST</recipient-uri></imdn>")},
	{"MESSAGE, composing", writes("MESSAGE", "application/im-iscomposing+xml", "<isComposing>HOST</isComposing>")},
	{"MESSAGE, file transfer", writes("MESSAGE", "application/vnd.gsma.rcs-ft-http+xml", `<data url="http://HOST/"/>`)},
	{"MESSAGE, external body", writes("MESSAGE", `message/external-body;access-type=URL;URL="http://x/"`, "HOST")},
	{"MESSAGE, card", writes("MESSAGE", "text/vcard", "PHOTO:http://HOST/\r\n")},
	{"OPTIONS", tells("OPTIONS")},
	{"PUBLISH", writes("PUBLISH", "application/pidf+xml", `<presence entity="sip:x@HOST"/>`,
		phone.Header("Event", "presence"))},
	{"method that nobody knows", tells("LOOKUP")},
	{"SUBSCRIBE, dialog", tells("SUBSCRIBE", phone.Header("Event", "dialog"))},
	{"SUBSCRIBE, presence", tells("SUBSCRIBE", phone.Header("Event", "presence"))},
	{"SUBSCRIBE, reg", tells("SUBSCRIBE", phone.Header("Event", "reg"))},
	{"NOTIFY, dialog", writes("NOTIFY", "application/dialog-info+xml", "<target uri='sip:x@HOST'/>", state("dialog")...)},
	{"NOTIFY, reg", writes("NOTIFY", "application/reginfo+xml", "<uri>sip:x@HOST</uri>", state("reg")...)},
	{"NOTIFY, presence", writes("NOTIFY", "application/pidf+xml", "<contact>sip:x@HOST</contact>", state("presence")...)},
	{"NOTIFY, conference", writes("NOTIFY", "application/conference-info+xml", "<uri>sip:x@HOST</uri>",
		state("conference")...)},
	{"NOTIFY, message summary", writes("NOTIFY", "application/simple-message-summary",
		"Messages-Waiting: yes\r\nMessage-Account: sip:x@HOST\r\n", state("message-summary")...)},
	{"NOTIFY, more than a status", writes("NOTIFY", "message/sipfrag",
		"SIP/2.0 200 HOST\r\nContact: <sip:x@HOST>\r\n", state("refer")...)},
	{"REFER", does(func(ctx context.Context, c *proxytest.Call) error { return c.Refer(ctx, proxytest.URI("carol")) })},
	{"REFER that is refused", func(_ *leakStage, a, b *proxytest.Call) {
		b.Does(func(context.Context) error { return b.Refuse("REFER", 603) })
		a.Asks("REFER", phone.Header("Refer-To", "<"+proxytest.URI("carol")+">"))
	}},
	{"REFER to an own address", func(_ *leakStage, a, _ *proxytest.Call) {
		a.Asks("REFER", phone.Header("Refer-To", "<sip:x@"+a.Phone.Local().String()+">"))
	}},
	{"REFER with a route in it", func(_ *leakStage, a, _ *proxytest.Call) {
		a.Asks("REFER", phone.Header("Refer-To",
			"<"+proxytest.URI("carol")+"?Route=%3Csip%3A"+a.Phone.Local().Addr().String()+"%3E>"))
	}},
	{"re-INVITE that is refused", func(_ *leakStage, a, b *proxytest.Call) {
		b.Does(func(context.Context) error { return b.Refuse("INVITE", 488) })
		a.Does(func(ctx context.Context) error {
			_ = a.Reinvite(ctx) // it is refused
			return nil
		})
	}},
	{"ICE restart", offers(audio, "a=ice-ufrag:HOST", "a=ice-pwd:HOSTHOSTHOSTHOSTHOSTHOST",
		"a=candidate:HOST 1 UDP 1 HOST 9 typ srflx raddr HOST rport 9", "a=remote-candidates:1 HOST 9",
		"a=end-of-candidates", "a=ice-options:trickle")},
	{"sources and groups", offers("a=group:BUNDLE HOST", "a=msid-semantic:WMS HOST", audio, "a=mid:HOST",
		"a=ssrc:1 cname:x@HOST", "a=msid:HOST x", "a=label:HOST", "a=extmap:1 urn:x:HOST", "a=rtcp-xr:HOST")},
	{"fmtp of an own kind", offers(audio, "a=fmtp:0 mode=HOST;x=HOST;HOST", "a=rtpmap:0 PCMU/8000", "a=imageattr:0 HOST")},
	{"RTCP at an own address", offers(audio, "a=rtcp:4001 IN FAM HOST", "a=rtcp-fb:* nack HOST")},
	{"T.38", offers("m=image 4000 udptl t38", "a=T38FaxVersion:0", "a=T38VendorInfo:HOST", "a=T38FaxUdpEC:HOST")},
	{"MSRP", offers(audio, "m=message 4002 TCP/MSRP *", "a=path:msrp://HOST:4002/x;tcp")},
	{"BFCP", offers(audio, "m=application 4004 TCP/BFCP *", "a=floorctrl:HOST", "a=confid:HOST")},
	{"SCTP", offers(audio, "m=application 4006 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "a=x:HOST")},
	{"description with a name in c=", offers(audio, "c=IN FAM marked-HOST.example")},
	{"keys and times", offers("k=uri:http://HOST/", "z=0 HOST", audio, "k=clear:HOST", "i=HOST", "b=X-HOST:1")},
	{"STUN and RTCP APP on the media port", func(_ *leakStage, a, _ *proxytest.Call) {
		own := a.Phone.Local().Addr().String()
		own += strings.Repeat("\x00", (4-len(own)%4)%4)
		words := 2 + len(own)/4
		app := append([]byte{0x80, 204, 0, byte(words), 0, 0, 0, 1, 'M', 'A', 'R', 'K'}, own...)
		stun := append([]byte{
			0, 1, 0, byte(4 + len(own)), 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 0x80, 0x22,
			0, byte(len(own)),
		}, own...)
		for _, b := range [][]byte{app, stun} {
			a.Does(func(context.Context) error { return a.Send(b, a.Remote()) })
		}
	}},
}
