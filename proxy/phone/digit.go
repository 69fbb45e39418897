package phone

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pion/rtp"
)

// digitCodes are the events of RFC 4733 §3.2 in the order of their codes.
const digitCodes = "0123456789*#ABCD"

const (
	digitFrames = 5 // 100 ms of it
	digitEnds   = 3 // the last packet goes three times (RFC 4733 §2.5.1.4)
	digitGap    = 3 // frames of nothing between two
)

// An event is the digit that is being sent.
type event struct {
	frame int
	start uint32 // RTP timestamp
}

// Digits sends digits as RFC 4733 events. It returns at once.
func (m *Media) Digits(digits string) error {
	for _, d := range digits {
		if !strings.ContainsRune(digitCodes, d) {
			return fmt.Errorf("%q is no digit", d)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.digits = append(m.digits, digits...)
	return nil
}

// digitFrame is the next packet of the digit under way; nil in the gap after
// it. It is called under the lock.
func (m *Media) digitFrame(h *rtp.Header) []byte {
	e := &m.digit
	if e.frame == 0 {
		e.start = h.Timestamp
		h.Marker = true
	}
	e.frame++
	switch {
	case e.frame > digitFrames+digitEnds+digitGap:
		m.digits, m.digit = m.digits[1:], event{}
		return nil
	case e.frame > digitFrames+digitEnds:
		return nil
	}
	h.PayloadType, h.Timestamp = eventType, e.start
	if m.remote.Events != 0 {
		h.PayloadType = m.remote.Events
	}
	b := make([]byte, 4)
	b[0] = byte(strings.IndexByte(digitCodes, m.digits[0]))
	b[1] = 10 // volume, -dBm0
	if e.frame > digitFrames {
		b[1] |= 0x80 // the end
	}
	binary.BigEndian.PutUint16(b[2:], uint16(min(e.frame, digitFrames)*frameSamples))
	return b
}

// hearEvent takes an event packet; all those of one digit have its timestamp.
// It is called under the lock.
func (m *Media) hearEvent(p rtp.Packet) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(digitCodes) {
		return
	}
	if m.heard != "" && p.Timestamp == m.lastEvent {
		return
	}
	m.lastEvent = p.Timestamp
	m.heard += digitCodes[p.Payload[0] : p.Payload[0]+1]
}

// HearsDigits returns once the digits were heard, in this order, at the end of
// all that were heard.
func (m *Media) HearsDigits(ctx context.Context, digits string) error {
	return m.until(ctx, "digits "+digits, func() bool {
		return strings.HasSuffix(m.heard, digits)
	})
}
