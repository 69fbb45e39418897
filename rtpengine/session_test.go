package rtpengine

import (
	"net/netip"
	"testing"
	"time"
)

// A refused offer takes with it what was nominated since, and nothing else of
// the agent: that is the same one, with the same credentials.
func TestRefusedOfferForgetsItsNominee(t *testing.T) {
	e := deafEngine(t)
	const lines = "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
	offer := func() {
		t.Helper()
		if _, err := e.Offer(1, Body{SDP: []byte(lines)}); err != nil {
			t.Fatal(err)
		}
	}
	offer()
	f := &e.sessions[1].streams[0].faces[Caller]
	first := nominee{1, time.Unix(1, 0)}
	f.ice.rtp, f.latch.latched = first, netip.MustParseAddrPort("192.0.2.77:1")
	own := f.ice.own
	offer()
	f.ice.rtp, f.latch.latched = nominee{2, time.Unix(2, 0)}, netip.MustParseAddrPort("192.0.2.77:2")
	e.Rollback(1)
	if got := f.latch.latched.Port(); f.ice.rtp != first || got != 1 || f.ice.own != own {
		t.Errorf("nominated is %v, latched port %d, credentials are the same: %v", f.ice.rtp, got, f.ice.own == own)
	}
}
