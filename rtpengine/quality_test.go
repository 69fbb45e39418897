package rtpengine

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// A talk is a call over real sockets of loopback.
type talk struct {
	t     *testing.T
	e     *Engine
	phone [2]udp
	to    [2]netip.AddrPort // where each party sends to
	seq   [2]uint16
}

// inBothPlanes has a call that is described, and relayed by each plane.
func inBothPlanes(t *testing.T, play func(t *testing.T, c *talk)) {
	t.Helper()
	for _, plane := range []Plane{PlaneUser, PlaneKernel} {
		t.Run(string(plane), func(t *testing.T) {
			local := netip.MustParseAddr("127.0.0.1")
			e, err := New(Config{
				Addresses: []Address{{local, local}}, PortMin: 48000, PortMax: 48999, Workers: 1, Plane: plane,
			})
			if err != nil {
				t.Skipf("no such plane here: %v", err)
			}
			t.Cleanup(e.Close)
			play(t, &talk{t: t, e: e, phone: [2]udp{listen(t, "127.0.0.1"), listen(t, "127.0.0.1")}})
		})
	}
}

// A word is how a party describes itself, beside its port.
type word struct {
	at    string // address; "": its own
	lines string // of the section
}

// says gives the engine a party's description; RTCP is at the same port.
func (c *talk) says(side Side, w word) {
	c.t.Helper()
	at := c.phone[side].LocalAddr().(*net.UDPAddr).AddrPort()
	ip := at.Addr().String()
	if w.at != "" {
		ip = w.at
	}
	tell := c.e.Offer
	if side == Callee {
		tell = c.e.Answer
	}
	sdp := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n"+
		"m=audio %[2]d RTP/AVP 0 13 96 101\r\na=rtcp:%[2]d\r\n"+
		"a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n%[3]s", ip, at.Port(), w.lines)
	if _, err := tell(1, Body{From: side, SDP: []byte(sdp), Source: at.Addr(), Toward: V4}); err != nil {
		c.t.Fatal(err)
	}
	s := c.report().Streams[0]
	c.to = [2]netip.AddrPort{s.Caller.Relay, s.Callee.Relay}
}

func (c *talk) report() Report {
	c.t.Helper()
	r, ok := c.e.Query(1)
	if !ok {
		c.t.Fatal("no session")
	}
	return r
}

// packet is the party's next RTP packet, of a payload type whose packets are of so many units of its clock.
func (c *talk) packet(side Side, pt byte, units uint32) []byte {
	c.seq[side]++
	b := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 1, 2, 3, byte(side), 's'}
	binary.BigEndian.PutUint16(b[2:], c.seq[side])
	binary.BigEndian.PutUint32(b[4:], uint32(c.seq[side])*units)
	return b
}

// speaks has a party send packets, and waits until the engine has counted them.
func (c *talk) speaks(side Side, packets int, pt byte) {
	c.t.Helper()
	for range packets {
		c.sends(c.phone[side], side, c.packet(side, pt, 160), c.to[side])
	}
}

// both has both parties speak in turn.
func (c *talk) both(packets int) {
	c.t.Helper()
	for range packets {
		c.speaks(Caller, 1, 0)
		c.speaks(Callee, 1, 0)
	}
}

// sends has a socket send to a port that is for a party.
func (c *talk) sends(u udp, side Side, b []byte, to netip.AddrPort) {
	c.t.Helper()
	before := came(c.report().Streams[0].Side(side))
	u.send(b, to)
	for until := time.Now().Add(patience); came(c.report().Streams[0].Side(side)) == before; {
		if time.Now().After(until) {
			c.t.Fatal("a packet has not come")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// came is how many packets have come in a party's name.
func came(r SideReport) uint64 {
	n := r.Packets
	for _, why := range []dropReason{dropSource, dropEarly, dropKind, dropPort} {
		n += r.Dropped[dropNames[why]]
	}
	return n
}

// control is where a party sends its RTCP to.
func (c *talk) control(side Side) netip.AddrPort {
	return netip.AddrPortFrom(c.to[side].Addr(), c.to[side].Port()+1)
}

// reports has a party send a receiver report.
func (c *talk) reports(side Side, about ...rtcp.ReceptionReport) {
	c.t.Helper()
	b, err := (&rtcp.ReceiverReport{SSRC: 7, Reports: about}).Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	c.sends(c.phone[side], side, b, c.control(side))
}

// troubles are calls in which the caller is not, or badly, heard, and what is
// said of it.
var troubles = map[string]struct {
	caller, callee word
	play           func(c *talk)
	want           string // "": no trouble
}{
	"all is well": {play: func(c *talk) { c.both(300) }},
	"nothing is sent": {
		play: func(c *talk) { c.speaks(Callee, 3, 0) },
		want: "nothing ever came from the caller's phone: a firewall on its side drops it, or it does not send to 127.0.0.1:",
	},
	"media goes to the port for RTCP": {
		play: func(c *talk) {
			c.sends(c.phone[Caller], Caller, c.packet(Caller, 0, 160), c.control(Caller))
		},
		want: "the caller's phone sends media to the port that is for RTCP",
	},
	"media comes from another host": {
		play: func(c *talk) { c.sends(listen(c.t, "127.0.0.9"), Caller, c.packet(Caller, 0, 160), c.to[Caller]) },
		want: "packets came from 127.0.0.9:PORT, but not from the caller, as far as anybody can tell: it is neither the " +
			"signalled address nor of the host that",
	},
	"media comes from another port, a little": {
		play: func(c *talk) { c.sends(listen(c.t, "127.0.0.1"), Caller, c.packet(Caller, 0, 160), c.to[Caller]) },
		want: "it is another port of the party's host: that is taken after 25 packets",
	},
	"the callee holds": {
		callee: word{lines: "a=sendonly\r\n"}, play: func(c *talk) { c.both(3) },
		want: "the callee has put the call on hold (sendonly or inactive): the caller is to send nothing",
	},
	"the callee holds as of old": {
		callee: word{at: "0.0.0.0"}, play: func(c *talk) { c.speaks(Caller, 3, 0) },
		want: "the callee has put the call on hold (0.0.0.0)",
	},
	"the caller only listens": {
		caller: word{lines: "a=recvonly\r\n"}, play: func(c *talk) { c.speaks(Callee, 3, 0) },
		want: "the caller says that it sends nothing",
	},
	"comfort noise": {
		play: func(c *talk) { c.speaks(Caller, 3, 13) },
		want: "only comfort noise came from the caller's phone",
	},
	"RTCP only": {
		play: func(c *talk) { c.reports(Caller) },
		want: "only RTCP came from the caller's phone",
	},
	"no RTP": {
		play: func(c *talk) { c.sends(c.phone[Caller], Caller, []byte("hello, is anybody there?"), c.to[Caller]) },
		want: "what came from the caller's phone was no RTP",
	},
	"a payload type of nobody": {
		play: func(c *talk) { c.both(3); c.speaks(Caller, 30, 77) },
		want: "",
	},
	"only a payload type of nobody": {
		play: func(c *talk) { c.speaks(Caller, 30, 77) },
		want: "the caller's phone sends a payload type that was not negotiated: the callee's cannot play it",
	},
	"the callee is behind NAT and silent": {
		callee: word{at: "192.168.5.5"}, play: func(c *talk) { c.speaks(Caller, 3, 0) },
		want: "the caller's media came, but where the callee's phone is nobody knows: it says 192.168.5.5:PORT, its " +
			"signalling comes from 127.0.0.1",
	},
	"loss before": {
		play: func(c *talk) {
			for range 50 {
				c.both(3)
				c.seq[Caller]++
			}
		},
		want: "25 % of the caller's packets are lost between its phone and this server",
	},
	"loss behind": {
		play: func(c *talk) {
			c.both(200)
			c.reports(Callee, rtcp.ReceptionReport{SSRC: 0x01020300, LastSequenceNumber: 200, TotalLost: 40})
		},
		want: "20 % of the caller's packets are lost between this server and the callee's phone",
	},
	"nothing arrives": {
		play: func(c *talk) {
			c.both(2)
			c.speaks(Caller, 300, 0)
			c.reports(Callee)
			c.reports(Callee)
		},
		want: "but in its reports the callee's phone speaks of none: a firewall on its side drops it",
	},
}

// TestDiagnosis is each usual case of missing audio, in both planes.
func TestDiagnosis(t *testing.T) {
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			inBothPlanes(t, func(t *testing.T, c *talk) {
				c.says(Caller, trouble.caller)
				c.says(Callee, trouble.callee)
				trouble.play(c)
				r := c.report()
				got := c.masked(r.Diagnose(r.Streams[0], Caller))
				if !strings.Contains(got, trouble.want) || trouble.want == "" && got != "" {
					t.Errorf("it is said %q, want %q\n%+v", got, trouble.want, r.Streams[0])
				}
				ended, _ := c.e.Delete(1)
				if then := c.masked(ended.Diagnose(ended.Streams[0], Caller)); then != got {
					t.Errorf("after the call it is said %q, before %q", then, got)
				}
			})
		})
	}
}

// masked hides ports that the system has chosen.
func (c *talk) masked(text string) string {
	return regexp.MustCompile(`(\d\.\d+):\d+`).ReplaceAllString(text, "$1:PORT")
}

// Before the answer, and of a stream that was refused, there is nothing to be heard.
func TestDiagnosisWithoutAgreement(t *testing.T) {
	inBothPlanes(t, func(t *testing.T, c *talk) {
		c.says(Caller, word{})
		r := c.report()
		if got := r.Diagnose(r.Streams[0], Caller); !strings.Contains(got, "have not agreed") {
			t.Errorf("before the answer it is said %q", got)
		}
		c.speaks(Callee, 1, 0) // the answer is still on its way
		early := c.report().Streams[0].Callee
		if early.Dropped[dropNames[dropEarly]] != 1 || early.Strangers[0].Why != refusals[refuseEarly] {
			t.Errorf("before the answer: %+v", early)
		}
		c.says(Callee, word{})
		c.both(3)
		r = c.report()
		r.At = r.Streams[0].Callee.LastMedia.Add(42 * time.Second)
		const silent = "nothing has come from the callee's phone for 42s; before, it did"
		if got := r.Diagnose(r.Streams[0], Callee); got != silent {
			t.Errorf("of a party that went silent it is said %q", got)
		}
		r.Streams[0].Rejected = true
		if got := r.Diagnose(r.Streams[0], Callee); !strings.Contains(got, "refused") {
			t.Errorf("of a refused stream it is said %q", got)
		}
	})
}

// What is counted is the same in both planes: loss, jitter by the codec's
// clock, and what packets are for.
func TestQualityInBothPlanes(t *testing.T) {
	inBothPlanes(t, func(t *testing.T, c *talk) {
		c.says(Caller, word{})
		c.says(Callee, word{})
		c.both(2)
		late := c.steadily()
		c.speaks(Caller, 5, 101)
		s := c.report().Streams[0]
		in := s.Caller
		if [4]uint64{in.Media, in.Events, in.Lost, in.Expected} != [4]uint64{102, 5, 10, 117} || in.Codec != "opus" {
			t.Errorf("%+v", in)
		}
		// Were the clock taken for 8 kHz, each packet would be off by 50 ms.
		if in.Jitter > late+10*time.Millisecond {
			t.Errorf("a steady stream of 48 kHz has a jitter of %v, of which the machine made %v at most", in.Jitter, late)
		}
		if in.Forwarded != in.Packets || in.Score(s.Callee.Quality).MOS != 0 {
			t.Errorf("%d of %d passed on, %+v", in.Forwarded, in.Packets, in.Score(s.Callee.Quality))
		}
		if s.Callee.Codec != "PCMU" || s.Callee.Events != 0 {
			t.Errorf("%+v", s.Callee)
		}
	})
}

// steadily has the caller send 100 packets of 48 kHz at their time; one in eleven
// is lost. It says what jitter may come of the time that a packet took to be
// counted, at most (RFC 3550 §6.4.1).
func (c *talk) steadily() (jitter time.Duration) {
	c.t.Helper()
	began, before := time.Now(), time.Duration(0)
	for i := range 100 {
		if i%10 == 9 {
			c.seq[Caller]++
		}
		time.Sleep(10 * time.Millisecond)
		b, at := c.packet(Caller, 96, 0), time.Since(began)
		binary.BigEndian.PutUint32(b[4:], uint32(at*48000/time.Second))
		c.sends(c.phone[Caller], Caller, b, c.to[Caller])
		took := time.Since(began) - at
		jitter, before = jitter+(max(took, before)-jitter)/16, took
	}
	return jitter
}

// The round trip is measured in two halves, though each party sees the
// other's clock shifted, and a loss at the other end is known from its report.
func TestRoundTripInBothPlanes(t *testing.T) {
	inBothPlanes(t, func(t *testing.T, c *talk) {
		c.says(Caller, word{})
		c.says(Callee, word{})
		c.both(200)
		c.echoes(Caller)
		c.echoes(Callee)
		s := c.report().Streams[0]
		for _, r := range []SideReport{s.Caller, s.Callee} {
			if r.RoundTrips != 1 || r.RoundTrip < 30*time.Millisecond || r.RoundTrip > patience || r.Slowest != r.RoundTrip {
				t.Errorf("round trips %d, %v, %v; want one of at least 30 ms", r.RoundTrips, r.RoundTrip, r.Slowest)
			}
			if r.FarLost != 2 || r.FarExpected != 200 {
				t.Errorf("%d of %d lost at the other end", r.FarLost, r.FarExpected)
			}
		}
		if score := s.Caller.Score(s.Callee.Quality); score.MOS == 0 || !score.Delayed {
			t.Errorf("%+v", score)
		}
	})
}

// The round trip is bounded in both planes by what comes of an answer: here by
// 30 ms that the caller lets pass. The next packets confirm it, whoever relays them.
// Only if the machine let more pass than a start takes, nothing is said.
func TestRoundTripWithinInBothPlanes(t *testing.T) {
	inBothPlanes(t, func(t *testing.T, c *talk) {
		c.says(Caller, word{})
		began := time.Now()
		c.says(Callee, word{})
		time.Sleep(30 * time.Millisecond)
		c.speaks(Caller, 1, 0)
		took := time.Since(began)
		if q := c.report().Streams[0].Caller; q.Within != 0 {
			t.Errorf("at most %v, by a packet that is alone", q.Within)
		}
		c.both(goesOn)
		q := c.report().Streams[0].Caller
		if slow := took > longStart && q.Within == 0; !slow && (q.Within < 30*time.Millisecond || q.Within > took) {
			t.Errorf("at most %v, want from 30 ms to %v", q.Within, took)
		}
	})
}

// echoes has a party send a sender report, and the other one say 50 ms later
// that it came 20 ms ago, and that two packets are missing.
func (c *talk) echoes(from Side) {
	c.t.Helper()
	const ntp = 0xE0001234_80000000
	sr, err := (&rtcp.SenderReport{SSRC: 0x01020300 + uint32(from), NTPTime: ntp}).Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	c.sends(c.phone[from], from, sr, c.control(from))
	seen := senderReport(c.phone[from.Other()])
	if seen.NTPTime == ntp {
		c.t.Error("the clock crosses as it is")
	}
	time.Sleep(50 * time.Millisecond)
	c.reports(from.Other(), rtcp.ReceptionReport{
		SSRC: seen.SSRC, LastSenderReport: uint32(seen.NTPTime >> 16), Delay: 65536 / 50,
		LastSequenceNumber: 200, TotalLost: 2,
	})
}

// senderReport waits for a sender report.
func senderReport(u udp) *rtcp.SenderReport {
	u.t.Helper()
	_ = u.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 2000)
	for {
		n, err := u.Read(b)
		if err != nil {
			u.t.Fatal(err)
		}
		for _, p := range readRTCP(b[:n]) {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				return sr
			}
		}
	}
}

// What a phone reports is believed within limits.
func TestEcho(t *testing.T) {
	now := time.Unix(1000, 0)
	const ntp = 0x11223344_55667788
	about := counts{seen: true, ssrc: 7, base: 100, max: 1099}
	report := func(after, delay time.Duration, lsr uint32) (q Quality) {
		var e echo
		for i := range 3 {
			e.sends(ntp-uint64(i+1)<<32, now.Add(-time.Hour))
		}
		e.sends(ntp, now)
		block := rtcp.ReceptionReport{SSRC: 7, LastSenderReport: lsr, Delay: uint32(delay * 65536 / time.Second)}
		e.hears([]rtcp.ReceptionReport{block}, &about, now.Add(after))
		e.report(&q)
		return q
	}
	const known = 0x33445566
	for name, c := range map[string]struct {
		after, delay time.Duration
		lsr          uint32
		want         time.Duration // -1: none
	}{
		"a way of 30 ms":           {130 * time.Millisecond, 100 * time.Millisecond, known, 30 * time.Millisecond},
		"at once":                  {0, 0, known, 0},
		"a delay a little long":    {100 * time.Millisecond, 105 * time.Millisecond, known, 0},
		"a delay far too long":     {100 * time.Millisecond, time.Second, known, -1},
		"a delay far too short":    {11 * time.Second, 0, known, -1},
		"of no sender report":      {time.Second, 0, 0, -1},
		"of one that nobody sent":  {time.Second, 0, known + 7, -1},
		"a delay that is nonsense": {time.Second, 18 * time.Hour, known, -1},
	} {
		q := report(c.after, c.delay, c.lsr)
		switch {
		case c.want < 0 && q.RoundTrips != 0:
			t.Errorf("%s: %v", name, q.RoundTrip)
		case c.want >= 0 && (q.RoundTrips != 1 || (q.RoundTrip-c.want).Abs() > time.Millisecond):
			t.Errorf("%s: %d of %v, want %v", name, q.RoundTrips, q.RoundTrip, c.want)
		}
	}
}

// A report of what is missing at the other end counts if it can be true.
func TestFarLoss(t *testing.T) {
	about := counts{seen: true, ssrc: 7, base: 65000, max: 65000 + 999}
	for name, c := range map[string]struct {
		block          rtcp.ReceptionReport
		lost, expected uint64
	}{
		"some":              {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 65499, TotalLost: 5}, 5, 500},
		"over the edge":     {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 65000 + 999, TotalLost: 5}, 5, 1000},
		"copies":            {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 65499, TotalLost: 0xffffff}, 0, 500},
		"more than all":     {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 65499, TotalLost: 7000}, 500, 500},
		"another source":    {rtcp.ReceptionReport{SSRC: 8, LastSequenceNumber: 65499, TotalLost: 5}, 0, 0},
		"from before":       {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 64000, TotalLost: 5}, 0, 0},
		"beyond what there": {rtcp.ReceptionReport{SSRC: 7, LastSequenceNumber: 70000, TotalLost: 5}, 0, 0},
	} {
		var e echo
		e.hears([]rtcp.ReceptionReport{c.block}, &about, time.Now())
		if lost, expected := e.far(&about); lost != c.lost || expected != c.expected {
			t.Errorf("%s: %d of %d, want %d of %d", name, lost, expected, c.lost, c.expected)
		}
	}
}

// Whoever sends in a party's name, memory is bounded, and the first are not forgotten.
func TestStrangersAreBounded(t *testing.T) {
	var f face
	at := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 4000)
	}
	for n := range 1000 {
		f.refuse(at(n), refuseHost, time.Now())
	}
	f.refuse(at(0), refuseTaken, time.Now())
	if len(f.strangers) != maxStrangers || f.counts.dropped[dropSource] != 1001 {
		t.Errorf("%d strangers of %d packets", len(f.strangers), f.counts.dropped[dropSource])
	}
	first, last := f.strangers[0], f.strangers[maxStrangers-1]
	if first.from != at(0) || first.packets != 2 || first.rule != refuseTaken || last.from != at(999) {
		t.Errorf("%+v … %+v", first, last)
	}
}
