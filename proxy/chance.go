package proxy

import (
	"crypto/rand"
	"encoding/binary"
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

// between is a random time from lo to hi. The bias of the division is a 10⁻⁹th.
func between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(random()%uint64(hi-lo))
}
