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
	if len(s.buf) > 0 && s.buf[0] == '\r' {
		s.scanned = 0
	}
	for bytes.HasPrefix(s.buf, []byte("\r\n")) {
		if bytes.HasPrefix(s.buf, []byte("\r\n\r\n")) {
			n++
			s.buf = s.buf[4:]
			continue
		}
		if len(s.buf) == 2 || len(s.buf) == 3 && s.buf[2] == '\r' {
			break // perhaps half of a ping
		}
		s.buf = s.buf[2:]
	}
	return n
}

// Next takes the next whole message from the stream: nil without an error
// when there is none yet; a *Reject for one that was framed but is bad;
// ErrStream when the connection must be closed.
func (s *Stream) Next() (sip.Message, error) {
	i := bytes.Index(s.buf[s.scanned:], []byte("\r\n\r\n"))
	if i < 0 {
		s.scanned = max(0, len(s.buf)-3)
		if len(s.buf) > maxBlock {
			return nil, ErrStream
		}
		return nil, nil
	}
	i += s.scanned
	n, has, ok := contentLength(unfold(s.buf[:i]))
	if !has || !ok {
		return nil, ErrStream // RFC 3261 §20.14: required on streams
	}
	end := i + 4 + n
	if len(s.buf) < end {
		return nil, nil
	}
	m, err := Parse(s.buf[:end])
	s.buf, s.scanned = s.buf[end:], 0
	if len(s.buf) == 0 {
		s.buf = nil
	}
	return m, err
}

// Waiting is the number of bytes that wait for the rest of their message.
func (s *Stream) Waiting() int { return len(s.buf) }
