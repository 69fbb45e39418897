// Package ethtool sets offloads of interfaces, as tests and benches need them: a
// veth has a receive queue, as a network card has, if it has generic receive
// offload and its peer does not cut segments.
package ethtool

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Offload is the command that sets one (linux/ethtool.h).
type Offload uint32

// The offloads.
const (
	TSO Offload = 0x1f // ETHTOOL_STSO
	GRO Offload = 0x2c // ETHTOOL_SGRO
)

// Set switches an offload of an interface of the thread's network namespace on or off.
func Set(dev string, o Offload, on bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	value := struct{ command, data uint32 }{command: uint32(o)}
	if on {
		value.data = 1
	}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], dev)
	req.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL,
		uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("ethtool: %w", errno)
	}
	return nil
}
