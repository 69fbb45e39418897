package main

import (
	"bytes"
	"fmt"
	"strings"
)

// garbage is what is no SIP, or hardly.
var garbage = [][]byte{
	[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	bytes.Repeat([]byte{0x80, 0, 0xff, 7}, 80),
	append([]byte("INVITE sip:a@b SIP/2.0\r\n"), bytes.Repeat([]byte("Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n"), 40)...),
	[]byte("REGISTER sip:b SIP/2.0\r\nContact: <sip:a@b>" + strings.Repeat(";a=b", 300) + "\r\n\r\n"),
	[]byte("\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa"), // a STUN request
}

// hostile is the i-th datagram of an address: of each five one is an INVITE of
// a stranger, one an INVITE in a user's name, one a REGISTER, one a REGISTER with
// a made-up password, and one garbage.
func hostile(i int, from string) []byte {
	n := uint64(i) * 0x9e3779b97f4a7c15 // another for each, the same in each run
	user := userName(i / 5 % (2 * pairs))
	switch i % 5 {
	case 0:
		return request("INVITE", "sip:"+user+"@"+domain, "sip:eve@evil.example", from, n, "")
	case 1:
		return request("INVITE", "sip:"+user+"@"+domain, "sip:"+userName(0)+"@"+domain, from, n, "")
	case 2:
		return request("REGISTER", "sip:"+domain, "sip:"+user+"@"+domain, from, n, "Expires: 600\r\n")
	case 3:
		return request("REGISTER", "sip:"+domain, "sip:"+user+"@"+domain, from, n, fmt.Sprintf(
			"Authorization: Digest username=%q,realm=%q,nonce=\"%x\",uri=\"sip:%s\",response=\"%032x\",algorithm=MD5,"+
				"cnonce=\"1\",nc=00000001,qop=auth\r\n", user, domain, n, domain, n))
	}
	return garbage[n%uint64(len(garbage))]
}

// request is a whole request.
func request(method, uri, who, from string, n uint64, more string) []byte {
	to, body := uri, ""
	if method == "REGISTER" {
		to = who
	} else {
		more += "Content-Type: application/sdp\r\n"
		body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8 101\r\n"
	}
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%x;rport\r\nMax-Forwards: 70\r\n"+
		"From: <%s>;tag=%x\r\nTo: <%s>\r\nCall-ID: %x\r\nCSeq: 1 %s\r\nContact: <sip:x@%s>\r\nUser-Agent: flood\r\n"+
		"%sContent-Length: %d\r\n\r\n%s", method, uri, from, n, who, n, to, n, method, from, more, len(body), body)
}
