package wire

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// parse parses a request of the test's own.
func parse(t testing.TB, lines ...string) *sip.Request {
	t.Helper()
	m, err := Parse(request(lines...))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*sip.Request)
}

// sipgo's Clone shares pointers to five headers and keeps the destination.
func TestForkSharesNothing(t *testing.T) {
	req := parse(t, "Contact: <sip:a@b>;q=1", "Content-Type: a/b", "Expires: 60", "Route: <sip:p;lr>", "Content-Length: 0",
		"Record-Route: <sip:p;lr>", "X: y", "Refer-To: <sip:r@s>", "Referred-By: <sip:t@u>;cid=v")
	req.SetBody([]byte("body"))
	req.SetDestination("192.0.2.9:5060")
	before := string(Bytes(req))
	out := Fork(req)
	if got := string(Bytes(out)); got != before {
		t.Fatalf("forked\n%s\nfrom\n%s", got, before)
	}
	out.MaxForwards().Dec()
	*out.CallID() = "changed"
	*out.ContentLength() = 9
	*out.ContentType() = "changed"
	out.Recipient.Host, out.Recipient.UriParams = "changed", sip.NewParams()
	out.Body()[0] = 'B'
	for _, h := range out.Headers() {
		switch h := h.(type) {
		case *sip.ExpiresHeader:
			*h = 0
		case *sip.ViaHeader:
			h.Host = "changed"
			h.Params.Add("branch", "changed")
		case *sip.FromHeader:
			h.Params.Add("tag", "changed")
			h.Address.Host = "changed"
		case *sip.ToHeader:
			h.Params.Add("tag", "changed")
		case *sip.ContactHeader:
			h.Params.Add("q", "changed")
		case *sip.CSeqHeader:
			h.SeqNo = 99
		case *sip.RouteHeader:
			h.Address.UriParams.Add("lr", "changed")
		case *sip.RecordRouteHeader:
			h.Address.UriParams.Add("lr", "changed")
		case *sip.ReferToHeader:
			h.Address.Host = "changed"
		case *sip.ReferredByHeader:
			h.Params.Add("cid", "changed")
		}
	}
	RemoveAll(out, "X")
	if got := string(Bytes(req)); got != before {
		t.Errorf("the original became\n%s\nwas\n%s", got, before)
	}
	if out := Fork(req); out.Destination() == "192.0.2.9:5060" {
		t.Error("the fork has its original's destination")
	}
}

func TestHeadersByAnyName(t *testing.T) {
	req := parse(t, "p-asserted-identity: <sip:a@b>", "P-Asserted-Identity: tel:1", "k: one", "SUPPORTED: two",
		"m: <sip:a@b>, <sip:c@d>")
	if got := All(req, "supported"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("Supported: %q", got)
	}
	if got := All(req, "M"); !slices.Equal(got, []string{"<sip:a@b>", "<sip:c@d>"}) {
		t.Errorf("Contact: %q", got)
	}
	if got := Header(req, "P-ASSERTED-IDENTITY"); got != "<sip:a@b>" {
		t.Error(got)
	}
	if got := Header(req, "Subject"); got != "" {
		t.Error(got)
	}
	for _, name := range []string{"P-Asserted-Identity", "K", "contact", "no-such"} {
		RemoveAll(req, name)
		if left := All(req, name); len(left) > 0 {
			t.Errorf("%s stayed: %q", name, left)
		}
	}
	res := NewResponse(req, 200, "OK")
	res.AppendHeader(sip.NewHeader("X-One", "1"))
	RemoveAll(res, "x-one")
	if Header(res, "X-One") != "" || len(All(res, "from")) != 1 {
		t.Errorf("response:\n%s", Bytes(res))
	}
}

func TestParam(t *testing.T) {
	p := sip.HeaderParams{{K: "Tag", V: " x "}, {K: "lr"}}
	if v, ok := Param(p, "tag"); v != "x" || !ok {
		t.Errorf("%q, %t", v, ok)
	}
	if v, ok := Param(p, "LR"); v != "" || !ok {
		t.Errorf("%q, %t", v, ok)
	}
	if _, ok := Param(p, "ta"); ok {
		t.Error("found what is not there")
	}
	SetParam(&p, "TAG", "y")
	SetParam(&p, "new", "z")
	if p.ToString(';') != "Tag=y;lr;new=z" {
		t.Error(p.ToString(';'))
	}
}

// RFC 3261 §8.2.6.2.
func TestNewResponse(t *testing.T) {
	req := parse(t, "Via: SIP/2.0/UDP a;branch=z9hG4bK2, SIP/2.0/TCP b;received=192.0.2.3",
		"To: Bob <sip:bob@example.com>", "Timestamp: 54", "Record-Route: <sip:p;lr>")
	res := NewResponse(req, 404, "Not Found")
	want := "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK2\r\nVia: SIP/2.0/TCP b;received=192.0.2.3\r\n" +
		"From: <sip:alice@example.com>;tag=a\r\nTo: \"Bob\" <sip:bob@example.com>\r\nCall-ID: c@192.0.2.5\r\n" +
		"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	if got := string(Bytes(res)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	res.To().Params.Add("tag", "b")
	*res.CallID() = "changed"
	res.Via().Params.Add("received", "changed")
	if req.To().Params.Has("tag") || req.CallID().Value() != "c@192.0.2.5" || req.Via().Params.Has("received") {
		t.Errorf("the request became\n%s", Bytes(req))
	}
}

func TestBytesHasLength(t *testing.T) {
	req := sip.NewRequest("OPTIONS", sip.Uri{Scheme: "sip", Host: "a"})
	if got := string(Bytes(req)); got != "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n" {
		t.Error(got)
	}
}

// RFC 3261 §18.2.1 and RFC 3581 §4.
func TestAddReceived(t *testing.T) {
	for _, c := range []struct{ via, from, want string }{
		{"192.0.2.5:5060;branch=x", "192.0.2.5:40000", "branch=x"},
		{"192.0.2.5;branch=x", "203.0.113.1:40000", "branch=x;received=203.0.113.1"},
		{"host.example;branch=x", "192.0.2.5:5060", "branch=x;received=192.0.2.5"},
		{"192.0.2.5;rport;branch=x", "192.0.2.5:5062", "rport=5062;branch=x;received=192.0.2.5"},
		{"192.0.2.5;branch=x;RPORT", "203.0.113.1:9", "branch=x;RPORT=9;received=203.0.113.1"},
		{"192.0.2.5;rport=1;received=10.0.0.1", "203.0.113.1:9", "rport=9;received=203.0.113.1"},
		{"192.0.2.5", "[::ffff:192.0.2.5]:9", ""},
		{"[2001:db8::1]:5060", "[2001:db8::1]:9", ""},
		{"[2001:DB8:0::1]:5060", "[2001:db8::1]:9", ""},
		{"[2001:db8::2]:5060;rport", "[2001:db8::1]:9", "rport=9;received=2001:db8::1"},
	} {
		req := parse(t, "Via: SIP/2.0/UDP "+c.via)
		AddReceived(req.Via(), netip.MustParseAddrPort(c.from))
		if got := req.Via().Params.ToString(';'); got != c.want {
			t.Errorf("%s from %s: %s", c.via, c.from, got)
		}
	}
}
