package wire

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/torture"
)

// rfc4475 are the messages of RFC 4475, by section, and what becomes of them.
// Code 0 with lines means taken: these lines are in what we pass on. A code
// without an answer means dropped: a response, or nothing to answer to. Where
// we differ from what the RFC expects, why says so.
var rfc4475 = []struct {
	section, name string
	code          int
	answered      bool
	lines         []string
	why           string
}{
	{section: "3.1.1.1", name: "wsinv", lines: []string{
		"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
		"To: <sip:vivekg@chair-dnrc.example.com>;tag=1918181833n",
		`From: "J Rosenberg \\\"" <sip:jdrosen@example.com>;tag=98asjd8`,
		"CSeq: 9 INVITE", "Max-Forwards: 68", "Subject: ", "Content-Length: 150",
		"NewFangledHeader: newfangled value continued newfangled value",
		"UnknownHeaderWithUnusualValue: ;;,,;;,;",
		"Route: <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
		"Via: SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
		"Via: SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
		"Via: SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
		`Contact: <sip:jdrosen@example.com>;newparam=newvalue;secondparam;q=0.33`,
	}, why: "a Contact's display name with escapes is dropped: the parser misreads it"},
	{section: "3.1.1.2", name: "intmeth", code: 400, why: "a NUL is legal in quotes, and in no message of a phone"},
	{section: "3.1.1.3", name: "esc01", lines: []string{
		"INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "To: <sip:%75se%72@example.com>",
		"From: <sip:I%20have%20spaces@example.net>;tag=938",
		"Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
	}},
	{section: "3.1.1.4", name: "escnull", lines: []string{
		"To: <sip:null-%00-null@example.com>",
		"Contact: <sip:%00@host5.example.com>", "Contact: <sip:%00%00@host5.example.com>",
	}},
	{section: "3.1.1.5", name: "esc02", lines: []string{
		"RE%47IST%45R sip:registrar.example.com SIP/2.0",
		`To: "%Z%45" <sip:resource@example.com>`, "CSeq: 29344 RE%47IST%45R",
		"C%6Fntact: <sip:alias2@host2.example.com>", "Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234",
	}},
	{section: "3.1.1.6", name: "lwsdisp", lines: []string{`From: "caller" <sip:caller@example.com>;tag=323`}},
	{section: "3.1.1.7", name: "longreq", lines: []string{
		"Via: SIP/2.0/TCP sip33.example.com", "Via: SIP/2.0/TCP sip1.example.com", "CSeq: 3882340 INVITE",
	}},
	{section: "3.1.1.8", name: "dblreq", lines: []string{
		"REGISTER sip:example.com SIP/2.0", "Call-ID: dblreq.0ha0isndaksdj99sdfafnl3lk233412", "Content-Length: 0",
	}},
	{section: "3.1.1.9", name: "semiuri", lines: []string{
		"OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0",
		"Accept: application/sdp, application/pkcs7-mime, multipart/mixed, multipart/signed, message/sip, message/sipfrag",
	}},
	{section: "3.1.1.10", name: "transports", lines: []string{
		"Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw", "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
		"Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
		"Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
		"Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee",
	}},
	{section: "3.1.1.11", name: "mpart01", lines: []string{
		"Content-Type: multipart/mixed;boundary=7a9cbec02ceef655", "Content-Length: 553", "--7a9cbec02ceef655--",
	}},
	{section: "3.1.1.12", name: "unreason", lines: []string{
		"SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое", "Content-Length: 154",
	}},
	{section: "3.1.1.13", name: "noreason", lines: []string{"SIP/2.0 100 ", "CSeq: 35 INVITE"}},

	{section: "3.1.2.1", name: "badinv01", code: 400, answered: true},
	{section: "3.1.2.2", name: "clerr", code: 400, answered: true},
	{section: "3.1.2.3", name: "ncl", code: 400, answered: true},
	{section: "3.1.2.4", name: "scalar02", code: 400, answered: true},
	{section: "3.1.2.5", name: "scalarlg", code: 400},
	{section: "3.1.2.6", name: "quotbal", code: 400, answered: true},
	{section: "3.1.2.7", name: "ltgtruri", code: 400, answered: true},
	{section: "3.1.2.8", name: "lwsruri", code: 400, answered: true},
	{section: "3.1.2.9", name: "lwsstart", code: 400, answered: true},
	{section: "3.1.2.10", name: "trws", code: 400, answered: true},
	{section: "3.1.2.11", name: "escruri", lines: []string{
		"INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0",
	}, why: "a token may come as a header of the Request-URI; the proxy takes it out"},
	{
		section: "3.1.2.12", name: "baddate", lines: []string{"Date: Fri, 01 Jan 2010 16:00:00 EST"},
		why: "no decision of ours hangs on a Date; the RFC allows it",
	},
	{section: "3.1.2.13", name: "regbadct", code: 400, answered: true},
	{section: "3.1.2.14", name: "badaspec", code: 400, answered: true},
	{section: "3.1.2.15", name: "baddn", lines: []string{
		`From: "Bell, Alexander" <sip:a.g.bell@example.com>;tag=43`, `To: "Watson, Thomas" <sip:t.watson@example.org>`,
	}, why: "what is meant is plain; the RFC allows to infer the quotes"},
	{section: "3.1.2.16", name: "badvers", code: 505, answered: true},
	{section: "3.1.2.17", name: "mismatch01", code: 400, answered: true},
	{section: "3.1.2.18", name: "mismatch02", code: 400, answered: true},
	{section: "3.1.2.19", name: "bigcode", code: 400},

	{section: "3.2.1", name: "badbranch", lines: []string{"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"}},

	{section: "3.3.1", name: "insuf", code: 400, why: "without From, To and Call-ID no answer can be made"},
	{section: "3.3.2", name: "unkscm", lines: []string{
		"OPTIONS nobodyknowsthisscheme:totallyopaquecontent SIP/2.0",
	}, why: "416 is the proxy's to say"},
	{section: "3.3.3", name: "novelsc", code: 416, answered: true},
	{section: "3.3.4", name: "unksm2", lines: []string{
		"To: <isbn:2983792873>", "From: <http://www.example.com>;tag=3234233", "Contact: <name:John_Smith>",
	}, why: "what may be registered is the registrar's to say"},
	{section: "3.3.5", name: "bext01", lines: []string{
		"Require: nothingSupportsThis, nothingSupportsThisEither",
		"Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis",
	}, why: "420 is the proxy's to say"},
	{section: "3.3.6", name: "invut", lines: []string{"Content-Type: application/unknownformat", "Content-Length: 40"}},
	{section: "3.3.7", name: "regaut01", lines: []string{"Authorization: NoOneKnowsThisScheme opaque-data=here"}},
	{section: "3.3.8", name: "multi01", code: 400, answered: true},
	{section: "3.3.9", name: "mcl01", code: 400, answered: true},
	{section: "3.3.10", name: "bcast", lines: []string{"Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"}},
	{section: "3.3.11", name: "zeromf", lines: []string{"Max-Forwards: 0"}},
	{section: "3.3.12", name: "cparam01", lines: []string{"Contact: <sip:+19725552222@gw1.example.net>;unknownparam"}},
	{section: "3.3.13", name: "cparam02", lines: []string{"Contact: <sip:+19725552222@gw1.example.net;unknownparam>"}},
	{section: "3.3.14", name: "regescrt", lines: []string{
		"Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>",
	}},
	{section: "3.3.15", name: "sdp01", lines: []string{"Accept: text/nobodyKnowsThis"}},

	{section: "3.4.1", name: "inv2543", lines: []string{
		"Via: SIP/2.0/UDP iftgw.example.com", "From: <sip:+13035551111@ift.client.example.net;user=phone>",
		"To: <sip:+16505552222@ss1.example.net>;user=phone", "Content-Length: 105",
	}},
}

func TestTorture(t *testing.T) {
	if files, _ := filepath.Glob("testdata/rfc4475/*.txt"); len(rfc4475) != 49 || len(files) != len(rfc4475) {
		t.Fatalf("%d messages, %d files: RFC 4475 has 49", len(rfc4475), len(files))
	}
	for _, c := range rfc4475 {
		t.Run(c.section+"_"+c.name, func(t *testing.T) {
			raw := torture.Read(t, filepath.Join("testdata/rfc4475", c.name+".txt"))
			m, err := Parse(raw)
			if c.code != 0 {
				refused(t, err, c.code, c.answered)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			hasLines(t, string(stable(t, m)), c.lines)
		})
	}
}

// hasLines checks that a message has lines.
func hasLines(t *testing.T, out string, lines []string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\r\n"+out+"\r\n", "\r\n"+l+"\r\n") {
			t.Errorf("%q is missing in\n%s", l, out)
		}
	}
}

// refused checks a rejection: its code, and its answer or that it has none.
func refused(t *testing.T, err error, code int, answered bool) {
	t.Helper()
	var rej *Reject
	if !errors.As(err, &rej) || rej.Code != code || (rej.Answer != nil) != answered {
		t.Fatalf("%v; want a %d, answered %t", err, code, answered)
	}
	if !answered {
		return
	}
	m, err := Parse(rej.Answer)
	if err != nil {
		t.Logf("its answer copies what was bad:\n%s", rej.Answer) // RFC 3261 §8.2.6.2 wants it so
		return
	}
	res, ok := m.(*sip.Response)
	if !ok || res.StatusCode != code || !strings.HasPrefix(string(rej.Answer), "SIP/2.0 "+strconv.Itoa(code)+" ") {
		t.Errorf("answer:\n%s", rej.Answer)
	}
	if tag, _ := Param(res.To().Params, "tag"); tag == "" {
		t.Errorf("answer without To tag:\n%s", rej.Answer)
	}
}

// stable checks that what we emit parses, and is emitted the same again.
func stable(t *testing.T, m sip.Message) []byte {
	t.Helper()
	out := Bytes(m)
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%v: what we emit:\n%s", err, out)
	}
	if second := Bytes(again); !bytes.Equal(out, second) {
		t.Fatalf("emitted at first:\n%s\nthen:\n%s", out, second)
	}
	if !bytes.Equal(m.Body(), again.Body()) {
		t.Fatalf("body %q became %q", m.Body(), again.Body())
	}
	return out
}
