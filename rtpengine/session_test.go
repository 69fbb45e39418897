package rtpengine

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
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
	if _, is := s.died(now, time.Minute, time.Hour); is {
		t.Error("dead as the hold ends")
	}
	for after, want := range map[time.Duration]bool{10 * time.Second: false, 61 * time.Second: true} {
		s.told, s.edited, s.patient = false, now, time.Time{}
		if _, is := s.died(now.Add(after), time.Minute, time.Hour); is != want {
			t.Errorf("dead %v after the hold: %v", after, is)
		}
	}
}

// A session that was found alive is looked at again when it can have died, and
// as soon as signalling has changed something.
func TestAliveForAWhile(t *testing.T) {
	e := deafEngine(t)
	describe := func(port int, at netip.Addr) {
		t.Helper()
		if _, err := e.Offer(1, Body{SDP: audio(at, port)}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Answer(1, Body{From: Callee, SDP: audio(at, port+2)}); err != nil {
			t.Fatal(err)
		}
	}
	describe(4000, callerIP)
	s, now := e.sessions[1], time.Now()
	look := func(after time.Duration) bool {
		_, is := s.died(now.Add(after), time.Minute, 10*time.Second)
		return is
	}
	if look(5*time.Second) || s.patient.Sub(s.awaited) != 10*time.Second {
		t.Errorf("alive for %v after the beginning", s.patient.Sub(s.awaited))
	}
	describe(4000, netip.IPv4Unspecified())
	if look(6*time.Second) || !s.awaited.Equal(now.Add(6*time.Second)) {
		t.Error("that nobody need send is not seen before the session can have died")
	}
	describe(4000, callerIP)
	if look(15 * time.Second) {
		t.Error("the hold counts")
	}
	if !look(17 * time.Second) {
		t.Error("half of it is silent for longer than 10 s, and alive")
	}
}

// A call that both have agreed to put on hold may be silent for as long as
// otherwise one party may, also where who holds could play music.
func TestSilenceOnHold(t *testing.T) {
	e := deafEngine(t)
	died := func(caller, callee string, after time.Duration) bool {
		t.Helper()
		section := "m=audio 7000 RTP/AVP 0\r\na=sendrecv\r\nm=video 7002 RTP/AVP 31\r\n"
		for side, direction := range []string{caller, callee} {
			tell := []func(ID, Body) ([]byte, error){e.Offer, e.Answer}[side]
			text := strings.NewReplacer("sendrecv", direction, "video 7002", "video 0").Replace(section)
			head, _, _ := strings.Cut(string(audio(callerIP, 4000)), "m=")
			if _, err := tell(1, Body{From: Side(side), SDP: []byte(head + text)}); err != nil {
				t.Fatal(err)
			}
		}
		s := e.sessions[1]
		s.awaited = time.Now()
		_, is := s.died(time.Now().Add(after), time.Minute, time.Hour)
		return is
	}
	for _, c := range []struct {
		caller, callee string
		dies           time.Duration
	}{
		{"sendrecv", "sendrecv", time.Minute},
		{"sendonly", "recvonly", time.Hour},
		{"inactive", "inactive", time.Hour},
		{"sendrecv", "recvonly", time.Hour},
		{"sendrecv", "sendrecv", time.Minute},
	} {
		if died(c.caller, c.callee, c.dies-time.Second) || !died(c.caller, c.callee, c.dies+time.Second) {
			t.Errorf("%s and %s: not dead just after %v", c.caller, c.callee, c.dies)
		}
	}
}

// Offers of both parties that cross each other are both refused (RFC 3261
// §14.1); then what was agreed before the first of them holds.
func TestOffersThatCross(t *testing.T) {
	room := &scarce{left: 100}
	e := deafEngine(t, func(c *Config) { c.Listen = room.listen })
	call(t, e, 1)
	s := e.sessions[1]
	held := func() string {
		k := s.kept()
		k.Origins = [2]keptOrigin{} // a version that was sent is not sent again
		return fmt.Sprintf("%+v", k)
	}
	want := held()
	caller := Body{SDP: audio(netip.IPv4Unspecified(), 4000), Source: caller6, Toward: V6}
	callee := Body{From: Callee, SDP: audio(calleeIP, 6006), Source: calleeIP, Toward: V6}
	for _, b := range []Body{caller, callee, caller} {
		if _, err := e.Offer(1, b); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if e.Rollback(1); held() != want || room.open != 4 {
			t.Errorf("%d sockets, and\n%s\nbecame\n%s", room.open, want, held())
		}
	}
}

// A party that offers again before there was any answer, and is refused that,
// goes on with its first offer.
func TestOfferRefusedBeforeTheFirstAnswer(t *testing.T) {
	for _, from := range []Side{Caller, Callee} {
		e := deafEngine(t)
		for _, side := range []Side{Caller, from} {
			if _, err := e.Offer(1, Body{From: side, SDP: audio(callerIP, 4000), Toward: V4}); err != nil {
				t.Fatal(err)
			}
		}
		e.Rollback(1)
		if _, err := e.Answer(1, Body{From: Callee, SDP: audio(calleeIP, 6000), Toward: V4}); err != nil {
			t.Errorf("after an offer of the %v's is refused: %v", from, err)
		}
	}
}

// scarce lets so many sockets more be opened, and knows how many are open.
type scarce struct{ left, open int }

func (s *scarce) listen(netip.AddrPort) (Wire, error) {
	if s.left == 0 {
		return nil, syscall.EMFILE
	}
	s.left--
	s.open++
	return &scarceWire{nullWire{make(chan struct{})}, s}, nil
}

type scarceWire struct {
	nullWire
	of *scarce
}

func (w *scarceWire) Close() error {
	w.of.open--
	return w.nullWire.Close()
}

var caller6 = netip.MustParseAddr("2001:db8:77::5")

// everything is what there is of session 1.
func everything(e *Engine) string {
	s := e.sessions[1]
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	used, _ := e.Ports()
	return fmt.Sprintf("%+v, %d edits, told %v, before %+v, %d ports", s.kept(), s.edits, s.told, s.before, used)
}

// An offer and an answer fail at each socket that they need; then nothing of
// the session has changed, also where a party has just come to be reached in
// the other address family. With one socket more they do not fail.
func TestFailedDescriptionChangesNothing(t *testing.T) {
	video := "m=video 7000 RTP/AVP 96\r\n"
	moved := Body{SDP: append(audio(caller6, 4000), video...), Source: caller6, Toward: V6}
	for name, c := range map[string]struct {
		before  []Body
		tell    func(*Engine, ID, Body) ([]byte, error)
		body    Body
		sockets int
	}{
		"offer of one stream more": {
			nil, (*Engine).Offer, Body{SDP: append(audio(callerIP, 4000), video...), Source: callerIP, Toward: V4}, 4,
		},
		"offer from and to the other family": {nil, (*Engine).Offer, moved, 8},
		"offer of what was refused": {
			[]Body{{SDP: append(audio(callerIP, 4000), "m=video 0 RTP/AVP 96\r\n"...), Source: callerIP, Toward: V4}},
			(*Engine).Offer, moved, 8,
		},
		"answer to the other family": {
			[]Body{{SDP: audio(callerIP, 4000), Source: callerIP, Toward: V4}},
			(*Engine).Answer,
			Body{From: Callee, SDP: audio(calleeIP, 6000), Source: calleeIP, Toward: V6},
			2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			room := &scarce{left: SocketsPerCall}
			e := deafEngine(t, func(c *Config) { c.Listen = room.listen })
			call(t, e, 1)
			for _, b := range c.before {
				if _, err := e.Offer(1, b); err != nil {
					t.Fatal(err)
				}
			}
			room.failsBefore(t, e, c.sockets, func() error {
				_, err := c.tell(e, 1, c.body)
				return err
			})
		})
	}
}

// failsBefore describes a call anew with room for 0, 1, 2, … sockets more.
func (s *scarce) failsBefore(t *testing.T, e *Engine, sockets int, describe func() error) {
	t.Helper()
	want := everything(e)
	for n := range sockets {
		s.left = n
		if err := describe(); !errors.Is(err, ErrNoSockets) {
			t.Fatalf("with room for %d sockets more: %v", n, err)
		}
		if got := everything(e); got != want || s.open != SocketsPerCall {
			t.Fatalf("with room for %d sockets more, %d are open and\n%s\nbecame\n%s", n, s.open, want, got)
		}
	}
	s.left = sockets
	if err := describe(); err != nil || s.left != 0 {
		t.Errorf("%v, and %d sockets were not needed", err, s.left)
	}
	if e.Delete(1); s.open != 0 {
		t.Errorf("%d sockets are left", s.open)
	}
}

// A refused offer takes a party back to where it was reached before, also to
// the other address family. What no rollback can need any more is closed.
func TestRollbackAfterAMove(t *testing.T) {
	room := &scarce{left: 100}
	e := deafEngine(t, func(c *Config) { c.Listen = room.listen })
	call(t, e, 1)
	v4 := Body{SDP: audio(callerIP, 4000), Source: callerIP, Toward: V4}
	v6 := Body{SDP: audio(caller6, 4000), Source: caller6, Toward: V6}
	held := func() string {
		s := e.sessions[1]
		s.loop.mu.Lock()
		defer s.loop.mu.Unlock()
		k := s.kept()
		k.Origins = [2]keptOrigin{} // a version that was sent is not sent again
		return fmt.Sprintf("%+v, by %+v", k, s.agreed())
	}
	want := held()
	for range 3 {
		if _, err := e.Offer(1, v6); err != nil || room.open != 8 {
			t.Fatalf("%v, %d sockets", err, room.open)
		}
		e.Rollback(1)
		if got := held(); got != want || room.open != 4 {
			t.Fatalf("%d sockets, and\n%s\nbecame\n%s", room.open, want, got)
		}
	}
	for _, b := range []Body{v6, v4, v6, v6} {
		if _, err := e.Offer(1, b); err != nil || room.open > 8 {
			t.Fatalf("%v, %d sockets", err, room.open)
		}
	}
	if used, _ := e.Ports(); room.open != 4 || used != 4 {
		t.Errorf("%d sockets, %d ports after an offer that moves nobody", room.open, used)
	}
	if _, err := e.Offer(1, v4); err != nil {
		t.Fatal(err)
	}
	if e.Delete(1); room.open != 0 {
		t.Errorf("%d sockets are left", room.open)
	}
}
