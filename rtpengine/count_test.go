package rtpengine

import (
	"encoding/binary"
	"testing"
	"time"
)

// arrive counts packets of one source with these sequence numbers, one every
// 20 ms, but for what late adds to each.
func arrive(c *counts, ssrc uint32, seqs []uint16, late func(i int) time.Duration) {
	start := time.Unix(1000, 0)
	c.tick = uint32(time.Second) / 8000 << tickBits
	for i, seq := range seqs {
		b := make([]byte, minRTP)
		b[0] = 0x80
		binary.BigEndian.PutUint16(b[2:], seq)
		binary.BigEndian.PutUint32(b[4:], uint32(i)*160)
		binary.BigEndian.PutUint32(b[8:], ssrc)
		c.rtp(b, start.Add(time.Duration(i)*20*time.Millisecond+late(i)))
	}
}

func onTime(int) time.Duration { return 0 }

func TestLoss(t *testing.T) {
	for name, c := range map[string]struct {
		seqs []uint16
		lost uint64
	}{
		"none":             {[]uint16{1, 2, 3, 4}, 0},
		"two":              {[]uint16{1, 2, 5, 6}, 2},
		"out of order":     {[]uint16{1, 3, 2, 4}, 0},
		"twice the same":   {[]uint16{1, 2, 2, 4}, 0}, // a copy makes up for one that is missing (RFC 3550 A.3)
		"over the edge":    {[]uint16{65534, 65535, 0, 1}, 0},
		"lost at the edge": {[]uint16{65534, 1}, 2},
		"begun anew":       {[]uint16{1, 3, 40000, 40002, 39000, 39001}, 2},
	} {
		var n counts
		arrive(&n, 7, c.seqs, onTime)
		var r SideReport
		n.report(&r)
		if r.Lost != c.lost {
			t.Errorf("%s: %d lost, want %d", name, r.Lost, c.lost)
		}
	}
}

// A new source begins anew, and what was lost of the one before is not forgotten.
func TestLossOfSeveralSources(t *testing.T) {
	var n counts
	arrive(&n, 7, []uint16{1, 4}, onTime)
	arrive(&n, 8, []uint16{9000, 9002}, onTime)
	var r SideReport
	n.report(&r)
	if r.Lost != 3 {
		t.Errorf("%d lost, want 3", r.Lost)
	}
}

func TestJitter(t *testing.T) {
	steady, shaky := counts{}, counts{}
	seqs := make([]uint16, 500)
	for i := range seqs {
		seqs[i] = uint16(i)
	}
	arrive(&steady, 7, seqs, onTime)
	arrive(&shaky, 7, seqs, func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond })
	var a, b SideReport
	steady.report(&a)
	shaky.report(&b)
	if a.Jitter != 0 {
		t.Errorf("jitter of a steady stream: %v", a.Jitter)
	}
	if b.Jitter < 8*time.Millisecond || b.Jitter > 10*time.Millisecond {
		t.Errorf("jitter of a stream that is 10 ms off and on: %v", b.Jitter)
	}
}

// speak counts packets of a payload type and clock, one every 20 ms, as a
// party sends them that describes itself so.
func speak(in, out *face, pt uint8, clock, from, packets int) {
	start := time.Unix(1000, 0)
	for i := from; i < from+packets; i++ {
		b := make([]byte, minRTP)
		b[0], b[1] = 0x80, pt
		if i == from {
			b[1] |= 0x80 // a talkspurt begins (RFC 3551 §4.1)
		}
		binary.BigEndian.PutUint16(b[2:], uint16(i))
		binary.BigEndian.PutUint32(b[4:], uint32(i*clock/50))
		in.rtpFrom(b, start.Add(time.Duration(i)*20*time.Millisecond+time.Duration(i%2)*4*time.Millisecond), out)
	}
}

// Jitter is of the clock that the codec has, and packets are counted by what
// they are for.
func TestPayloadTypes(t *testing.T) {
	in, out := &face{}, &face{said: said{Payloads: []payload{
		{96, "opus", 48000}, {0, "PCMU", 8000}, {101, "telephone-event", 8000}, {13, "CN", 8000}, {97, "", 0},
	}}}
	speak(in, out, 96, 48000, 0, 500)
	var r SideReport
	in.counts.report(&r)
	if r.Codec != "opus" || r.Clock != 48000 || r.Jitter < 3*time.Millisecond || r.Jitter > 4*time.Millisecond {
		t.Errorf("of 4 ms off and on at 48 kHz the jitter is %v, of %q", r.Jitter, r.Codec)
	}
	speak(in, out, 101, 0, 500, 10) // all of one time
	speak(in, out, 13, 8000, 510, 20)
	speak(in, out, 77, 8000, 530, 5)
	in.counts.report(&r)
	if want := [4]uint64{500, 10, 20, 5}; [4]uint64{r.Media, r.Events, r.Comfort, r.Unknown} != want || r.Lost != 0 {
		t.Errorf("%d of media, %d digits, %d noise, %d unknown; want %v", r.Media, r.Events, r.Comfort, r.Unknown, want)
	}
	if r.Jitter > 4*time.Millisecond {
		t.Errorf("digits make jitter: %v", r.Jitter)
	}
	speak(in, out, 0, 8000, 535, 500)
	in.counts.report(&r)
	if r.Codec != "PCMU" || r.Media != 1000 || r.Jitter < 3*time.Millisecond || r.Jitter > 4*time.Millisecond {
		t.Errorf("after a change of codec: %d of %q, jitter %v", r.Media, r.Codec, r.Jitter)
	}
}
