package rtpengine

import (
	"sync"
	"testing"
)

// What was relayed never decreases while sessions come and go, and is exact
// when none is on its way: a counter that goes back is one that began anew, for
// whoever computes a rate of it.
func TestRelayedNeverDecreases(t *testing.T) {
	const sessions, packets = 3000, 1000
	e := deafEngine(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for last := uint64(0); ; {
			now := e.Relayed().User
			if now < last {
				t.Errorf("%d, and before %d", now, last)
				return
			}
			last = now
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for id := range ID(sessions) {
		call(t, e, id)
		relayedBy(e, id, packets)
		if id%2 == 1 {
			e.Delete(id - 1)
			e.Delete(id)
		}
	}
	close(done)
	readers.Wait()
	if got := e.Relayed(); got != (Relayed{User: sessions * packets}) {
		t.Errorf("%+v", got)
	}
}

// relayedBy has a session have relayed so many packets of the caller.
func relayedBy(e *Engine, id ID, packets uint64) {
	e.mu.Lock()
	s := e.sessions[id]
	e.mu.Unlock()
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.streams[len(s.streams)-1].faces[Caller].counts.packets += packets
}

// What came on a stream of an offer that was refused stays counted.
func TestRelayedOfARefusedOffer(t *testing.T) {
	e := deafEngine(t)
	call(t, e, 1)
	relayedBy(e, 1, 5)
	video := append(audio(callerIP, 4000), "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"...)
	if _, err := e.Offer(1, Body{From: Caller, SDP: video, Source: callerIP, Toward: V4}); err != nil {
		t.Fatal(err)
	}
	relayedBy(e, 1, 7)
	for _, step := range []func(){func() {}, func() { e.Rollback(1) }, func() { e.Delete(1) }} {
		if step(); e.Relayed() != (Relayed{User: 12}) {
			t.Fatalf("%+v", e.Relayed())
		}
	}
}
