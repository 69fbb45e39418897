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

// A call that rings longer than silence may last is not ended as it is
// answered, and is when nobody is heard then.
func TestSilenceCountsFromTheAnswer(t *testing.T) {
	e := deafEngine(t)
	mustDo := func(b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	died := func(after time.Duration) bool {
		_, is := e.sessions[1].died(time.Now().Add(after), time.Minute, time.Hour)
		return is
	}
	mustDo(e.Offer(1, Body{SDP: audio(callerIP, 4000)}))
	s := e.sessions[1]
	if !died(61*time.Second) || died(62*time.Second) {
		t.Error("a session that nobody answers is not reported, or twice")
	}
	s.awaited = s.awaited.Add(-2 * time.Minute) // so long it rang
	mustDo(e.Answer(1, Body{From: Callee, SDP: audio(calleeIP, 5000)}))
	if died(time.Second) {
		t.Error("dead a second after the answer")
	}
	if !died(61 * time.Second) {
		t.Error("nobody is heard for a minute, and that is not reported")
	}
}

// A call that was on hold for long is not ended when it is taken up again.
func TestSilenceCountsFromTheEndOfAHold(t *testing.T) {
	e := deafEngine(t)
	held, up := netip.IPv4Unspecified(), audio(callerIP, 4000)
	describe := func(caller, callee []byte) *session {
		t.Helper()
		if _, err := e.Offer(1, Body{SDP: caller}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Answer(1, Body{From: Callee, SDP: callee}); err != nil {
			t.Fatal(err)
		}
		return e.sessions[1]
	}
	s := describe(audio(held, 4000), audio(held, 5000))
	now := time.Now().Add(10 * time.Hour)
	if why, is := s.died(now, time.Minute, time.Hour); is {
		t.Fatal(why)
	}
	describe(up, audio(calleeIP, 5000))
	for after, want := range map[time.Duration]bool{10 * time.Second: false, 61 * time.Second: true} {
		s.told, s.edited = false, now
		if _, is := s.died(now.Add(after), time.Minute, time.Hour); is != want {
			t.Errorf("dead %v after the hold: %v", after, is)
		}
	}
}
