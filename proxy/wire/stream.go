package wire

import (
	"bytes"
	"errors"

	"github.com/emiago/sipgo/sip"
)

// ErrStream says that a stream is out of step and must be closed: there is no
// telling where the next message begins.
var ErrStream = errors.New("stream out of step")

// A Stream frames the messages of a connection by Content-Length (RFC 3261
// §18.3). It is used by one goroutine.
type Stream struct {
	buf     []byte
	scanned int // bytes of buf in which no header ends
	end     int // of the first message, once its header is there; 0: not known
}

// Write adds what was read from the connection. It fails with ErrStream when
// more is waiting than one message can be.
func (s *Stream) Write(b []byte) error {
	s.buf = append(s.buf, b...)
	if len(s.buf) > MaxMessage+maxBlock {
		return ErrStream
	}
	return nil
}

// Pings takes the CRLF keep-alives at the head of the stream (RFC 5626
// §3.5.1) and says how many pongs they are worth.
func (s *Stream) Pings() int {
	n := 0
	for bytes.HasPrefix(s.buf, []byte("\r\n")) {
		if bytes.HasPrefix(s.buf, []byte("\r\n\r\n")) {
			n++
			s.cut(4)
			continue
		}
		if len(s.buf) == 2 || len(s.buf) == 3 && s.buf[2] == '\r' {
			break // perhaps half of a ping
		}
		s.cut(2)
	}
	return n
}

// cut takes n bytes off the head of the stream.
func (s *Stream) cut(n int) {
	s.buf, s.scanned, s.end = s.buf[n:], max(0, s.scanned-n), 0
	if len(s.buf) == 0 {
		s.buf = nil
	}
}

// Next takes the next whole message from the stream: nil without an error
// when there is none yet; a *Reject for one that was framed but is bad;
// ErrStream when the connection must be closed.
func (s *Stream) Next() (sip.Message, error) {
	if s.end == 0 {
		if err := s.find(); err != nil {
			return nil, err
		}
	}
	if s.end == 0 || len(s.buf) < s.end {
		return nil, nil
	}
	m, err := Parse(s.buf[:s.end])
	s.cut(s.end)
	s.scanned = 0
	return m, err
}

// find looks for the end of the first message. Each byte is looked at once,
// however small the pieces are in which it came.
func (s *Stream) find() error {
	i := bytes.Index(s.buf[s.scanned:], []byte("\r\n\r\n"))
	if i < 0 {
		s.scanned = max(0, len(s.buf)-3)
		if len(s.buf) > maxBlock {
			return ErrStream
		}
		return nil
	}
	i += s.scanned
	n, has, ok := contentLength(unfold(s.buf[:i]))
	if !has || !ok {
		return ErrStream // RFC 3261 §20.14: required on streams
	}
	s.end = i + 4 + n
	return nil
}

// Waiting is the number of bytes that wait for the rest of their message.
func (s *Stream) Waiting() int { return len(s.buf) }
