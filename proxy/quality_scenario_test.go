package proxy_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sotto/internal/memnet"
	"sotto/proxy/proxytest"
	"sotto/rtpengine"
)

// mediaOf is what the operator is told of the media of the last call, which
// has one session of one stream.
func mediaOf(t *testing.T, s *proxytest.Stage) (rtpengine.Report, rtpengine.StreamReport) {
	t.Helper()
	calls := s.Proxy.Calls()
	all := s.Proxy.Media(calls[len(calls)-1].Ref)
	if len(all) != 1 || len(all[0].Streams) != 1 {
		t.Fatalf("the media of the last call: %+v", all)
	}
	return all[0], all[0].Streams[0]
}

// The quality of each side is known while the call lasts, and kept with it.
// Everything is a millisecond away from everything, so the way between each
// phone and the server, there and back, is two.
func TestQualityIsKeptWithTheCall(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		proxytest.Talk(out, in)
		s.Wait(20 * time.Second)
		checkQuality(t, s)
		out.HangsUp()
		in.IsHungUp()
		s.Wait(time.Hour)
		checkQuality(t, s)
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// What a round trip is at most by RTP alone is never less than what RTCP says
// that it is, and little more: a phone's first packet holds 20 ms of sound. Of
// the caller it is known from the answer, of the callee when a hold has ended.
func TestRoundTripByRTPBoundsThatOfRTCP(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		s.Net.Delay(70 * time.Millisecond)
		out := s.Alice.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		s.Wait(5 * time.Second)
		in.Answers()
		out.IsAnswered()
		proxytest.Talk(out, in)
		s.Wait(20 * time.Second)
		checkBound(t, s, rtpengine.Caller)
		if _, stream := mediaOf(t, s); stream.Callee.Within != 0 {
			t.Errorf("a callee whose phone rang is at most %v away", stream.Callee.Within)
		}
		out.Does(out.Hold)
		s.Wait(5 * time.Second)
		out.Does(out.Resume)
		proxytest.Talk(out, in)
		checkBound(t, s, rtpengine.Callee)
		out.HangsUp()
		in.IsHungUp()
		checkBound(t, s, rtpengine.Caller)
		checkBound(t, s, rtpengine.Callee)
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

func checkBound(t *testing.T, s *proxytest.Stage, side rtpengine.Side) {
	t.Helper()
	_, stream := mediaOf(t, s)
	q := stream.Side(side).Quality
	const asWritten = 100 * time.Microsecond // RTCP counts in 1/65,536 s
	if more := q.Within - q.RoundTrip; q.RoundTrips == 0 || more < -asWritten || more > 25*time.Millisecond {
		t.Errorf("the %s is %v away by RTCP, and at most %v by RTP", side, q.RoundTrip, q.Within)
	}
}

func checkQuality(t *testing.T, s *proxytest.Stage) {
	t.Helper()
	r, stream := mediaOf(t, s)
	for _, side := range []rtpengine.Side{rtpengine.Caller, rtpengine.Callee} {
		in, out := stream.Side(side), stream.Side(side.Other())
		if why := r.Diagnose(stream, side); why != "" || in.Codec != "PCMU" || in.Media < 500 || in.Lost != 0 {
			t.Errorf("of the %s it is said %q: %+v", side, why, in)
		}
		if d := in.RoundTrip - 2*time.Millisecond; in.RoundTrips == 0 || d.Abs() > 100*time.Microsecond {
			t.Errorf("the %s is %v away, in %d measurements", side, in.RoundTrip, in.RoundTrips)
		}
		if in.FarExpected == 0 || in.FarLost != 0 {
			t.Errorf("the other phone misses %d of %d of the %s's", in.FarLost, in.FarExpected, side)
		}
		if score := in.Score(out.Quality); score.MOS < 4.4 || !score.Delayed {
			t.Errorf("the %s: %+v", side, score)
		}
	}
}

// A firewall lets SIP through and no media: from one party, to one, from both.
func TestFirewalledMedia(t *testing.T) {
	for name, c := range map[string]struct {
		lost           func(d memnet.Datagram, bob string) bool
		caller, callee string // what is said of each one's media
	}{
		"from bob": {
			func(d memnet.Datagram, bob string) bool { return d.From.Addr().String() == bob },
			"", "nothing ever came from the callee's phone: a firewall on its side drops it",
		},
		"to bob": {
			func(d memnet.Datagram, bob string) bool { return d.To.Addr().String() == bob },
			"in its reports the callee's phone speaks of none: a firewall on its side drops it", "",
		},
		"all": {
			func(memnet.Datagram, string) bool { return true },
			"nothing ever came from the caller's phone", "nothing ever came from the callee's phone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				s.Alice.Registers()
				s.Bob.Registers()
				bob := s.Bob.Local().Addr().String()
				s.Net.Decide(func(d memnet.Datagram) memnet.Fate {
					return memnet.Fate{Lost: !bytes.Contains(d.Data, []byte("SIP/2.0")) && c.lost(d, bob)}
				})
				out := s.Alice.Invites("bob")
				in := s.Bob.IsCalled()
				in.Answers()
				out.IsAnswered()
				out.Tone(440)
				in.Tone(880)
				s.Wait(20 * time.Second)
				checkTrouble(t, s, c.caller, c.callee)
				out.HangsUp()
				in.IsHungUp()
				checkTrouble(t, s, c.caller, c.callee)
			}, proxytest.Colleagues, proxytest.Protect("always"))
		})
	}
}

func checkTrouble(t *testing.T, s *proxytest.Stage, want ...string) {
	t.Helper()
	r, stream := mediaOf(t, s)
	for side, want := range want {
		got := r.Diagnose(stream, rtpengine.Side(side))
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("of the %s's media it is said %q, want %q", rtpengine.Side(side), got, want)
		}
	}
}

// On hold nobody is to send; that is no trouble, and it is said.
func TestHeldMediaIsExplained(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		proxytest.Talk(out, in)
		in.Does(in.Hold)
		s.Wait(10 * time.Second)
		checkTrouble(t, s, "the callee has put the call on hold", "") // who holds may play music
		in.Does(in.Resume)
		proxytest.Talk(out, in)
		checkTrouble(t, s, "", "")
		in.HangsUp()
		out.IsHungUp()
	}, proxytest.Colleagues, proxytest.Protect("always"))
}

// Of media that goes from phone to phone nothing is known.
func TestDirectMediaIsNotKnown(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		proxytest.Talk(out, in)
		if all := s.Proxy.Media(s.Proxy.Calls()[0].Ref); len(all) != 0 {
			t.Errorf("%+v", all)
		}
		if all := s.Proxy.Media("nobody's"); len(all) != 0 {
			t.Errorf("%+v", all)
		}
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}
