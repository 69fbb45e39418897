package wire

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/torture"
)

// torture6 are the messages of RFC 5118, which are about IPv6, by section; the
// columns are those of rfc4475. Most must be taken, and their addresses must
// leave as they came.
var torture6 = []struct {
	section, name string
	code          int
	lines         []string
	host          string // of the Request-URI, where it is an address
	port          int
	why           string
}{
	{section: "4.1", name: "ipv6-good", host: "2001:db8::10", lines: []string{
		"REGISTER sip:[2001:db8::10] SIP/2.0", `Contact: "Caller" <sip:caller@[2001:db8::1]>`,
		"Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111",
	}},
	{section: "4.2", name: "ipv6-bad", code: 400, why: "an address without brackets cannot be told from its port"},
	{section: "4.3", name: "port-ambiguous", host: "2001:db8::10:5070", lines: []string{
		"REGISTER sip:[2001:db8::10:5070] SIP/2.0",
	}, why: "well-formed: what was meant as a port is part of the address"},
	{section: "4.4", name: "port-unambiguous", host: "2001:db8::10", port: 5070, lines: []string{
		"REGISTER sip:[2001:db8::10]:5070 SIP/2.0",
	}},
	{section: "4.5", name: "via-received-param-with-delim", host: "2001:db8::10", lines: []string{
		"Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
	}, why: "the grammar has no brackets there, but implementations do"},
	{section: "4.5", name: "via-received-param-no-delim", host: "2001:db8::10", lines: []string{
		"Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3",
	}},
	{section: "4.6", name: "ipv6-in-sdp", host: "2001:db8::10", lines: []string{
		"INVITE sip:user@[2001:db8::10] SIP/2.0", "o=assistant 971731711378798081 0 IN IP6 2001:db8::20",
		"c=IN IP6 2001:db8::20",
	}},
	{section: "4.7", name: "mult-ip-in-header", lines: []string{
		"Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111",
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
		"Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
	}},
	{section: "4.8", name: "mult-ip-in-sdp", host: "2001:db8::10", lines: []string{
		"c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::1",
	}},
	{section: "4.9", name: "ipv4-mapped-ipv6", lines: []string{
		"Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
		"Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111", "c=IN IP6 ::ffff:192.0.2.2",
		`Contact: "T. desk phone" <sip:ted@[::ffff:192.0.2.2]>`,
	}},
	{section: "4.10", name: "ipv6-bug-abnf-3-colons", lines: []string{
		"OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0",
	}, why: "no address, but what RFC 3261's grammar made of one: it is carried, and nothing is sent there"},
	{section: "4.10", name: "ipv6-correct-abnf-2-colons", host: "2001:db8::192.0.2.1", lines: []string{
		"OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0", "To: <sip:user@[2001:db8::192.0.2.1]>",
	}},
}

func TestTorture6(t *testing.T) {
	if files, _ := filepath.Glob("testdata/rfc5118/*.txt"); len(torture6) != 12 || len(files) != len(torture6) {
		t.Fatalf("%d messages, %d files: RFC 5118 has 12", len(torture6), len(files))
	}
	for _, c := range torture6 {
		t.Run(c.section+"_"+c.name, func(t *testing.T) {
			m, err := Parse(torture.Read(t, filepath.Join("testdata/rfc5118", c.name+".txt")))
			if c.code != 0 {
				refused(t, err, c.code, true)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			hasLines(t, string(stable(t, m)), c.lines)
			if c.host != "" {
				goesTo(t, m, c.host, c.port)
			}
		})
	}
}

// goesTo checks which address the Request-URI of a message names.
func goesTo(t *testing.T, m sip.Message, host string, port int) {
	t.Helper()
	req, ok := m.(*sip.Request)
	if !ok {
		t.Fatalf("%T is no request", m)
	}
	got, err := netip.ParseAddr(trimBrackets(req.Recipient.Host))
	if err != nil || got != netip.MustParseAddr(host) || req.Recipient.Port != port {
		t.Errorf("goes to %q port %d (%v); want %s port %d", req.Recipient.Host, req.Recipient.Port, err, host, port)
	}
}

// trimBrackets is an IPv6 reference without its brackets.
func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

// TestReceivedIn6 is RFC 5118 §4.5 on our side: what we add has no brackets.
func TestReceivedIn6(t *testing.T) {
	m, err := Parse(torture.Read(t, "testdata/rfc5118/ipv6-good.txt"))
	if err != nil {
		t.Fatal(err)
	}
	AddReceived(m.Via(), netip.MustParseAddrPort("[2001:db8::9:255]:5060"))
	hasLines(t, string(stable(t, m)), []string{
		"Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111;received=2001:db8::9:255",
	})
}
