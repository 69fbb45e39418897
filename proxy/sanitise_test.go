package proxy

import (
	"strings"
	"testing"
)

func TestSanitise(t *testing.T) {
	for in, want := range map[string]string{
		"mallory@example.com":          "mallory@example.com",
		"+4930123456@example.com":      "+4930123456@example.com",
		"":                             "anonymous",
		"???@":                         "anonymous",
		"\x1b[31mred@example.com":      "??31mred@example.com",
		"a\r\nb@example.com":           "a??b@example.com",
		"http://evil.example/x@y":      "http???evil.example?x@y",
		"\u202egnp.exe@example.com":    "?gnp.exe@example.com",
		"жуковский@example.com":        "?????????@example.com",
		`"Your bank" <sip:x@evil.com>`: "?Your?bank???sip?x@evil.com?",
		strings.Repeat("x", 500):       strings.Repeat("x", maxSanitised),
	} {
		if got := sanitise(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
