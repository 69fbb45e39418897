//go:build amd64

package kernel

import "net/netip"

// Probe tries, beside a server that may be running, if there can be a plane:
// it loads the program and attaches it to loopback for a moment, with a table
// that has no flow. It says by what it would be attached.
func Probe() (how string, err error) {
	p := &Plane{locals: []netip.Addr{netip.IPv6Unspecified()}, first: probePort, pairs: 1}
	defer func() {
		for _, h := range p.hooks {
			h(false)
		}
		_ = p.objects.Close()
	}()
	if err := p.load(); err != nil {
		return "", err
	}
	if err := p.attachAt([]int{loopback}); err != nil {
		return "", err
	}
	return p.how, nil
}

// probePort is none that a server can have: a server's filter is named by its
// first port, which is even.
const probePort = 1

// loopback is the index of that interface in every namespace (LOOPBACK in relay.c).
const loopback = 1
