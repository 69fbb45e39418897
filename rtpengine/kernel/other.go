//go:build !amd64

package kernel

import (
	"errors"
	"net/netip"
)

// A Plane does not exist on this processor.
type Plane struct{}

// A Flow is never made.
type Flow struct{}

var errProcessor = errors.New("the kernel's part is for amd64 only")

// Open fails: user space relays.
func Open([]netip.Addr, uint16, uint16, string) (*Plane, error) { return nil, errProcessor }

// Probe fails.
func Probe() (string, error) { return "", errProcessor }

// Forget does nothing.
func Forget([]netip.Addr, uint16, uint16, string) {}

// Close does nothing.
func (*Plane) Close() {}

// HandOver does nothing.
func (*Plane) HandOver() {}

// Inherited is false.
func (*Plane) Inherited() bool { return false }

// Settle does nothing.
func (*Plane) Settle() {}

// Pinned is empty.
func (*Plane) Pinned() (string, error) { return "", nil }

// How is empty.
func (*Plane) How() string { return "" }

// Flows is none.
func (*Plane) Flows() int { return 0 }

// Flow is none.
func (*Plane) Flow(netip.AddrPort) (Flow, bool) { return Flow{}, false }

// Install does nothing.
func (Flow) Install(Rule) error { return errors.ErrUnsupported }

// Adopt is false.
func (Flow) Adopt(Rule) (Source, bool) { return Source{}, false }

// Epoch is 0.
func (Flow) Epoch() uint32 { return 0 }

// Remove does nothing.
func (Flow) Remove() {}

// Installed is false.
func (Flow) Installed() bool { return false }

// Counts are none.
func (Flow) Counts() Counts { return Counts{} }
