package stun

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v3"
)

// HasUsername says that a message is one of ICE rather than a plain Binding
// request: a check has a USERNAME (RFC 8445 §7.2.2).
func HasUsername(b []byte) bool {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	return m.Decode() == nil && m.Contains(stun.AttrUsername)
}

// A Check is a connectivity check that the owner of the credentials has sent
// (RFC 8445 §7.2).
type Check struct {
	Priority  uint32 // of the candidate that it came from (§7.1.1)
	Nominates bool   // USE-CANDIDATE (§7.1.2)
	Conflict  bool   // it takes itself for the controlled side, which a lite agent is (§6.1.1)

	transaction [stun.TransactionIDSize]byte
	password    string
}

// ReadCheck reads a check to an agent of these credentials from that of user
// name peer; false for anything else, also when the message's integrity or
// fingerprint is wrong (RFC 8489 §9.1.3, §14.7).
func ReadCheck(b []byte, ufrag, password, peer string) (Check, bool) {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if err := m.Decode(); err != nil || m.Type != stun.BindingRequest {
		return Check{}, false
	}
	var name stun.Username
	if err := name.GetFrom(m); err != nil || name.String() != ufrag+":"+peer {
		return Check{}, false
	}
	// The integrity is looked at last: it costs a hash, and who does not know
	// the user name is to cost us none.
	if m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil ||
		stun.NewShortTermIntegrity(password).Check(m) != nil {
		return Check{}, false
	}
	c := Check{
		Nominates: m.Contains(stun.AttrUseCandidate), Conflict: m.Contains(stun.AttrICEControlled),
		transaction: m.TransactionID, password: password,
	}
	if v, err := m.Get(stun.AttrPriority); err == nil && len(v) == 4 {
		c.Priority = binary.BigEndian.Uint32(v)
	}
	return c, true
}

// Answer is the response to a check that came from there: the address that
// was seen, or that the roles conflict (RFC 8445 §7.3.1.1).
func (c Check) Answer(from netip.AddrPort) ([]byte, error) {
	with := []stun.Setter{
		stun.NewTransactionIDSetter(c.transaction), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: from.Addr().Unmap().AsSlice(), Port: int(from.Port())},
	}
	if c.Conflict {
		with = []stun.Setter{with[0], stun.BindingError, stun.CodeRoleConflict}
	}
	res, err := stun.Build(append(with, stun.NewShortTermIntegrity(c.password), stun.Fingerprint)...)
	if err != nil {
		return nil, err
	}
	return res.Raw, nil
}
