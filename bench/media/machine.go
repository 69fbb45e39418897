package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What a machine is like that no relay can change. Between one virtual machine
// and the next both differ by ten times, and the ratios of relays with them.
type machine struct {
	call time.Duration // a system call that does nothing
	wake time.Duration // from one processor a thread of the other
}

func (m machine) String() string {
	return fmt.Sprintf("a system call takes %d ns here, to wake a thread of the other processor %.1f µs",
		m.call.Nanoseconds(), micros(m.wake))
}

// rounds of each measurement, of which the middle one counts.
const (
	rounds = 101
	calls  = 100 // a round
)

// newMachine measures the machine.
func newMachine() (m machine, err error) {
	var there, back [2]int // pipes
	if err := errors.Join(unix.Pipe2(there[:], unix.O_CLOEXEC), unix.Pipe2(back[:], unix.O_CLOEXEC)); err != nil {
		return m, fmt.Errorf("pipe: %w", err)
	}
	defer func() {
		for _, fd := range slices.Concat(there[:], back[:]) {
			_ = unix.Close(fd) // nothing is kept there
		}
	}()
	echo := make(chan error)
	go func() { echo <- bounce(phonesCPU, there[0], back[1], func() {}) }()
	var taken []time.Duration
	began := time.Now()
	err = bounce(relayCPU, back[0], there[1], func() {
		taken = append(taken, time.Since(began)/2)
		began = time.Now()
	})
	if err = errors.Join(err, <-echo); err != nil {
		return m, err
	}
	m.wake = middle(taken)
	taken = taken[:0]
	for range rounds {
		began := time.Now()
		for range calls {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0) // never fails
		}
		taken = append(taken, time.Since(began)/calls)
	}
	m.call = middle(taken)
	return m, nil
}

// bounce writes to a pipe whenever something comes from the other, on one
// processor and before other programs, and calls got. Who begins has written
// once already.
func bounce(cpu, from, to int, got func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its priority
		err := errors.Join(pin(0, cpu), realTime(0, relayPriority))
		b := []byte{0}
		if cpu == relayCPU {
			_, no := unix.Write(to, b)
			err = errors.Join(err, no)
		}
		for range rounds {
			_, no1 := unix.Read(from, b)
			got()
			_, no2 := unix.Write(to, b)
			err = errors.Join(err, no1, no2)
		}
		done <- err
	}()
	return <-done
}
