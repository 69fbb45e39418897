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

// Open fails: user space relays.
func Open([]netip.Addr, uint16, uint16) (*Plane, error) {
	return nil, errors.New("the kernel's part is for amd64 only")
}

// Close does nothing.
func (*Plane) Close() {}

// How is empty.
func (*Plane) How() string { return "" }

// Flow is none.
func (*Plane) Flow(netip.AddrPort) (Flow, bool) { return Flow{}, false }

// Install does nothing.
func (Flow) Install(Rule) error { return errors.ErrUnsupported }

// Remove does nothing.
func (Flow) Remove() {}

// Installed is false.
func (Flow) Installed() bool { return false }

// Counts are none.
func (Flow) Counts() Counts { return Counts{} }
