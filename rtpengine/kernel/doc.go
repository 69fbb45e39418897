// Package kernel is the relay's data plane in the kernel: an eBPF program
// (relay.c) at the ingress of the interfaces, and a table of entries that user
// space writes and reads through memory, which costs no system call. It knows
// no sessions: rtpengine says which flows there are.
//
// relay_x86_bpfel.{go,o} are made by scripts/generate.sh and committed, so that
// a build needs no C compiler. On other processors than amd64 the memory order
// of an entry's generation is not proven; there user space relays.
package kernel

import (
	"net/netip"
	"time"
)

// A Rule says what becomes of the packets of one flow.
type Rule struct {
	Remote netip.AddrPort // exactly whose packets these are
	From   netip.AddrPort // ours, which they get
	To     netip.AddrPort // where they go
	SSRC   uint32         // other streams, and

	Payload uint8 // other payload types are for user space
	Plain   bool  // in the clear: header extensions and contributing sources are for user space

	// What rtpengine has counted so far, as it counts it (count.go).
	Max     uint32 // extended sequence number
	Stamp   uint32
	Tick    uint32 // a unit of the clock in 1/4096 ns; 0: no jitter is counted
	Arrived int64  // when Stamp did; 0: never
	Jitter  uint64 // ns times 16
}

// A Source is the stream of RTP that a flow has.
type Source struct {
	SSRC    uint32
	Payload uint8 // its type
}

// Counts are what the kernel has relayed of a flow since it was installed.
type Counts struct {
	Packets, Bytes uint64
	Last           time.Time // zero: none
	Wrong          uint64    // from elsewhere, dropped
	Max, Stamp     uint32
	Jitter         uint64
}
