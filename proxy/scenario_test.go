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
// itself, or what is random.
var masks = []struct{ pattern, by string }{
	{`branch=[^;\r\n]+`, "branch=…"},
	{`(received|rport)=[0-9.]+`, "$1=…"},
	{`SIP/2\.0/UDP [0-9.:]+`, "SIP/2.0/UDP …"},
	{`Call-ID: [^\r\n]+`, "Call-ID: …"},
	{`From: [^\r\n]+`, "From: …"},
	{`To: (<[^>]*>)`, "To: <…>"},
	{`tag=[^;\r\n]+`, "tag=…"},
	{`nonce="[^"]+"`, `nonce="…"`},
	{`Contact: <sip:[^@]+@`, "Contact: <sip:…@"},
	{`RSeq: [0-9]+`, "RSeq: …"},
}

// masked is all the SIP that a phone has received, without what differs by
// chance.
func masked(p *proxytest.Phone) string {
	var all []string
	for _, k := range p.Received(phone.SIP) {
		text := string(k.Data)
		for _, m := range masks {
			text = regexp.MustCompile(m.pattern).ReplaceAllString(text, m.by)
		}
		all = append(all, text)
	}
	return strings.Join(all, "--\n")
}
