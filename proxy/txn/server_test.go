package txn

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sotto/proxy/wire"
)

// RFC 3261 §17.2.1: a retransmission gets the last response; without one
// nothing, since the user answers 100 at once.
func TestInviteRepeated(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.sends(request("INVITE"))
		s.wants("0.0 request INVITE")
		s.replies(100)
		s.replies(180)
		s.sends(request("INVITE"))
		s.wants("0.0 peer 100 INVITE", "0.0 peer 180 INVITE", "0.0 peer 180 INVITE")
		s.pass(10 * time.Minute) // nothing ends it but the user
		s.replies(486)
		s.sends(request("ACK"))
		s.wants("600.0 peer 486 INVITE")
	})
}

// §17.2.1: timer G sends a refusal again until the ACK, timer I absorbs more
// of them, and of the INVITE what the ACK has overtaken.
func TestRefusalAcknowledged(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(486)
		s.sends(request("INVITE"))
		s.pass(7 * time.Second)
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE", "0.0 peer 486 INVITE", "0.5 peer 486 INVITE",
			"1.5 peer 486 INVITE", "3.5 peer 486 INVITE")
		s.sends(request("ACK"))
		s.sends(request("ACK"))
		s.sends(request("INVITE"))
		s.pass(4500 * time.Millisecond)
		s.sends(request("ACK"))
		s.wants()
		s.pass(time.Second)
		s.sends(request("ACK"))
		s.wants("12.5 ack")
	})
	run(t, "tcp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(486)
		s.pass(20 * time.Second)
		s.sends(request("ACK")) // not handed up (T8)
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE")
		s.pass(time.Second)
		s.sends(request("ACK")) // timer I is 0 on a reliable transport
		s.wants("21.0 ack")
	})
}

// §17.2.1: without an ACK timer H ends it after 64*T1.
func TestRefusalNotAcknowledged(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(486)
		s.pass(time.Minute)
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE", "0.5 peer 486 INVITE", "1.5 peer 486 INVITE",
			"3.5 peer 486 INVITE", "7.5 peer 486 INVITE", "11.5 peer 486 INVITE", "15.5 peer 486 INVITE",
			"19.5 peer 486 INVITE", "23.5 peer 486 INVITE", "27.5 peer 486 INVITE", "31.5 peer 486 INVITE")
	})
}

// RFC 6026 §7.1: an answered INVITE is absorbed until timer L, its ACKs pass,
// and so do further 2xx.
func TestAnswered(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(200)
		s.sends(request("INVITE"))
		s.replies(200)
		s.sends(request("ACK"))
		s.sends(request("ACK", "z9hG4bKone", "z9hG4bKack"))
		s.wants("0.0 request INVITE", "0.0 peer 200 INVITE", "0.0 peer 200 INVITE", "0.0 ack", "0.0 ack")
		s.pass(31 * time.Second)
		s.sends(request("INVITE"))
		s.wants()
		s.pass(2 * time.Second)
		s.sends(request("INVITE"))
		s.wants("33.0 request INVITE")
		s.replies(486)
		s.pass(10 * time.Millisecond)
		s.sends(request("ACK"))
		s.wants("33.0 peer 486 INVITE")
	})
}

// Nothing follows a final, and nothing takes its place (T2).
func TestNothingAfterFinal(t *testing.T) {
	const late = ": transaction has its final response"
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.replies(486)
		s.replies(180)
		s.replies(200)
		s.sends(request("INVITE"))
		s.sends(request("ACK"))
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE", "0.0 reply 180"+late, "0.0 reply 200"+late,
			"0.0 peer 486 INVITE")
		s.sends(request("INVITE", "z9hG4bKone", "z9hG4bKtwo", "CSeq: 7", "CSeq: 8"))
		s.replies(200)
		s.replies(180)
		s.replies(486)
		s.wants("0.0 request INVITE", "0.0 peer 200 INVITE", "0.0 reply 180"+late, "0.0 reply 486"+late)
		s.sends(request("OPTIONS", "z9hG4bKone", "z9hG4bKthree", "CSeq: 7", "CSeq: 9"))
		s.replies(404)
		s.replies(200)
		s.wants("0.0 request OPTIONS", "0.0 peer 404 OPTIONS", "0.0 reply 200"+late)
	})
}

// §17.2.2: the final is sent again for each retransmission until timer J.
func TestNonInviteRepeated(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("OPTIONS"))
		s.sends(request("OPTIONS"))
		s.replies(200)
		s.sends(request("OPTIONS"))
		s.wants("0.0 request OPTIONS", "0.0 peer 200 OPTIONS", "0.0 peer 200 OPTIONS")
		s.pass(31 * time.Second)
		s.sends(request("OPTIONS"))
		s.wants("31.0 peer 200 OPTIONS")
		s.pass(2 * time.Second)
		s.sends(request("OPTIONS"))
		s.wants("33.0 request OPTIONS")
	})
	run(t, "tcp", func(s *stage) {
		s.sends(request("OPTIONS"))
		s.replies(200)
		s.pass(10 * time.Millisecond)
		s.sends(request("OPTIONS")) // timer J is 0: it is a new one
		s.wants("0.0 request OPTIONS", "0.0 peer 200 OPTIONS", "0.0 request OPTIONS")
	})
}

// RFC 4320 §4.2: nobody waits longer for an answer than 64*T1.
func TestNonInviteNeverAnswered(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.sends(request("OPTIONS"))
		s.pass(33 * time.Second)
		s.replies(200)
		s.wants("0.0 request OPTIONS", "33.0 reply 200: transaction has its final response")
	})
}

// RFC 3261 §17.2.3: branch, sent-by and method tell transactions apart.
func TestRequestFindsItsTransaction(t *testing.T) {
	run(t, "udp", func(s *stage) {
		for _, changes := range [][]string{
			{"z9hG4bKone", "z9hG4bKtwo", "CSeq: 7", "CSeq: 8"},
			{"192.0.2.9:5060", "192.0.2.9:5061", "CSeq: 7", "CSeq: 9"},
			{"192.0.2.9:5060", "192.0.2.8:5060", "CSeq: 7", "CSeq: 10"},
			{},
		} {
			s.sends(request("OPTIONS", changes...))
			s.sends(request("OPTIONS", changes...))
			s.wants("0.0 request OPTIONS")
		}
		s.sends(request("INFO", "CSeq: 7", "CSeq: 11"))
		s.wants("0.0 request INFO")
		s.sends(request("OPTIONS", "z9hG4bKone", "Z9HG4BKONE"))
		s.wants()
	})
}

// §17.2.3: elements of RFC 2543 send no branch that says anything.
func TestRequestOfOldElement(t *testing.T) {
	for _, branch := range []string{"", ";branch=1", ";branch=z9hG4bK"} {
		run(t, "udp", func(s *stage) {
			old := []string{";branch=z9hG4bKone", branch}
			s.sends(request("INVITE", old...))
			s.sends(request("INVITE", old...))
			s.replies(486)
			s.sends(request("ACK", old...))
			s.pass(40 * time.Second)
			s.wants("0.0 request INVITE", "0.0 peer 486 INVITE")
			s.sends(request("INVITE", append(old, "CSeq: 7", "CSeq: 8")...))
			s.sends(request("CANCEL", append(old, "CSeq: 7", "CSeq: 8")...))
			s.wants("40.0 request INVITE", "40.0 cancel", "40.0 peer 200 CANCEL")
			s.replies(487)
		})
	}
}

// §8.2.2.2: the same request by two ways is refused the second time; what
// comes back for another target is a spiral, and within a dialog all is well.
func TestMerged(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.sends(request("INVITE"))
		s.wants("0.0 request INVITE")
		first := s.srv
		s.sends(request("INVITE", "z9hG4bKone", "z9hG4bKtwo"))
		s.sends(request("ACK", "z9hG4bKone", "z9hG4bKtwo"))
		s.wants("0.0 peer 482 INVITE")
		if tag, _ := wire.Param(s.got.To().Params, "tag"); tag == "" {
			s.t.Error("482 without a tag")
		}
		spiral := []string{"z9hG4bKone", "z9hG4bKthree", "sip:bob@198.51.100.7 SIP", "sip:carol@198.51.100.7 SIP"}
		s.sends(request("INVITE", spiral...))
		s.replies(486)
		s.sends(request("ACK", spiral...))
		s.wants("0.0 request INVITE", "0.0 peer 486 INVITE")
		s.sends(request("INFO", "example.com>\r\nCall", "example.com>;tag=b\r\nCall"))
		s.sends(request("INFO", "example.com>\r\nCall", "example.com>;tag=b\r\nCall", "z9hG4bKone", "z9hG4bKfour"))
		s.wants("0.0 request INFO", "0.0 request INFO")
		s.do(func() { _ = first.Reply(response(first.Req, 486)) })
		s.sends(request("ACK"))
		s.wants("0.0 peer 486 INVITE")
		s.pass(6 * time.Second)
		s.sends(request("INVITE", "z9hG4bKone", "z9hG4bKfive")) // the first is over
		s.wants("6.0 request INVITE")
		s.replies(486)
	})
}

// An ACK and a response that belong to nothing are the user's.
func TestStray(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.sends(request("ACK"))
		s.sends(response(request("INVITE"), 200))
		s.wants("0.0 ack", "0.0 stray 200")
	})
}

// Who is full says so, to each request but an ACK (T4).
func TestFull(t *testing.T) {
	run(t, "udp", func(s *stage) {
		for _, n := range []string{"1", "2", "3"} {
			s.sends(request("OPTIONS", "z9hG4bKone", "z9hG4bK"+n, "CSeq: 7", "CSeq: "+n))
		}
		s.wants("0.0 request OPTIONS", "0.0 request OPTIONS", "0.0 peer 503 OPTIONS")
		if wire.Header(s.got, "Retry-After") != "5" {
			s.t.Errorf("503 without Retry-After:\n%s", s.got)
		}
		s.sends(request("ACK"))
		s.sends(request("CANCEL"))
		s.wants("0.0 ack", "0.0 peer 503 CANCEL")
		s.do(func() {
			f, _ := s.mux.To("udp", theirs, "")
			if _, err := s.layer.Start("call", request("INFO"), f, sink{s}); !errors.Is(err, ErrBusy) {
				s.t.Errorf("third transaction: %v", err)
			}
		})
	}, func(c *Config) { c.MaxTransactions = 2 })
}

func TestQueueFull(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.request = func(*Server) { time.Sleep(time.Second) } // a user that blocks
		for _, method := range []string{"OPTIONS", "INFO", "MESSAGE", "ACK"} {
			s.sends(request(method))
		}
		s.wants("0.0 request OPTIONS", "0.0 peer 503 MESSAGE")
		s.pass(3 * time.Second)
		s.wants("1.0 request INFO")
		if err := s.layer.Do("call", func() { time.Sleep(time.Second) }); err != nil {
			s.t.Error(err)
		}
		synctest.Wait()
		ran := 0
		for range 3 { // one is queued, the others wait elsewhere
			if err := s.layer.Do("call", func() { ran++ }); err != nil {
				s.t.Errorf("full queue: %v", err)
			}
		}
		s.pass(2 * time.Second)
		if ran != 3 {
			s.t.Errorf("%d of 3 functions ran", ran)
		}
	}, func(c *Config) { c.Queue = 1 })
}

// The user's own state and its timers belong to the transaction's worker.
func TestServerAfter(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.request = func(srv *Server) {
			if srv.CallID() != "call" || srv.Final() {
				s.t.Error(srv.CallID(), srv.Final())
			}
			srv.After(3*time.Second, func() { _ = srv.Reply(response(srv.Req, 200)) })
			srv.After(2*time.Second, func() { s.t.Error("stopped timer ran") }).Stop()
		}
		s.sends(request("OPTIONS"))
		s.pass(4 * time.Second)
		s.wants("0.0 request OPTIONS", "3.0 peer 200 OPTIONS")
		final := make(chan bool, 1) // of the worker's transaction; asked on its worker
		if err := s.layer.Do("call", func() { final <- s.srv.Final() }); err != nil || !<-final {
			s.t.Error("no final", err)
		}
	})
}

// A response goes to where its request came from, whoever Via names.
func TestResponseGoesBack(t *testing.T) {
	run(t, "tcp", func(s *stage) {
		s.sends(request("OPTIONS"))
		if s.srv.Flow.Peer().Addr() != theirs.Addr() {
			s.t.Errorf("from %v", s.srv.Flow.Peer())
		}
		s.from.Close("test")
		s.pass(time.Second)
		s.replies(200) // into the void
		s.wants("0.0 request OPTIONS")
	})
}
