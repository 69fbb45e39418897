package proxy

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// What an observer must not be able to foresee, the moments of the facade and
// what fills its boxes among it, comes from the system's generator.

// random is a number of 64 random bits.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// A moment is what a random time is for. Each has a stream of its own, so that
// what happens behind a facade draws nothing of what its clock draws.
type moment string

const (
	momentRing   moment = "ring"    // the facade's 180
	momentGiveUp moment = "give up" // the facade's final
	momentCancel moment = "cancel"  // its answer to a CANCEL
	momentBehind moment = "behind"  // when what is behind the facade begins
	momentDiary  moment = "diary"   // when what is to be kept of it is written
	momentNotice moment = "notice"
)

// A chance draws random times. Safe for concurrent use.
type chance struct {
	mu      sync.Mutex
	streams map[moment]io.Reader
}

// newChance draws from the system's generator, or from what a test gives for
// each moment to play the same times again. Keys, nonces and seals have no
// part in it: they are never drawn here.
func newChance(from func(string) io.Reader) *chance {
	c := &chance{streams: map[moment]io.Reader{}}
	for _, m := range []moment{momentRing, momentGiveUp, momentCancel, momentBehind, momentDiary, momentNotice} {
		if from == nil {
			c.streams[m] = rand.Reader
			continue
		}
		c.streams[m] = from(string(m))
	}
	return c
}

// between is a random time from lo to hi. The bias of the division is a 10⁻⁹th.
func (c *chance) between(m moment, lo, hi time.Duration) time.Duration {
	var b [8]byte
	c.mu.Lock()
	_, err := io.ReadFull(c.streams[m], b[:])
	c.mu.Unlock()
	if err != nil {
		panic(err) // the system's generator never fails
	}
	return lo + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(hi-lo))
}
