package wire

import (
	"fmt"
	"strings"
	"testing"
)

// call is an INVITE as a phone with video sends it: 1.1 KB.
func call() []byte {
	sdp := strings.ReplaceAll(`v=0
o=alice 3890 1 IN IP4 192.0.2.5
s=Talk
c=IN IP4 192.0.2.5
t=0 0
m=audio 7078 RTP/AVP 96 0 8 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:101 telephone-event/8000
m=video 9078 RTP/AVP 97
a=rtpmap:97 VP8/90000
`, "\n", "\r\n")
	return append(request(
		"Via: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bK.jYxVN2Z~M;rport",
		`From: "Alice" <sip:alice@example.com>;tag=yS8xkTb~`,
		"Call-ID: Xd4Tgh7kqz", "CSeq: 20 INVITE", "Supported: replaces, outbound, gruu, path, record-aware",
		"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE",
		`Contact: <sip:alice@192.0.2.5:5060;transport=udp>;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"`,
		"User-Agent: Phone/5.2.6 (belle-sip/5.2.98)", "Content-Type: application/sdp", "Accept: application/sdp",
		"Session-Expires: 1800", "Route: <sip:192.0.2.1;lr>", fmt.Sprintf("Content-Length: %d", len(sdp)),
	), sdp...)
}

func BenchmarkParse(b *testing.B) {
	raw := call()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSerialize(b *testing.B) {
	m, err := Parse(call())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(Bytes(m)) == 0 {
			b.Fatal("nothing")
		}
	}
}

// BenchmarkReject is what the worst datagrams cost: none may cost more than a
// call.
func BenchmarkReject(b *testing.B) {
	for name, line := range map[string]string{
		"quotes":     `Via: SIP/2.0/UDP a` + strings.Repeat(`;a="b"`, 5000),
		"parameters": "Contact: <sip:a@b>" + strings.Repeat(";a=b", 5000),
		"headers":    strings.TrimSuffix(strings.Repeat("X: y\r\n", 5000), "\r\n"),
		"folds":      "Subject: x" + strings.Repeat("\r\n y", 5000),
		"most":       "Contact: <sip:a@b>" + strings.Repeat(";a=b", maxParts),
	} {
		raw := request(line)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Parse(raw)
			}
		})
	}
}
