package txn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// gives up an INVITE.
func (s *stage) givesUp(c *Client) {
	s.t.Helper()
	s.do(func() { c.Cancel(sip.NewHeader("Reason", "SIP;cause=200")) })
}

// RFC 3261 §9.1: the CANCEL waits for a provisional, once.
func TestCancelWaitsForProvisional(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		c := s.starts(request("INVITE"))
		s.givesUp(c)
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.wants("0.0 peer INVITE")
		s.answers(100)
		s.wants("0.0 response 100", "0.0 peer CANCEL")
		cancel := s.got.(*sip.Request)
		s.sends(response(cancel, 200))
		s.sends(response(invite, 180))
		s.givesUp(c)
		s.sends(response(invite, 487))
		s.wants("0.0 response 180", "0.0 response 487", "0.0 peer ACK")
		s.givesUp(c) // it is over
		s.wants()
	})
}

// §9.1: what the CANCEL is made of.
func TestCancelMessage(t *testing.T) {
	run(t, "udp", func(s *stage) {
		c := s.starts(request("INVITE", "Via:", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtop;received=192.0.2.1\r\nVia:"))
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.answers(180)
		s.givesUp(c)
		s.pass(100 * time.Millisecond)
		want := "CANCEL sip:bob@198.51.100.7 SIP/2.0\r\n" +
			"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtop;received=192.0.2.1\r\n" +
			"Route: <sip:198.51.100.7;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\n" +
			"To: <sip:bob@example.com>\r\nCall-ID: call\r\nCSeq: 7 CANCEL\r\nReason: SIP;cause=200\r\n" +
			"Content-Length: 0\r\n\r\n"
		if got := string(wire.Bytes(s.got)); got != want {
			s.t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		s.answers(200)
		s.sends(response(invite, 487))
	})
}

// The 200 crosses the CANCEL: the call is answered.
func TestCancelCrossesAnswer(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		c := s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.answers(180)
		s.givesUp(c)
		s.sends(response(invite, 200))
		s.wants("0.0 peer INVITE", "0.0 response 180", "0.0 peer CANCEL", "0.0 response 200")
		s.sends(response(s.got.(*sip.Request), 481))
		s.wants()
	})
}

// A final comes before any provisional: there is nothing to cancel.
func TestCancelNotSentAfterFinal(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		c := s.starts(request("INVITE"))
		s.givesUp(c)
		s.pass(100 * time.Millisecond)
		s.answers(200)
		s.pass(40 * time.Second)
		s.wants("0.0 peer INVITE", "0.0 response 200")
	})
}

// §9.1: who does not answer a CANCEL and its INVITE within 64*T1 is gone.
func TestCancelUnanswered(t *testing.T) {
	run(t, "udp", func(s *stage) {
		c := s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		s.answers(180)
		s.pass(59900 * time.Millisecond)
		s.givesUp(c)
		s.pass(time.Minute)
		s.wants("0.0 peer INVITE", "0.0 response 180", "60.0 peer CANCEL", "60.5 peer CANCEL", "61.5 peer CANCEL",
			"63.5 peer CANCEL", "67.5 peer CANCEL", "71.5 peer CANCEL", "75.5 peer CANCEL", "79.5 peer CANCEL",
			"83.5 peer CANCEL", "87.5 peer CANCEL", "91.5 peer CANCEL", "92.0 timeout")
	})
}

// Only an INVITE can be cancelled (§9.1).
func TestCancelOfNonInvite(t *testing.T) {
	run(t, "udp", func(s *stage) {
		c := s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		s.answers(100)
		s.givesUp(c)
		s.answers(200)
		s.wants("0.0 peer OPTIONS", "0.0 response 100", "0.0 response 200")
	})
}

// §9.2: the layer answers the CANCEL and tells the user, once; the INVITE's
// final is the user's (T1).
func TestCancelReceived(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(180)
		s.sends(request("CANCEL"))
		s.wants("0.0 request INVITE", "0.0 peer 180 INVITE", "0.0 cancel", "0.0 peer 200 CANCEL")
		if tag, _ := wire.Param(s.got.To().Params, "tag"); tag != "remote" {
			s.t.Errorf("To tag %q: §9.2 wants that of the INVITE's responses", tag)
		}
		s.sends(request("CANCEL"))
		s.wants("0.0 peer 200 CANCEL")
		s.replies(487)
		s.sends(request("ACK"))
		s.wants("0.0 peer 487 INVITE")
	})
}

func TestCancelBeforeAnyResponse(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.cancel = func(srv *Server) { _ = srv.Reply(response(srv.Req, 487)) } // within the callback (T13)
		s.sends(request("INVITE"))
		s.sends(request("CANCEL"))
		s.sends(request("ACK"))
		s.wants("0.0 request INVITE", "0.0 cancel", "0.0 peer 200 CANCEL", "0.0 peer 487 INVITE")
		s.pass(time.Minute)
		s.wants()
	})
}

// §9.2: 481 for a CANCEL of nothing; no word to the user for one that is late.
func TestCancelTooLate(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("CANCEL"))
		s.wants("0.0 peer 481 CANCEL")
		s.sends(request("INVITE", "z9hG4bKone", "z9hG4bKtwo"))
		s.replies(200)
		s.sends(request("CANCEL", "z9hG4bKone", "z9hG4bKtwo"))
		s.wants("0.0 request INVITE", "0.0 peer 200 INVITE", "0.0 peer 200 CANCEL")
	})
}

// A CANCEL right behind its INVITE never overtakes it (T3).
func TestOrderIsKept(t *testing.T) {
	const calls = 3000
	run(t, "udp tcp", func(s *stage) {
		s.cancel = func(srv *Server) { _ = srv.Reply(response(srv.Req, 487)) }
		for i := range calls {
			s.sendsPair(fmt.Sprint(i))
			if i%100 == 99 { // as much as the peer's queue holds
				s.pass(10 * time.Millisecond)
			}
		}
		s.pass(100 * time.Millisecond)
		found := s.count()
		for _, what := range []string{"request INVITE", "cancel", "peer 200 CANCEL"} {
			if found[what] != calls {
				s.t.Errorf("%q happened %d times: %v", what, found[what], found)
			}
		}
		if n := found["peer 481 CANCEL"]; n != 0 {
			s.t.Errorf("%d CANCELs came before their INVITE", n)
		}
	})
}

// sendsPair sends an INVITE and its CANCEL back to back.
func (s *stage) sendsPair(id string) {
	s.t.Helper()
	f, err := s.peer.To(s.transport, ours, "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, method := range []string{"INVITE", "CANCEL"} {
		req := request(method, "Call-ID: call", "Call-ID: "+id, "z9hG4bKone", "z9hG4bK"+id)
		if err := f.Send(wire.Bytes(req)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// count says how often each thing has happened.
func (s *stage) count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]int{}
	for _, l := range s.log {
		_, what, _ := strings.Cut(l, " ")
		found[what]++
	}
	s.log = nil
	return found
}
