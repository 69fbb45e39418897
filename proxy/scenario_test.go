package proxy_test

import (
	"errors"
	"regexp"
	"strings"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// statusOf is the final response that an error stands for, nil if it is none.
func statusOf(err error) *phone.StatusError {
	var e *phone.StatusError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// masks are what differs between two answers by chance: what the asker wrote
// itself, or what is random. A random part is masked only in its one form; in any
// other it stays, and differs.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`branch=[^;\r\n]+`), "branch=…"},
	{regexp.MustCompile(`(received|rport)=[0-9.]+`), "$1=…"},
	{regexp.MustCompile(`SIP/2\.0/(UDP|TCP|TLS) [0-9.:]+`), "SIP/2.0/$1 …"},
	{regexp.MustCompile(`Call-ID: [^\r\n]+`), "Call-ID: …"},
	{regexp.MustCompile(`From: [^\r\n]+`), "From: …"},
	{regexp.MustCompile(`To: (<[^>]*>)`), "To: <…>"},
	{regexp.MustCompile(`tag=t1-[A-Za-z0-9_-]{16}\r`), "tag=t1-…\r"}, // the proxy's own
	{regexp.MustCompile(`tag=x[0-9a-z]{5,13}\r`), "tag=x…\r"},        // of the transactions
	{regexp.MustCompile(`nonce="[A-Za-z0-9_-]+"`), `nonce="…"`},
	{regexp.MustCompile(`Contact: <sip:[A-Za-z0-9_~-]{60,240}@`), "Contact: <sip:…@"},
	{regexp.MustCompile(`o=- [0-9]{1,19} [0-9]{1,19} `), "o=- … … "},
	{regexp.MustCompile(`m=audio [0-9]{5} `), "m=audio … "},
	{regexp.MustCompile(`Content-Length: 2[01][0-9]\r`), "Content-Length: 2……\r"}, // o= has numbers of any length
	{regexp.MustCompile(`RSeq: [0-9]{1,10}\r`), "RSeq: …\r"},
}

// mask is a message without what differs by chance.
func mask(text string) string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.by)
	}
	return text
}

// masked is all the SIP that a phone has received, without what differs by
// chance.
func masked(p *proxytest.Phone) string {
	var all []string
	for _, k := range p.Received(phone.SIP) {
		all = append(all, mask(string(k.Data)))
	}
	return strings.Join(all, "--\n")
}
