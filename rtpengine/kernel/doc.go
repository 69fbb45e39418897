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
	SSRC   uint32         // other streams are for user space
	Plain  bool           // in the clear: header extensions and contributing sources are for user space

	Max     uint32 // extended sequence number so far
	Transit int64  // as rtpengine counts it, in 1/8000 s
	Jitter  uint32 // times 16
}

// Counts are what the kernel has relayed of a flow since it was installed.
type Counts struct {
	Packets, Bytes uint64
	Last           time.Time // zero: none
	Wrong          uint64    // from elsewhere, dropped
	Max            uint32
	Transit        int64
	Jitter         uint32
}
