package proxy

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// What must never reach the other leg.
var markers = []string{
	"192.168.77.23", "203.0.113.99", "2001:db8:bad:cafe::17", "alices-laptop", "M4RK3R",
	"00000000-dead-beef-0000-a0c91e6bf600",
}

// forms are all forms of the markers that are searched for, in lower case.
var forms = sync.OnceValue(func() []string {
	all := []string{"c0a84d17", "3232255255", "23.77.168.192"}
	for _, m := range markers {
		all = append(all, m, hex.EncodeToString([]byte(m)), url.QueryEscape(m))
		for shift := range 3 {
			e := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + m))
			all = append(all, e[4*((shift+2)/3):len(e)-2])
		}
	}
	for i, f := range all {
		all[i] = strings.ToLower(f)
	}
	return all
})

// leak says which marker, in which form, is in out; "" for none.
func leak(out string) string {
	low := strings.ToLower(out)
	for _, f := range forms() {
		if strings.Contains(low, f) {
			return f
		}
	}
	return ""
}

func parseMessage(t testing.TB, text string) sip.Message {
	t.Helper()
	m, err := sip.NewParser().ParseSIP([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func parseRequest(t testing.TB, text string) *sip.Request {
	t.Helper()
	req, ok := parseMessage(t, text).(*sip.Request)
	if !ok {
		t.Fatalf("no request:\n%s", text)
	}
	return req
}

func parseResponse(t testing.TB, text string) *sip.Response {
	t.Helper()
	res, ok := parseMessage(t, text).(*sip.Response)
	if !ok {
		t.Fatalf("no response:\n%s", text)
	}
	return res
}

// lines makes a message of lines.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

// invite is alice's INVITE with markers wherever a phone puts its address.
func invite(more ...string) string {
	return lines(append([]string{
		"INVITE sip:bob@example.com SIP/2.0",
		"Via: SIP/2.0/UDP 192.168.77.23:5060;branch=z9hG4bK-M4RK3R;rport=5060;received=203.0.113.99",
		"Max-Forwards: 70",
		`From: "Alice" <sip:alice@192.168.77.23:5060;ob>;tag=a-192.168.77.23`,
		"To: <sip:bob@example.com>",
		"Call-ID: 4711@192.168.77.23",
		"CSeq: 20 INVITE",
	}, more...)...)
}

// aliceSends is the hide for alice, the caller.
func aliceSends(t testing.TB) hide {
	return hide{
		seal: sealerOf(t, secretA, nil), from: callerLeg, domain: "example.com",
		ours:    func(host string) bool { return host == "example.com" || host == "198.51.100.1" },
		sender:  sip.Uri{Scheme: "sip", User: "alice", Host: "example.com"},
		contact: sealedContact(),
	}
}

func sealedContact() *sip.ContactHeader {
	return &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "s1-box", Host: "198.51.100.1"}}
}

// bobsContact is where a request to bob goes.
var bobsContact = sip.Uri{Scheme: "sip", User: "bob", Host: "10.9.8.7", Port: 5070}

func TestInviteIsRebuilt(t *testing.T) {
	h := aliceSends(t)
	in := parseRequest(t, invite(
		`m: "Alice" <sip:alice@192.168.77.23;ob>;+sip.instance="<urn:uuid:`+markers[5]+`>"`,
		"k: timer, 100rel, x-M4RK3R, replaces", "Allow: INVITE, UPDATE, M4RK3R",
		"x: 1800;refresher=uac", "Min-SE: 90", "User-Agent: M4RK3R/192.168.77.23",
		"P-Asserted-Identity: <sip:alice@192.168.77.23>", "Subject: from alices-laptop",
	))
	out, err := h.request(in, bobsContact)
	if err != nil {
		t.Fatal(err)
	}
	want := lines(
		"INVITE sip:bob@10.9.8.7:5070 SIP/2.0",
		"Max-Forwards: 60",
		`From: "Alice" <sip:alice@example.com>;tag=`+h.seal.tag("a-192.168.77.23"),
		"To: <sip:bob@example.com>",
		"Call-ID: "+h.seal.callID("4711@192.168.77.23"),
		"CSeq: 20 INVITE",
		"Contact: <sip:s1-box@198.51.100.1>",
		"Supported: 100rel, timer, replaces",
		"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, INFO, REFER, NOTIFY, MESSAGE, UPDATE",
		"Session-Expires: 1800;refresher=uac",
		"Min-SE: 90",
		"Content-Length: 0",
	)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if l := leak(out.String()); l != "" {
		t.Error(l)
	}
}

func TestAnswerIsRebuilt(t *testing.T) {
	h := aliceSends(t)
	h.from = calleeLeg // of the answer
	up := parseRequest(t, lines(
		"INVITE sip:bob+pt1.tok@example.com SIP/2.0",
		"Via: SIP/2.0/TCP 10.1.1.1:5060;branch=z9hG4bK1", "Via: SIP/2.0/UDP 10.1.1.2;branch=z9hG4bK2",
		`From: "Carol" <sip:carol@example.com>;tag=c1`, `To: "Bobby" <sip:bob+pt1.tok@example.com>`,
		"Call-ID: c-1", "CSeq: 7 INVITE",
	))
	in := parseResponse(t, lines(
		"SIP/2.0 200 Fine from 192.168.77.23",
		"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-ours",
		"Record-Route: <sip:192.168.77.23;lr>",
		"From: <sip:carol@example.com>;tag="+h.seal.tag("c1"),
		`To: "M4RK3R" <sip:bob@192.168.77.23>;tag=b-192.168.77.23`,
		"Call-ID: "+h.seal.callID("c-1"), "CSeq: 7 INVITE",
		"Contact: <sip:bob@192.168.77.23>", "Server: M4RK3R", "Require: timer",
		"Session-Expires: 900;refresher=uas;x=M4RK3R", "Warning: 399 192.168.77.23 \"M4RK3R\"",
	))
	out, err := h.response(in, up)
	if err != nil {
		t.Fatal(err)
	}
	want := lines(
		"SIP/2.0 200 OK",
		"Via: SIP/2.0/TCP 10.1.1.1:5060;branch=z9hG4bK1", "Via: SIP/2.0/UDP 10.1.1.2;branch=z9hG4bK2",
		`From: "Carol" <sip:carol@example.com>;tag=c1`,
		`To: "Bobby" <sip:bob+pt1.tok@example.com>;tag=`+h.seal.tag("b-192.168.77.23"),
		"Call-ID: c-1", "CSeq: 7 INVITE", "Contact: <sip:s1-box@198.51.100.1>",
		"Require: timer", "Allow: "+allowConstant, "Session-Expires: 900;refresher=uas",
		"Content-Length: 0",
	)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// A whole dialog, both ways, with and without a facade that answered first.
func TestDialogIdentifiers(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	const shown = "t1-0123456789abcdef"
	for name, tags := range map[string][2]string{"plain": {"", ""}, "facade": {"bobs", shown}} {
		toAlice := s.tag("bobs") // bob's tag as alice knows it
		if tags[1] != "" {
			toAlice = tags[1]
		}
		b := box{leg: callerLeg, mark: markOf("c-1"), ownTag: tags[0], shownTag: tags[1]}
		fromAlice := parseRequest(t, lines("BYE sip:x@198.51.100.1 SIP/2.0",
			"From: <sip:alice@example.com>;tag=alices", "To: <sip:bob@example.com>;TAG="+toAlice,
			"Call-ID: c-1", "CSeq: 8 BYE"))
		h := hideFrom(s, b)
		h.domain = "example.com"
		out, err := h.request(fromAlice, bobsContact)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkDialog(t, name, out, [3]string{s.callID("c-1"), s.tag("alices"), "bobs"})

		b.leg = calleeLeg
		fromBob := parseRequest(t, lines("BYE sip:x@198.51.100.1 SIP/2.0",
			"From: <sip:bob@example.com>;tag=bobs", "To: <sip:alice@example.com>;tag="+s.tag("alices"),
			"Call-ID: "+s.callID("c-1"), "CSeq: 1 BYE"))
		h = hideFrom(s, b)
		h.domain = "example.com"
		if out, err = h.request(fromBob, bobsContact); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkDialog(t, name, out, [3]string{"c-1", toAlice, "alices"})
	}
}

func checkDialog(t *testing.T, name string, m sip.Message, want [3]string) {
	t.Helper()
	from, _ := tagOf(m.From().Params)
	to, _ := tagOf(m.To().Params)
	if got := [3]string{m.CallID().Value(), from, to}; got != want {
		t.Errorf("%s:\n got %q\nwant %q", name, got, want)
	}
}

// A box is good for its own dialog and from its own leg only.
func TestForeignIdentifiersDoNotOpen(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	bye := func(callID, to string) *sip.Request {
		return parseRequest(t, lines("BYE sip:x@198.51.100.1 SIP/2.0",
			"From: <sip:a@example.com>;tag=a", "To: <sip:b@example.com>;tag="+to,
			"Call-ID: "+callID, "CSeq: 8 BYE"))
	}
	for name, c := range map[string]struct {
		leg leg
		req *sip.Request
	}{
		"other Call-ID":           {callerLeg, bye("c-2", s.tag("b"))},
		"raw tag":                 {callerLeg, bye("c-1", "b")},
		"raw Call-ID from callee": {calleeLeg, bye("c-1", s.tag("b"))},
		"raw tag from callee":     {calleeLeg, bye(s.callID("c-1"), "b")},
		"other sealed Call-ID":    {calleeLeg, bye(s.callID("c-2"), s.tag("b"))},
		"Call-ID of other leg":    {callerLeg, bye(s.callID("c-1"), s.tag("b"))},
	} {
		h := hideFrom(s, box{leg: c.leg, mark: markOf("c-1")})
		if out, err := h.request(c.req, bobsContact); !errors.Is(err, errForged) {
			t.Errorf("%s: %v\n%v", name, err, out)
		}
	}
}

// leaksHeaders are all headers of leaks.md §1, and more that phones and
// servers are known to send.
var leaksHeaders = []string{
	"Via", "Record-Route", "Route", "Path", "Service-Route", "User-Agent", "Server", "Organization",
	"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "P-Access-Network-Info",
	"P-Visited-Network-ID", "Cellular-Network-Info", "P-Charging-Vector",
	"P-Charging-Function-Addresses", "Geolocation", "Geolocation-Routing", "History-Info",
	"Diversion", "Referred-By", "P-Called-Party-ID", "Reply-To", "Call-Info", "Alert-Info",
	"Error-Info", "Icon", "Warning", "Reason", "Retry-After", "Timestamp", "Subject", "Session-ID",
	"Identity", "Authorization", "Proxy-Authorization", "Allow", "Supported", "Accept",
	"Accept-Language", "Require", "Date", "Refer-To", "Replaces", "Join", "Target-Dialog",
	"In-Reply-To", "Privacy", "Privacy-Token", "X-Privacy-Token", "Privacy-Token-Offer", "Allow-Events", "Event",
	"Subscription-State", "Content-Disposition", "Content-Encoding", "MIME-Version",
}

func TestEveryHeaderOfLeaksIsTreated(t *testing.T) {
	for _, name := range leaksHeaders {
		i := slices.IndexFunc(treatments, func(h headerTreatment) bool { return h.name == name })
		if i < 0 || treatments[i].why == "" {
			t.Errorf("%s has no treatment or no reason", name)
		}
	}
	for i, h := range treatments {
		if slices.IndexFunc(treatments, func(o headerTreatment) bool { return o.name == h.name }) != i {
			t.Errorf("%s is there twice", h.name)
		}
	}
}

// dirty has values for a header that carry markers in every place.
func dirty(name string) []string {
	mark := "M4RK3R;x=192.168.77.23;y=\"alices-laptop\""
	valid := map[string]string{
		"Event": "refer", "Subscription-State": "active;expires=60", "Reason": "SIP;cause=200",
		"Require": "100rel", "Supported": "timer", "Unsupported": "join", "Allow": "INVITE, UPDATE",
		"RAck": "1 2 INVITE", "RSeq": "7", "Session-Expires": "90", "Min-SE": "90", "Expires": "60",
		"Min-Expires": "60", "Retry-After": "5 (192.168.77.23)", "Info-Package": "dtmf",
		"Via": "SIP/2.0/UDP 192.168.77.23:5060;branch=z9hG4bKM4RK3R", "Refer-Sub": "true",
		"Replaces":      "4711@192.168.77.23;to-tag=M4RK3R;from-tag=alices-laptop",
		"Join":          "4711@192.168.77.23;to-tag=M4RK3R;from-tag=alices-laptop",
		"Target-Dialog": "4711@192.168.77.23;local-tag=M4RK3R;remote-tag=alices-laptop",
		"In-Reply-To":   "4711@192.168.77.23, M4RK3R", "Content-Type": "text/M4RK3R",
		"Refer-To": "<sip:carol@example.com?Replaces=4711%40192.168.77.23%3Bto-tag%3DM4RK3R" +
			"%3Bfrom-tag%3Dx&Subject=M4RK3R>",
	}[name]
	all := []string{
		mark, "<sip:alice@192.168.77.23>;+sip.instance=\"<urn:uuid:" + markers[5] + ">\"",
		"192.168.77.23", "[2001:db8:bad:cafe::17]:5060", "text, alices-laptop (M4RK3R)",
	}
	if valid != "" {
		all = append(all, valid, valid+";z=192.168.77.23", valid+", M4RK3R")
	}
	return all
}

// cases are the ways to write a header's name.
func cases(name string) []string {
	all := []string{name, strings.ToLower(name), strings.ToUpper(name)}
	for short, long := range compactNames {
		if long == strings.ToLower(name) {
			all = append(all, short, strings.ToUpper(short))
		}
	}
	return all
}

// Every header with markers in every place, in every way of writing it, once
// and repeated, in requests and responses of every method, from both legs.
func TestNoMarkerCrosses(t *testing.T) {
	names := slices.Clone(leaksHeaders)
	for _, h := range treatments {
		names = append(names, h.name)
	}
	names = append(names, "X-Alice", "P-Unknown", "Content-Type", "Foo", "Feature-Caps", "Contact")
	for _, name := range names {
		for _, written := range cases(name) {
			for _, v := range dirty(name) {
				for _, line := range [][]string{{written + ": " + v}, {written + ": " + v, name + ": " + v}} {
					crossesClean(t, line)
				}
			}
		}
	}
}

// crossesClean sends header lines across and looks for markers on the other side.
func crossesClean(t *testing.T, more []string) {
	t.Helper()
	for _, method := range []sip.RequestMethod{sip.INVITE, sip.REFER, sip.NOTIFY, sip.INFO} {
		text := strings.ReplaceAll(invite(more...), "INVITE", string(method))
		m, err := sip.NewParser().ParseSIP([]byte(text))
		if err != nil {
			continue // the gate's business
		}
		out, err := aliceSends(t).request(m.(*sip.Request), bobsContact)
		if err == nil && leak(out.String()) != "" {
			t.Fatalf("%s in a request:\n%s\nfrom\n%s", leak(out.String()), out, text)
		}
	}
	for _, code := range []int{180, 200, 405} {
		answersClean(t, code, more)
	}
}

// answersClean does the same with a response, of either party.
func answersClean(t *testing.T, code int, more []string) {
	t.Helper()
	text := lines(append([]string{
		fmt.Sprintf("SIP/2.0 %d M4RK3R", code), "From: <sip:c@example.com>;tag=1",
		`To: "192.168.77.23" <sip:b@192.168.77.23>;tag=M4RK3R`, "Call-ID: x", "CSeq: 1 INVITE",
	}, more...)...)
	m, err := sip.NewParser().ParseSIP([]byte(text))
	if err != nil {
		return
	}
	up := parseRequest(t, lines("INVITE sip:b@example.com SIP/2.0",
		"From: <sip:c@example.com>;tag=1", "To: <sip:b@example.com>", "Call-ID: x", "CSeq: 1 INVITE"))
	h := aliceSends(t)
	for _, h.from = range []leg{callerLeg, calleeLeg} {
		out, err := h.response(m.(*sip.Response), up)
		if err == nil && leak(out.String()) != "" {
			t.Fatalf("%s in a response:\n%s\nfrom\n%s", leak(out.String()), out, text)
		}
	}
}

// Values that may cross, and what is left of them.
func TestHeaderValues(t *testing.T) {
	for _, c := range []struct{ method, in, want string }{
		{"INVITE", "Require: TIMER,100rel , precondition", "Require: 100rel, timer"},
		{"INVITE", "Require: precondition", ""},
		{"INVITE", "Session-Expires: 01800;Refresher=UAS;foo", "Session-Expires: 1800;refresher=uas"},
		{"INVITE", "Session-Expires: lots", ""},
		{"INVITE", "Min-SE: 90;x", "Min-SE: 90"},
		{"INVITE", "Expires: 99999999999", ""},
		{"INVITE", "Refer-Sub: FALSE", "Refer-Sub: false"},
		{"NOTIFY", "o: refer;id=93", "Event: refer;id=93"},
		{"NOTIFY", "Event: refer;id=x9", "Event: refer"},
		{"NOTIFY", "Event: reg", ""},
		{
			"NOTIFY", "Subscription-State: terminated;reason=noresource;expires=3;retry-after=x",
			"Subscription-State: terminated;reason=noresource;expires=3",
		},
		{"NOTIFY", "Subscription-State: away", ""},
		{"PRACK", "RAck: 776656 1 INVITE", "RAck: 776656 1 INVITE"},
		{"PRACK", "RAck: 776656 1 HELLO", ""},
		{"PRACK", "RAck: 776656", ""},
		{
			"BYE", `Reason: Q.850;cause=16;text="Terminated", SIP;cause=200;text="x"`,
			"Reason: Q.850;cause=16, SIP;cause=200",
		},
		{"BYE", "Reason: X;cause=16", ""},
		{"BYE", "Reason: SIP;cause=20000", ""},
		{"BYE", "Reason: SIP", ""},
		{"CANCEL", `Reason: SIP;cause=200;text="Call completed elsewhere"`, "Reason: SIP;cause=200"},
		{"INFO", "Info-Package: infoDtmf", "Info-Package: infoDtmf"},
		{"INFO", "Info-Package: location", ""},
		{"BYE", "Retry-After: 18000;duration=3600", "Retry-After: 18000"},
	} {
		req := parseRequest(t, strings.ReplaceAll(invite(c.in), "INVITE", c.method))
		if c.method == "PRACK" {
			req = parseRequest(t, strings.Replace(
				strings.ReplaceAll(invite(), "INVITE", c.method), "CSeq: ", c.in+"\r\nCSeq: ", 1))
		}
		out, err := aliceSends(t).request(req, bobsContact)
		if err != nil {
			t.Fatalf("%s: %v", c.in, err)
		}
		name, _, _ := strings.Cut(c.in, ":")
		got := valuesOf(out, strings.ToLower(longName(name)))
		there := strings.Contains(out.String(), "\r\n"+c.want+"\r\n")
		if c.want == "" && len(got) > 0 || c.want != "" && !there {
			t.Errorf("%s: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestUnknownMethodDoesNotCross(t *testing.T) {
	for _, m := range []string{"REGISTER", "PUBLISH", "M4RK3R"} {
		req := parseRequest(t, strings.ReplaceAll(invite(), "INVITE", m))
		if out, err := aliceSends(t).request(req, bobsContact); !errors.Is(err, errMethod) {
			t.Errorf("%s: %v\n%v", m, err, out)
		}
	}
}

func TestIncompleteRequestFails(t *testing.T) {
	req := sip.NewRequest(sip.INVITE, bobsContact)
	if out, err := aliceSends(t).request(req, bobsContact); err == nil {
		t.Errorf("crossed: %v", out)
	}
	if out, err := aliceSends(t).response(sip.NewResponse(200, "OK"), req); err == nil {
		t.Errorf("crossed: %v", out)
	}
}

func TestMaxForwards(t *testing.T) {
	for in, want := range map[string]string{
		"70": "60", "69": "60", "61": "60", "60": "50", "255": "60", "11": "10", "10": "9", "4": "3", "1": "0", "0": "0",
	} {
		req := parseRequest(t, strings.Replace(invite(), "Max-Forwards: 70", "Max-Forwards: "+in, 1))
		out, err := aliceSends(t).request(req, bobsContact)
		if err != nil || out.MaxForwards().Value() != want {
			t.Errorf("%s: %v, %v", in, out, err)
		}
	}
	req := parseRequest(t, strings.Replace(invite(), "Max-Forwards: 70\r\n", "", 1))
	out, err := aliceSends(t).request(req, bobsContact)
	if err != nil || out.MaxForwards().Val() != 60 {
		t.Errorf("none: %v, %v", out, err)
	}
}

// Who the parties are, when nobody but the message says so.
func TestFit(t *testing.T) {
	h := aliceSends(t)
	for in, want := range map[string]string{
		"sip:alice@example.com:5060;transport=tcp":      "sip:alice@example.com",
		"sips:alice@EXAMPLE.com.":                       "sip:alice@example.com",
		"sip:alice:secret@example.com?Subject=M4RK3R":   "sip:alice@example.com",
		"sip:alice@198.51.100.1":                        "sip:alice@example.com",
		"sip:alice@192.168.77.23":                       "sip:anonymous@anonymous.invalid",
		"sip:alice@[2001:db8::1]":                       "sip:anonymous@anonymous.invalid",
		"sip:alice@3232255255":                          "sip:anonymous@anonymous.invalid",
		"sip:alice@0xc0a84d17":                          "sip:anonymous@anonymous.invalid",
		"sip:alice@192.168.19735":                       "sip:anonymous@anonymous.invalid",
		"sip:alice@dsl-192-168-77-23.isp.example":       "sip:anonymous@anonymous.invalid",
		"sip:alice@example.org":                         "sip:alice@example.org",
		"sip:+49-30-123-456@example.org":                "sip:+49-30-123-456@example.org",
		"sip:192.168.77.23@example.com":                 "sip:anonymous@example.com",
		"sip:192%2e168%2E77.23@example.com":             "sip:anonymous@example.com",
		"sip:bad%zz@example.com":                        "sip:anonymous@example.com",
		"sip:bob+pt1.Abc@example.com":                   "sip:bob@example.com",
		"sip:bob%2Bpt1.Abc@example.com":                 "sip:bob@example.com",
		"tel:+49-30-123(456);phone-context=x":           "sip:+4930123456@example.com",
		"sip:anonymous@anonymous.invalid":               "sip:anonymous@anonymous.invalid",
		"urn:service:sos":                               "sip:anonymous@anonymous.invalid",
		"sip:alice@exa_mple.com":                        "sip:anonymous@anonymous.invalid",
		"sip:a'l(i)c*e@example.com;user=phone;x=M4RK3R": "sip:a'l(i)c*e@example.com",
	} {
		var u sip.Uri
		if err := sip.ParseUri(in, &u); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		got := h.fit(u, anonymousHost)
		if got.String() != want {
			t.Errorf("%s: %s, want %s", in, got.String(), want)
		}
	}
}

func TestDisplayName(t *testing.T) {
	for in, want := range map[string]string{
		"Alice Liddell": "Alice Liddell", "  x ": "x", "": "",
		"Жанна д'Арк": "Жанна д'Арк",
		`a\"b<c>`:     "abc", "\u202ecod.exe": "cod.exe", "a\x00b\tc": "abc",
		"192.168.77.23": "", "at 192-168-77-23": "", "fe80::1": "", "alice@home": "",
		"\xff\xfe": "", strings.Repeat("é", 100): strings.Repeat("é", maxDisplayName),
	} {
		if got := displayName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAnonymousAndAsserted(t *testing.T) {
	h := aliceSends(t)
	h.anonymous, h.assert = true, true
	out, err := h.request(parseRequest(t, invite()), bobsContact)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=s1-`,
		"P-Asserted-Identity: <sip:alice@example.com>\r\nPrivacy: id\r\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	h.assert = false
	out, err = h.request(parseRequest(t, invite()), bobsContact)
	if err != nil || strings.Contains(out.String(), "alice") {
		t.Errorf("%v\n%v", err, out)
	}
}

// Only target refreshes get a Contact.
func TestContact(t *testing.T) {
	for m := range crossing {
		text := invite("Contact: <sip:alice@192.168.77.23>")
		req := parseRequest(t, strings.ReplaceAll(text, "INVITE", string(m)))
		out, err := aliceSends(t).request(req, bobsContact)
		if err != nil {
			t.Fatal(m, err)
		}
		want := 0
		if strings.Contains("INVITE UPDATE SUBSCRIBE REFER NOTIFY", string(m)) {
			want = 1
		}
		if got := len(out.GetHeaders("Contact")); got != want {
			t.Errorf("%s: %d contacts", m, got)
		}
	}
}

// FuzzHide invents headers; whatever they are called, the marker in them does
// not cross, and what crosses is on the list.
func FuzzHide(f *testing.F) {
	for _, h := range treatments {
		for _, v := range dirty(h.name) {
			f.Add(h.name, v, "", false)
		}
	}
	f.Add("Subject", "a\r\nX: ", "b", true)
	f.Add("Replaces", "x;to-tag=", ";from-tag=1", true)
	f.Add("From", `"`, `" <sip:a@b>;tag=1`, false)
	f.Fuzz(func(t *testing.T, name, before, after string, sealed bool) {
		if strings.ContainsAny(name+before+after, "\r\n") {
			return // the gate's business
		}
		h := aliceSends(t)
		text := invite(name + ": " + before + "192.168.77.23" + after)
		if sealed {
			text = strings.Replace(text, "4711@192.168.77.23", h.seal.callID("4711"), 1)
			h.from, h.sender = calleeLeg, sip.Uri{}
		}
		m, err := sip.NewParser().ParseSIP([]byte(text))
		if req, ok := m.(*sip.Request); err == nil && ok {
			onlyListedCrosses(t, h, req)
		}
	})
}

// onlyListedCrosses sends a request across and looks at what comes out.
func onlyListedCrosses(t *testing.T, h hide, req *sip.Request) {
	t.Helper()
	out, err := h.request(req, bobsContact)
	if err != nil {
		return
	}
	if strings.Contains(out.String(), "192.168.77.23") {
		t.Fatalf("crossed:\n%s\nfrom\n%s", out, req)
	}
	for _, x := range out.Headers() {
		if !slices.Contains(leaving, x.Name()) {
			t.Fatalf("%q is not on the list:\n%s", x.Name(), out)
		}
	}
}

// leaving has all names of headers that may ever leave.
var leaving = []string{
	"Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length",
	"Event", "Subscription-State", "Refer-To", "Refer-Sub", "Replaces", "Join", "Target-Dialog",
	"In-Reply-To", "Reason", "Require", "Supported", "Unsupported", "Allow", "RAck", "RSeq",
	"Session-Expires", "Min-SE", "Expires", "Min-Expires", "Retry-After", "Info-Package",
}

func BenchmarkHideInvite(b *testing.B) {
	h := aliceSends(b)
	in := parseRequest(b, invite("Supported: timer, 100rel", "Allow: INVITE, ACK, BYE, UPDATE",
		"User-Agent: x", "Session-Expires: 1800", "Contact: <sip:alice@192.168.77.23>"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.request(in, bobsContact); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHeadersThatCrossStandFirst(t *testing.T) {
	for i, h := range treatments {
		if (h.make != nil) != (i < crossingHeaders) {
			t.Errorf("%s is number %d; what is not carried over must stand behind the %d that are",
				h.name, i, crossingHeaders)
		}
	}
}
