package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A machine is what no relay can change. From one virtual machine to the next
// these differ by ten times, and the ratios of relays with them.
type machine struct {
	call time.Duration // a system call that does nothing
	wake time.Duration // from the phones' processor a thread of the relay's
}

func (m machine) String() string {
	return fmt.Sprintf("a system call takes %d ns here, to wake a thread of the other processor %.1f µs",
		m.call.Nanoseconds(), micros(m.wake))
}

// rounds of each measurement, of which the middle one counts.
const (
	rounds = 201
	calls  = 100                    // a round
	lull   = 200 * time.Microsecond // before a wake-up, until the thread sleeps
)

// newMachine measures the machine.
func newMachine() (machine, error) {
	wake, err := wakeUp()
	return machine{systemCall(), wake}, err
}

func systemCall() time.Duration {
	var taken []time.Duration
	for range rounds {
		began := clock()
		for range calls {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0) // never fails
		}
		taken = append(taken, time.Duration(clock()-began)/calls)
	}
	return middle(taken)
}

// wakeUp is how long after a write to a pipe its reader has read.
func wakeUp() (time.Duration, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	defer func() { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) }() // nothing is kept there
	var taken []time.Duration
	var read, written error
	there := make(chan struct{})
	sleeper := bound(relayCPU, relayPriority, func() {
		close(there) // what is written before waits for the thread to begin
		var stamp [8]byte
		for range rounds {
			// As the relay waits, so that it need not ask Go's scheduler to go on: who would answer
			// may be what the waker keeps from running.
			_, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(pipe[0]), uintptr(unsafe.Pointer(&stamp)), uintptr(len(stamp)))
			taken = append(taken, time.Duration(clock()-binary.NativeEndian.Uint64(stamp[:])))
			if e != 0 {
				read = errors.Join(read, e)
			}
		}
	})
	select {
	case <-there:
	case err := <-sleeper:
		return 0, err
	}
	waker := bound(phonesCPU, phonesPriority, func() {
		for range rounds {
			for until := clock() + uint64(lull); clock() < until; { // as the phones, it does not sleep
			}
			_, err := unix.Write(pipe[1], binary.NativeEndian.AppendUint64(nil, clock()))
			written = errors.Join(written, err)
		}
	})
	if err := errors.Join(<-waker, written); err != nil {
		return 0, err // nobody wakes the sleeper: it ends with the program
	}
	if err := errors.Join(<-sleeper, read); err != nil {
		return 0, err
	}
	return middle(taken), nil
}
