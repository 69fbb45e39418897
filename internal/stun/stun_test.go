package stun

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
)

var peers = []netip.AddrPort{
	netip.MustParseAddrPort("198.51.100.7:4000"),
	netip.MustParseAddrPort("[2001:db8::7]:4000"),
	netip.MustParseAddrPort("[::ffff:198.51.100.7]:4000"),
}

// request is a Binding request with attributes that tell something.
func request(t testing.TB, more ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// The answer has the transaction's ID and the address that was seen, and
// nothing that says who answers.
func TestBindingResponse(t *testing.T) {
	for _, peer := range peers {
		for _, req := range [][]byte{
			request(t), request(t, stun.NewUsername("alice:bob"), stun.NewSoftware("alicephone"), stun.Fingerprint),
		} {
			answers(t, req, peer)
		}
	}
}

// answers checks the answer to a request of peer's.
func answers(t *testing.T, req []byte, peer netip.AddrPort) {
	t.Helper()
	raw, ok := BindingResponse(req, peer)
	if !ok {
		t.Fatalf("no answer to %x", req)
	}
	res := &stun.Message{Raw: raw}
	var seen stun.XORMappedAddress
	if err := errors.Join(res.Decode(), seen.GetFrom(res)); err != nil {
		t.Fatal(err)
	}
	if ip, _ := netip.AddrFromSlice(seen.IP); ip.Unmap() != peer.Addr().Unmap() || seen.Port != int(peer.Port()) {
		t.Errorf("%v is told that it is %v", peer, seen)
	}
	if !bytes.Equal(res.TransactionID[:], req[8:20]) || res.Type != stun.BindingSuccess || len(res.Attributes) != 1 {
		t.Errorf("%v", res)
	}
}

// What is no Binding request gets no answer: nobody can have us answer answers.
func TestNoResponse(t *testing.T) {
	success, _ := BindingResponse(request(t), peers[0])
	indication, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "a response": success, "an indication": indication.Raw, "a cut request": request(t)[:19],
		"a lying length": append(request(t)[:3:3], append([]byte{8}, request(t)[4:]...)...),
		"RTP":            append([]byte{0x80, 0}, make([]byte, 30)...),
		"another method": must(stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))),
	} {
		if res, ok := BindingResponse(b, peers[0]); ok {
			t.Errorf("%s is answered with %x", name, res)
		}
	}
}

func must(m *stun.Message, _ error) []byte { return m.Raw }

// FuzzBindingResponse: no message makes an answer that is larger than a
// request with an address in it, or that is answered in turn.
func FuzzBindingResponse(f *testing.F) {
	f.Add(request(f))
	f.Add(request(f, stun.NewUsername("a:b"), stun.Fingerprint))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, peer := range peers {
			res, ok := BindingResponse(b, peer)
			if !ok {
				continue
			}
			if len(res) > 44 || len(res) > len(b)+24 {
				t.Errorf("%d bytes are answered with %d", len(b), len(res))
			}
			if again, ok := BindingResponse(res, peer); ok {
				t.Errorf("the answer is answered with %x", again)
			}
		}
	})
}

// FuzzReadCheck: without the password nothing is a check, and an answer to one
// is no check in turn.
func FuzzReadCheck(f *testing.F) {
	name, pwd := stun.NewUsername("ours:theirs"), stun.NewShortTermIntegrity("password")
	f.Add(request(f, name, pwd, stun.Fingerprint))
	f.Add(request(f, name, pwd))
	f.Add(request(f, name))
	f.Fuzz(func(t *testing.T, b []byte) {
		HasUsername(b)
		if _, ok := ReadCheck(b, "ours", "another", "theirs"); ok {
			t.Errorf("%x is a check of whoever guessed the password", b)
		}
		c, ok := ReadCheck(b, "ours", "password", "theirs")
		if !ok {
			return
		}
		answer, err := c.Answer(peers[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ReadCheck(answer, "ours", "password", "theirs"); ok {
			t.Errorf("the answer is a check: %x", answer)
		}
	})
}
