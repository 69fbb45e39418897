// Package stun answers STUN Binding requests (RFC 8489), on the SIP port for
// keep-alives (RFC 5626 §3.5.2) and on media ports.
package stun

import (
	"net/netip"

	"github.com/pion/stun/v3"
)

// IsSTUN says that b looks like a STUN message (RFC 8489 §5: the magic cookie).
func IsSTUN(b []byte) bool { return stun.IsMessage(b) }

// BindingResponse is the answer to a Binding request that came from peer, or
// false for anything else. It reflects the address and says nothing else.
func BindingResponse(b []byte, peer netip.AddrPort) ([]byte, bool) {
	req := &stun.Message{Raw: append([]byte(nil), b...)}
	if err := req.Decode(); err != nil || req.Type != stun.BindingRequest {
		return nil, false
	}
	res, err := stun.Build(
		stun.NewTransactionIDSetter(req.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: peer.Addr().Unmap().AsSlice(), Port: int(peer.Port())},
	)
	if err != nil {
		return nil, false
	}
	return res.Raw, true
}
