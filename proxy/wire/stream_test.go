package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// drain takes what is whole, as a connection does: "ping" for each, the
// Call-ID of a message, the code of a rejected one.
func drain(s *Stream) (got []string, err error) {
	for {
		for range s.Pings() {
			got = append(got, "ping")
		}
		m, err := s.Next()
		var rej *Reject
		switch {
		case errors.As(err, &rej):
			got = append(got, fmt.Sprint(rej.Code))
		case err != nil || m == nil:
			return got, err
		default:
			got = append(got, m.CallID().Value()+string(m.Body()))
		}
	}
}

func TestStreamFrames(t *testing.T) {
	one := string(request("Call-ID: 1", "Content-Length: 3")) + "abc"
	two := string(request("Call-ID: 2", "l:\r\n 0"))
	bad := string(request("Call-ID: 3", "Content-Length: 2", "Max-Forwards: x")) + "xx"
	for _, c := range []struct{ in, want string }{
		{one + two + one, "1abc 2 1abc"},
		{one + "\r\n\r\n" + two, "1abc ping 2"},
		{"\r\n\r\n\r\n\r\n" + one + "\r\n" + two, "ping ping 1abc 2"},
		{"\r\n\r\n\r\n" + one, "ping 1abc"},
		{one + bad + two, "1abc 400 2"},
		{one + two[:len(two)-1], "1abc"},
		{one[:len(one)-1], ""},
		{"\r\n", ""},
	} {
		for _, size := range []int{1, 2, 3, 7, len(c.in)} {
			got, err := pour(c.in, size)
			if strings.Join(got, " ") != c.want || err != nil {
				t.Errorf("%q by %d bytes: %q, %v; want %q", c.in, size, got, err, c.want)
			}
		}
	}
}

// pour writes a string to a stream, so many bytes at a time.
func pour(in string, size int) (got []string, err error) {
	var s Stream
	for b := range slices.Chunk([]byte(in), size) {
		if err := s.Write(b); err != nil {
			return got, err
		}
		more, err := drain(&s)
		if got = append(got, more...); err != nil {
			return got, err
		}
	}
	return got, nil
}

// A stream whose next message cannot be found is closed (RFC 3261 §20.14).
func TestStreamOutOfStep(t *testing.T) {
	for _, in := range []string{
		string(request("X: y")), string(request("Content-Length: x")), string(request("Content-Length: 1", "l: 2")),
		string(request("Content-Length: 65536")), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", strings.Repeat("x", maxBlock+1),
	} {
		var s Stream
		if err := s.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(); !errors.Is(err, ErrStream) {
			t.Errorf("%.60q: %v", in, err)
		}
	}
}

func TestStreamIsBounded(t *testing.T) {
	var s Stream
	if err := s.Write(request("Content-Length: 65000")); err != nil {
		t.Fatal(err)
	}
	err := s.Write(bytes.Repeat([]byte("x"), 64000))
	for range 60 {
		if err == nil {
			err = s.Write(bytes.Repeat([]byte("x"), 1000))
		}
	}
	if !errors.Is(err, ErrStream) || s.Waiting() > MaxMessage+maxBlock+1000 {
		t.Errorf("%v with %d bytes waiting", err, s.Waiting())
	}
}

// A large message that comes byte by byte costs a little more than in one piece,
// not as much for each byte as for all: its header is looked at once.
func TestStreamLooksAtAHeaderOnce(t *testing.T) {
	head := request("Subject: a\r\n b", "X: "+strings.Repeat("x", 8000), "Content-Length: 60000")
	for what, in := range map[string]string{
		"body":             string(head) + strings.Repeat("x", 60000),
		"header":           string(head),
		"behind a bare CR": "\r" + string(head),
	} {
		var s Stream
		bytewise := testing.AllocsPerRun(1, func() {
			s = Stream{}
			for i := range len(in) - 1 {
				_ = s.Write([]byte{in[i]})
				s.Pings()
				if _, err := s.Next(); err != nil {
					t.Fatal(err)
				}
			}
		})
		if bytewise > 100 {
			t.Errorf("%s: %.0f allocations", what, bytewise)
		}
	}
}

func TestStreamWaiting(t *testing.T) {
	var s Stream
	in := request("Content-Length: 0")
	_ = s.Write(in[:10])
	if _, err := s.Next(); err != nil || s.Waiting() != 10 {
		t.Errorf("%d bytes wait, %v", s.Waiting(), err)
	}
	_ = s.Write(in[10:])
	if m, err := s.Next(); m == nil || err != nil || s.Waiting() != 0 {
		t.Errorf("%d bytes wait, %v", s.Waiting(), err)
	}
}

// What a message holds stays when the buffer is used again.
func TestMessageOwnsItsBytes(t *testing.T) {
	b := append(request("Subject: mine", "Content-Length: 4"), "body"...)
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 'x'
	}
	if Header(m, "s") != "mine" || string(m.Body()) != "body" || m.(*sip.Request).Recipient.Host != "example.com" {
		t.Errorf("overwritten:\n%s", Bytes(m))
	}
}
