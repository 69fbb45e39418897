package txn

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// RFC 3261 §17.1.1.2: timer A doubles, timer B ends it after 64*T1.
func TestInviteUnanswered(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(time.Minute)
		s.wants("0.0 peer INVITE", "0.5 peer INVITE", "1.5 peer INVITE", "3.5 peer INVITE", "7.5 peer INVITE",
			"15.5 peer INVITE", "31.5 peer INVITE", "32.0 timeout")
	})
	run(t, "tcp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(time.Minute)
		s.wants("0.0 peer INVITE", "32.0 timeout")
	})
}

// §17.1.1.2: a provisional ends timers A and B; the proxy has timer C.
func TestInviteProceeding(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		s.answers(100)
		s.answers(180)
		s.pass(6 * time.Minute)
		s.wants("0.0 peer INVITE", "0.0 response 100", "0.0 response 180")
		s.answers(486)
		s.wants("360.0 response 486", "360.0 peer ACK")
	})
}

// §17.1.1.2: each retransmission of a final gets its ACK at once (T5), the
// sink hears it once, and after timer D nobody knows the transaction.
func TestInviteRefused(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.answers(486)
		s.wants("0.0 peer INVITE", "0.0 response 486", "0.0 peer ACK")
		for range 3 {
			s.sends(response(invite, 486))
		}
		s.sends(response(invite, 180)) // late, lost its way
		s.sends(response(invite, 200)) // of another branch downstream: not ours to acknowledge
		s.wants("0.0 peer ACK", "0.0 peer ACK", "0.0 peer ACK")
		s.pass(31 * time.Second)
		s.sends(response(invite, 486))
		s.wants("31.0 peer ACK")
		s.pass(2 * time.Second)
		s.sends(response(invite, 486))
		s.wants("33.0 stray 486")
	})
	run(t, "tcp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.answers(486)
		s.pass(100 * time.Millisecond)
		s.sends(response(invite, 486)) // timer D is 0 on a reliable transport
		s.wants("0.0 peer INVITE", "0.0 response 486", "0.0 peer ACK", "0.0 stray 486")
	})
}

// §17.1.1.3: what the ACK to a refusal is made of.
func TestAckToRefusal(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.starts(request("INVITE", "Via:", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtop\r\nVia:"))
		s.pass(100 * time.Millisecond)
		s.answers(486)
		s.pass(100 * time.Millisecond)
		want := "ACK sip:bob@198.51.100.7 SIP/2.0\r\n" +
			"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtop;received=192.0.2.1\r\n" +
			"Route: <sip:198.51.100.7;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\n" +
			"To: <sip:bob@example.com>;tag=remote\r\nCall-ID: call\r\nCSeq: 7 ACK\r\nContent-Length: 0\r\n\r\n"
		ack := s.got.(*sip.Request)
		ack.Via().Params.Remove("received")
		ack.Via().Params.Add("received", "192.0.2.1")
		if got := string(wire.Bytes(ack)); got != want {
			s.t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// RFC 6026 §7.2: every 2xx passes, also of other forks, until timer M.
func TestInviteAccepted(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		invite := s.got.(*sip.Request)
		s.answers(200)
		s.answers(200)
		s.sends(response(invite, 200, func(r *sip.Response) { r.To().Params.Add("tag", "other") }))
		s.sends(response(invite, 180)) // late
		s.sends(response(invite, 486)) // late
		s.wants("0.0 peer INVITE", "0.0 response 200", "0.0 response 200", "0.0 response 200")
		s.pass(31 * time.Second)
		s.sends(response(invite, 200))
		s.wants("31.0 response 200")
		s.pass(2 * time.Second)
		s.sends(response(invite, 200))
		s.wants("33.0 stray 200")
	})
}

// §17.1.2.2: timer E doubles up to T2, timer F ends it after 64*T1.
func TestNonInviteUnanswered(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(time.Minute)
		s.wants("0.0 peer OPTIONS", "0.5 peer OPTIONS", "1.5 peer OPTIONS", "3.5 peer OPTIONS", "7.5 peer OPTIONS",
			"11.5 peer OPTIONS", "15.5 peer OPTIONS", "19.5 peer OPTIONS", "23.5 peer OPTIONS", "27.5 peer OPTIONS",
			"31.5 peer OPTIONS", "32.0 timeout")
	})
	run(t, "tcp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(time.Minute)
		s.wants("0.0 peer OPTIONS", "32.0 timeout")
	})
}

// §17.1.2.2: once a provisional came, every T2; timer F goes on.
func TestNonInviteProceeding(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		s.answers(183)
		s.pass(time.Minute)
		s.wants("0.0 peer OPTIONS", "0.0 response 183", "0.5 peer OPTIONS", "4.5 peer OPTIONS", "8.5 peer OPTIONS",
			"12.5 peer OPTIONS", "16.5 peer OPTIONS", "20.5 peer OPTIONS", "24.5 peer OPTIONS", "28.5 peer OPTIONS",
			"32.0 timeout")
	})
}

// §17.1.2.2: timer K is T4 (T10), and absorbs what comes again.
func TestNonInviteAnswered(t *testing.T) {
	run(t, "udp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		options := s.got.(*sip.Request)
		s.answers(200)
		s.answers(200)
		s.pass(4500 * time.Millisecond)
		s.sends(response(options, 200))
		s.wants("0.0 peer OPTIONS", "0.0 response 200")
		s.pass(time.Second)
		s.sends(response(options, 200))
		s.wants("5.5 stray 200")
	})
	run(t, "tcp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		options := s.got.(*sip.Request)
		s.answers(200)
		s.pass(50 * time.Millisecond)
		s.sends(response(options, 200))
		s.wants("0.0 peer OPTIONS", "0.0 response 200", "0.0 stray 200")
	})
}

// §17.1.3: the branch, without case, and the method in CSeq.
func TestResponseFindsItsTransaction(t *testing.T) {
	run(t, "udp tcp", func(s *stage) {
		s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		options := s.got.(*sip.Request)
		s.sends(response(options, 200, func(r *sip.Response) { r.CSeq().MethodName = "INFO" }))
		s.sends(response(options, 200, func(r *sip.Response) { r.Via().Params.Add("branch", "z9hG4bKother") }))
		s.sends(response(options, 200, func(r *sip.Response) { r.Via().Params.Add("branch", "Z9HG4BKONE") }))
		s.wants("0.0 peer OPTIONS", "0.0 stray 200", "0.0 stray 200", "0.0 response 200")
	})
}

// A response belongs to the worker of its transaction's owner, whatever
// Call-ID the request went out with.
func TestResponseWithHiddenCallID(t *testing.T) {
	var workers map[*worker]bool
	run(t, "udp", func(s *stage) {
		workers = map[*worker]bool{}
		for _, id := range []string{"one", "two", "three", "four", "five", "six"} {
			c := s.starts(request("OPTIONS", "Call-ID: call", "Call-ID: "+id, "z9hG4bKone", "z9hG4bK"+id))
			workers[c.w] = true
			s.pass(100 * time.Millisecond)
			s.answers(200)
		}
		if len(workers) != 1 {
			s.t.Errorf("%d workers for one owner", len(workers))
		}
	})
}

func TestTransportFails(t *testing.T) {
	run(t, "tcp", func(s *stage) {
		s.peer.Close() // refused
		s.starts(request("INVITE"))
		s.pass(100 * time.Millisecond)
		s.wants("0.0 transport failed")
	})
	run(t, "tcp", func(s *stage) {
		s.starts(request("INVITE"))
		s.starts(request("OPTIONS"))
		s.pass(100 * time.Millisecond)
		s.answers(100)
		s.from.Close("test")
		s.pass(100 * time.Millisecond)
		s.wants("0.0 peer INVITE", "0.0 peer OPTIONS", "0.0 response 100", "0.0 transport failed", "0.0 transport failed")
	})
	run(t, "udp", func(s *stage) {
		s.mux.Close()
		f := s.mux.Find(flow.Ref{Transport: "udp", Local: ours, Peer: theirs})
		s.do(func() {
			if _, err := s.layer.Start("call", request("INVITE"), f, sink{s}); err != nil {
				s.t.Error(err)
			}
			s.note("started") // before it has failed
		})
		s.pass(100 * time.Millisecond)
		s.wants("0.0 started", "0.0 transport failed")
	})
}
