package bench

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"sotto/rtpengine"
)

// BenchmarkRegister is one registration that is refreshed.
func BenchmarkRegister(b *testing.B) {
	p := newPhone(b, "alice", serve(b, "never"))
	p.register()
	began := time.Now()
	measure(b, func() {
		if time.Since(began) > time.Minute { // before the nonce is stale
			began, p.nonce = time.Now(), ""
		}
		p.register()
	})
}

// BenchmarkCall is a call from INVITE to the 200 of its BYE. The baseline is
// the plain one: what protection costs is the ratio.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct{ name, protect string }{{"plain", "never"}, {"protected", "always"}} {
		b.Run(c.name, func(b *testing.B) {
			server := serve(b, c.protect)
			alice, bob := newPhone(b, "alice", server), newPhone(b, "bob", server)
			alice.register()
			bob.register()
			began := time.Now()
			measure(b, func() {
				if time.Since(began) > time.Minute {
					began, alice.nonce = time.Now(), ""
					alice.register()
				}
				alice.call(bob)
			})
		})
	}
}

// BenchmarkPacket is one packet of G.711 from one socket to another: directly,
// which is the baseline, and through the relay.
func BenchmarkPacket(b *testing.B) {
	packet := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4}, make([]byte, 160)...)
	from, to := socket(b), socket(b)
	b.Run("direct", func(b *testing.B) { carry(b, packet, from, to, addrOf(to)) })
	b.Run("relayed", func(b *testing.B) {
		e, err := rtpengine.New(rtpengine.Config{
			Addresses: []rtpengine.Address{
				{Local: loopback, Advertised: loopback},
			}, PortMin: 20000, PortMax: 20999, Workers: 1,
		})
		must(b, err)
		defer e.Close()
		for side, c := range []*net.UDPConn{from, to} {
			tell := e.Offer
			if rtpengine.Side(side) == rtpengine.Callee {
				tell = e.Answer
			}
			_, err := tell(1, rtpengine.Body{
				From: rtpengine.Side(
					side,
				), SDP: []byte(audio(int(addrOf(c).Port()))), Source: loopback, Toward: rtpengine.V4,
			})
			must(b, err)
		}
		r, _ := e.Query(1)
		carry(b, packet, from, to, r.Streams[0].Caller.Relay)
	})
}

func socket(b *testing.B) *net.UDPConn {
	b.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	must(b, err)
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

// carry sends bursts of packets and waits until all have come.
func carry(b *testing.B, packet []byte, from, to *net.UDPConn, at netip.AddrPort) {
	b.Helper()
	const burst = 16
	in := make([]byte, 2000)
	measure(b, func() {
		for range burst {
			if _, err := from.WriteToUDPAddrPort(packet, at); err != nil {
				b.Fatal(err)
			}
		}
		_ = to.SetReadDeadline(time.Now().Add(patience))
		for range burst {
			n, _, err := to.ReadFromUDPAddrPort(in)
			if err != nil || !bytes.Equal(in[:n], packet) {
				b.Fatal(strconv.Itoa(n), err)
			}
		}
	})
	b.ReportMetric(burst, "packets/op")
}
