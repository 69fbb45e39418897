package proxy

import (
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestTransportOf(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:a@example.com":                "",
		"sip:a@example.com;transport=TCP":  "tcp",
		"sip:a@example.com;transport=tls":  "tls",
		"sips:a@example.com":               "tls",
		"sips:a@example.com;transport=tcp": "tls",
		"sips:a@192.0.2.7;transport=udp":   "tls",
	} {
		var u sip.Uri
		if err := sip.ParseUri(uri, &u); err != nil {
			t.Fatal(err)
		}
		if got := transportOf(u); got != want {
			t.Errorf("%s goes over %q, want %q", uri, got, want)
		}
	}
}
