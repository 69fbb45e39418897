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
