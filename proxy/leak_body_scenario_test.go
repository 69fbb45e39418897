package proxy_test

import (
	"context"
	"strings"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// parts sends a re-INVITE whose description is one part of several (RFC 5621):
// beside it the sender's position, a card and what a telephone exchange says.
// The description arrives, as the engine writes it, and nothing else.
func parts(_ *leakStage, a, _ *proxytest.Call) int {
	own := a.Phone.Local().Addr().String()
	body := strings.NewReplacer("\n", "\r\n", "HOST", own, "SDP", description(a, audio)).Replace(`--HOST
Content-Type: application/pidf+xml
Content-ID: <position@HOST>

<presence entity="sip:x@HOST"/>
--HOST
Content-Type: application/sdp
Content-Disposition: session;handling=required;x=HOST

SDP
--HOST
Content-Type: application/isup;version=HOST

HOST
--HOST
Content-Type: text/vcard

PHOTO:http://HOST/
--HOST--
`)
	a.Does(func(ctx context.Context) error {
		_ = a.Reinvite(ctx, phone.Body(`multipart/mixed;boundary="`+own+`"`, body)) // its final tells
		return nil
	})
	return lastFinal(a)
}
