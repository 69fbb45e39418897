package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// every is all methods that a stranger may try outside of a dialog.
var every = []string{
	"OPTIONS", "SUBSCRIBE", "MESSAGE", "REFER", "INFO", "NOTIFY", "PUBLISH", "UPDATE", "REGISTER", "PRACK", "BYE", "FOO",
}

func TestEveryMethodOfAStrangerIsAnsweredAlike(t *testing.T) {
	for _, g := range []string{"udp", "tcp", "tls"} {
		t.Run(g, func(t *testing.T) {
			stranger(t, func(_ *testing.T, s *proxytest.Stage) {
				s.Mallory = s.Phone("mallory", func(c *phone.Config) { c.Transport = g })
				s.Bob.Does(func(context.Context) error { return s.Bob.Refuse("OPTIONS", 486) })
				for _, method := range every {
					s.Mallory.Asks(method, "bob", phone.Header("Event", "presence"))
					s.Wait(settled)
				}
				s.Bob.HearsNothing()
			})
		})
	}
}

// Whoever does not know the password of a user hears the same as of one who
// does not exist, however often, and so does whoever claims to be one in a call.
func TestWrongPasswordsTellNoState(t *testing.T) {
	stranger(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory = s.Phone("bob", func(c *phone.Config) { c.Password = "guessed" })
		for i := range 6 {
			if _, err := s.Mallory.Register(t.Context()); phone.Status(err) != 401 {
				t.Errorf("guess %d: %v", i, err)
			}
			s.Wait(settled)
		}
		s.Mallory.Invites("bob").IsRefused(407)
		if code := s.Mallory.Asks("MESSAGE", "bob"); code != 407 {
			t.Errorf("MESSAGE was answered %d", code)
		}
		s.Bob.HearsNothing()
	})
}

// oddities are INVITEs that phones answer in ways of their own: strangers must
// not learn which.
var oddities = []struct {
	name string
	opts []phone.Option
}{
	{"codecs that nobody has", sdp("m=audio 9 RTP/AVP 127\r\na=rtpmap:127 x-odd/96000/7\r\n")},
	{"fax", sdp("m=image 9 udptl t38\r\na=T38FaxVersion:0\r\n")},
	{"messages", sdp("m=message 9 TCP/MSRP *\r\na=path:msrp://198.51.100.13:9/x;tcp\r\n")},
	{"no stream", sdp("")},
	{"20 streams", sdp(strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 20))},
	{"description that is none", []phone.Option{phone.Body("application/sdp", "hello")}},
	{"one octet", []phone.Option{phone.Body("application/sdp", "v")}},
	{"30 KB", sdp("m=audio 9 RTP/AVP 0\r\n" + strings.Repeat("a=x-fill:"+strings.Repeat("y", 90)+"\r\n", 300))},
	{"other body", []phone.Option{phone.Body("application/isup", "\x01\x02")}},
	{"multipart", []phone.Option{phone.Body("multipart/mixed;boundary=b",
		"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n")}},
	{"encoded", []phone.Option{phone.Header("Content-Encoding", "gzip")}},
	{"unknown extension", []phone.Option{phone.Header("Require", "x-odd")}},
	{"extension of hops", []phone.Option{phone.Header("Proxy-Require", "x-odd")}},
	{"preconditions", []phone.Option{phone.Header("Require", "100rel, precondition")}},
	{"short session", []phone.Option{phone.Headers(phone.Field{Name: "Session-Expires", Value: "10"},
		phone.Field{Name: "Min-SE", Value: "10"})}},
	{"expiry", []phone.Option{phone.Expires(3)}},
	{"Replaces", []phone.Option{phone.Header("Replaces", "x;to-tag=1;from-tag=2")}},
	{"Join", []phone.Option{phone.Header("Join", "x;to-tag=1;from-tag=2")}},
	{"privacy", []phone.Option{phone.Header("Privacy", "header;session;id")}},
	{"answer mode", []phone.Option{phone.Header("Answer-Mode", "Auto;require")}},
	{"bogus token", []phone.Option{phone.Header("Privacy-Token", "pt1."+strings.Repeat("A", 100))}},
	{"alert", []phone.Option{phone.Header("Alert-Info", "<http://198.51.100.13/ring>")}},
	{"accept nothing", []phone.Option{phone.Header("Accept", "text/x-odd")}},
}

// sdp is a description of its own.
func sdp(streams string) []phone.Option {
	return []phone.Option{phone.Body("application/sdp",
		"v=0\r\no=- 1 1 IN IP4 198.51.100.13\r\ns=-\r\nc=IN IP4 198.51.100.13\r\nt=0 0\r\n"+streams)}
}

func TestOddInvitesOfAStranger(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		for _, o := range oddities {
			out := s.Mallory.Invites("bob", o.opts...)
			out.Does(func(ctx context.Context) error {
				if code := phone.Status(out.Answered(ctx)); code < 400 {
					return fmt.Errorf("%s was answered %d", o.name, code)
				}
				return nil
			})
			s.Wait(2 * settled) // its transactions are over, and the notice is out
		}
	})
}

func TestRequestsOfAStrangerInTheEarlyDialog(t *testing.T) {
	for _, rel := range []bool{false, true} {
		t.Run(fmt.Sprintf("reliable %v", rel), func(t *testing.T) {
			stranger(t, func(_ *testing.T, s *proxytest.Stage) {
				var opts []phone.Option
				if rel {
					opts = append(opts, phone.Header("Require", "100rel"))
				}
				out := s.Mallory.Invites("bob", opts...)
				out.HearsProgress(180)
				for _, method := range []string{
					"UPDATE", "INFO", "OPTIONS", "PRACK", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "FOO",
				} {
					out.Asks(method, phone.Header("Event", "dialog"))
				}
				out.Asks("PRACK", phone.Header("RAck", "77 1 INVITE"))
				out.IsRefused(480)
				out.Asks("UPDATE") // too late
			})
		})
	}
}

func TestStrangerHangsUpEarly(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Mallory.Invites("bob")
		out.HearsProgress(180)
		out.Asks("BYE")
		out.IsRefused(487)
	})
}

func TestStrangerGivesUpAtAnyTime(t *testing.T) {
	stranger(t, func(_ *testing.T, s *proxytest.Stage) {
		s.Mallory.Asks("MESSAGE", "bob") // the challenge is over
		for _, after := range []time.Duration{
			0, time.Millisecond, 3 * time.Millisecond, 100 * time.Millisecond, 800 * time.Millisecond,
			1600 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second, 26 * time.Second,
		} {
			s.Wait(2 * settled)
			out := s.Mallory.Invites("bob")
			s.Wait(after)
			out.GivesUp()
		}
	})
}

// recorded keeps the INVITE that mallory sends last, as it is on the wire.
func recorded(s *proxytest.Stage) func() string {
	invite := ""
	s.Net.Watch(func(from, _ string, b []byte) {
		if strings.HasPrefix(from, "mallory") && strings.HasPrefix(string(b), "INVITE ") {
			invite = string(b)
		}
	})
	return func() string { return invite }
}

// Merged, looped and repeated requests, and a second INVITE beside the first,
// are decided before anybody asks who is called.
func TestStrangersInviteComesAnotherWay(t *testing.T) {
	for _, again := range []struct {
		name   string
		change func(invite string) string
	}{
		{"merged", func(m string) string { return strings.Replace(m, "branch=z9hG4bK", "branch=z9hG4bKother", 1) }},
		{"through a hop", func(m string) string {
			return strings.Replace(m, "Via: ", "Via: SIP/2.0/UDP 198.51.100.13:5060;branch=z9hG4bKhop;rport\r\nVia: ", 1)
		}},
		{"looped", func(m string) string {
			return strings.Replace(m, "\r\nMax-Forwards",
				"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx-lAAAAAAAAAAAAAAAA\r\nMax-Forwards", 1)
		}},
		{"no hops left", func(m string) string {
			m = strings.Replace(m, "branch=z9hG4bK", "branch=z9hG4bKother", 1)
			m = strings.Replace(m, "CSeq: ", "CSeq: 4", 1)
			return strings.Replace(m, "Max-Forwards: 70", "Max-Forwards: 0", 1)
		}},
		{"next in its sequence", func(m string) string {
			m = strings.Replace(m, "branch=z9hG4bK", "branch=z9hG4bKother", 1)
			return strings.Replace(m, "CSeq: ", "CSeq: 4", 1)
		}},
		{"lying length", func(m string) string {
			m = strings.Replace(m, "branch=z9hG4bK", "branch=z9hG4bKother", 1)
			return strings.Replace(m, "Content-Length: ", "Content-Length: 9", 1)
		}},
	} {
		t.Run(again.name, func(t *testing.T) {
			stranger(t, func(_ *testing.T, s *proxytest.Stage) {
				last := recorded(s)
				out := s.Mallory.Invites("bob")
				out.HearsProgress(180)
				more := again.change(last())
				s.Mallory.Does(func(context.Context) error { return s.Mallory.Send([]byte(more)) })
				out.IsRefused(480)
				s.Wait(2 * settled)
			})
		})
	}
}
