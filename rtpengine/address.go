package rtpengine

import (
	"net/netip"
	"slices"
)

// Family is an address family.
type Family uint8

// The families; Any leaves the choice to the engine.
const (
	Any Family = iota
	V4
	V6
)

// familyOf is the family of an address.
func familyOf(a netip.Addr) Family {
	switch {
	case !a.IsValid():
		return Any
	case a.Unmap().Is4():
		return V4
	}
	return V6
}

// Address is where media is relayed: bound to Local, known as Advertised.
type Address struct{ Local, Advertised netip.Addr }

// Network is one whose parties reach us at another address than all others:
// an inner network beside the outer one.
type Network struct {
	Prefix  netip.Prefix
	Address Address
}

// addressFor is the address for a party: that of the smallest network that it
// is in, else the first of its family.
func (c Config) addressFor(party netip.Addr, f Family) (a Address, ok bool) {
	bits := -1
	for _, n := range c.Networks {
		if n.Prefix.Contains(party) && n.Prefix.Bits() > bits {
			a, bits = n.Address, n.Prefix.Bits()
		}
	}
	if bits >= 0 {
		return a, true
	}
	for _, a := range c.Addresses {
		if f == Any || familyOf(a.Local) == f {
			return a, true
		}
	}
	return Address{}, false
}

// locals are the addresses to bind to, each once.
func (c Config) locals() (all []netip.Addr) {
	add := func(a Address) {
		if !slices.Contains(all, a.Local) {
			all = append(all, a.Local)
		}
	}
	for _, a := range c.Addresses {
		add(a)
	}
	for _, n := range c.Networks {
		add(n.Address)
	}
	return all
}
