package txn

import (
	"errors"
	"testing"
	"time"
)

// RFC 3261 §8.2.7: what is answered without a transaction leaves nothing behind;
// a repetition is a new request, and the ACK belongs to nobody.
func TestReplyOnce(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.request = func(srv *Server) {
			if err := srv.ReplyOnce(response(srv.Req, 407)); err != nil {
				t.Error(err)
			}
			if err := srv.Reply(response(srv.Req, 407)); err == nil {
				t.Error("a second final was sent")
			}
		}
		for range 2 {
			s.sends(request("INVITE"))
			if n := s.layer.Transactions(); n != 0 {
				t.Errorf("%d transactions", n)
			}
		}
		s.sends(request("ACK"))
		s.pass(time.Minute)
		s.wants("0.0 request INVITE", "0.0 peer 407 INVITE", "0.0 request INVITE", "0.0 peer 407 INVITE", "0.0 ack")
	})
}

// A request that is dropped is not there.
func TestDrop(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.request = (*Server).Drop
		s.sends(request("INVITE"))
		s.sends(request("INVITE"))
		if n := s.layer.Transactions(); n != 0 {
			t.Errorf("%d transactions", n)
		}
		s.wants("0.0 request INVITE", "0.0 request INVITE")
	})
}

// With a final response the request is needed no more: repetitions, timer G,
// CANCEL and the ACK find what they need. Before, it is kept.
func TestSettled(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.do(s.last().Settle)
		if s.last().Req == nil {
			t.Fatal("the request is gone before its answer")
		}
		req := s.last().Req
		s.replies(486)
		s.do(s.last().Settle)
		s.do(func() {
			if err := s.last().Reply(response(req, 200)); !errors.Is(err, ErrFinal) {
				t.Errorf("one more final: %v", err)
			}
		})
		if s.last().Req != nil {
			t.Fatal("the request is kept")
		}
		s.sends(request("INVITE"))
		s.sends(request("CANCEL"))
		s.pass(time.Second)
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE", "0.0 peer 486 INVITE",
			"0.0 peer 200 CANCEL", "0.5 peer 486 INVITE")
		s.sends(request("ACK"))
		s.pass(20 * time.Second)
		s.wants()
	})
}

// last is the transaction that the layer handed up last.
func (s *stage) last() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}
