package rtpengine

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A shed is what a loop drops when it is too late for it.
//
// A loop that had no processor for a while finds up to receiveBuffer at each
// socket: seconds of audio, which no phone waits for, and which are no longer
// in the processor's cache. Such a packet costs three times as much (measured),
// so that a loop which could relay what comes would never catch up with what has
// come. Each socket's backlog is dropped then, once, and what comes next is relayed.
type shed struct {
	full  int // rounds in a row after which more sockets were ready
	left  int // packets to serve until each socket has had its turn
	turn  uint8
	spare [32]struct {
		header unix.Msghdr // without room: what is received is dropped
		size   uint32
	}
}

// When a loop is late (ours): so many full rounds are more than what comes in a
// tenth of a second at the most that a processor relays. Then one socket in some
// is looked at; if so many packets wait at it, they are a tenth of a second of audio.
const (
	fullRounds = 64
	lookAt     = 16
	backlog    = 5
)

// round notes that so many sockets were ready.
func (d *shed) round(n int) {
	if d.full++; n < batch {
		d.full, d.left = 0, 0
	}
}

// after drops what waits at a socket that has been served, if it is time, and
// says how many packets that was. Of all sockets there are so many.
func (d *shed) after(fd int32, sockets int) (n int) {
	if d.full < fullRounds {
		return 0
	}
	if d.left > 0 {
		d.left--
		return d.empty(fd)
	}
	if d.turn++; d.turn%lookAt != 0 {
		return 0
	}
	if n = d.empty(fd); n >= backlog {
		d.left = sockets
	}
	return n
}

// empty drops what waits at a socket.
func (d *shed) empty(fd int32) (n int) {
	for range receiveBuffer / minRTP / len(d.spare) { // more do not fit
		got, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&d.spare[0])), uintptr(len(d.spare)), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			break // empty
		}
		if n += int(got); int(got) < len(d.spare) {
			break
		}
	}
	return n
}
