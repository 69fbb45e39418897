package proxy_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

const senderReport, extendedReport = 200, 207 // packet types (RFC 3550 §12.1, RFC 3611 §2)

// rtcpPacket is one packet of a compound one, of the source that the harness uses.
func rtcpPacket(kind byte, body []byte) []byte {
	head := []byte{0x80, kind, 0, 0, 0xab, 0xcd, 0xef, 0x77}
	binary.BigEndian.PutUint16(head[2:], uint16(1+len(body)/4))
	return append(head, body...)
}

// block is a block of an extended report (RFC 3611 §3).
func block(kind byte, body []byte) []byte {
	head := []byte{kind, 0, 0, 0}
	binary.BigEndian.PutUint16(head[2:], uint16(len(body)/4))
	return append(head, body...)
}

// extended sends a sender report with an extended one behind it, in whose
// blocks the sender's address stands wherever there is room: as a clock, as
// measures, as a block that nobody knows. The sender report arrives alone.
func extended(w *leakStage, a, b *proxytest.Call) int {
	ip := a.Phone.Local().Addr().As16()
	own := a.Phone.Local().Addr().String()
	own += strings.Repeat("\x00", (4-len(own)%4)%4)
	xr := slices.Concat(
		block(4, ip[8:]), // receiver reference time: a clock
		block(5, append(slices.Clone(ip[:]), ip[8:]...)[:24]),      // DLRR: two sources and their delays
		block(7, append(append(ip[:], ip[:]...), 0, 0, 0, 0)[:32]), // VoIP metrics
		block(99, []byte(own)),
	)
	report := rtcpPacket(senderReport, make([]byte, 20))
	a.Report(append(report, rtcpPacket(extendedReport, xr)...))
	w.Wait(100 * time.Millisecond)
	if !received(b.Phone, phone.RTCP, report[:8]) {
		w.T().Errorf("the report of %s did not arrive", a.Phone.User)
	}
	for _, k := range b.Phone.Received(phone.RTCP) {
		if types := kindsIn(k.Data); slices.Contains(types, extendedReport) {
			w.T().Errorf("an extended report of %s arrived", a.Phone.User)
		}
	}
	return 200
}

// kindsIn are the types of the packets in a compound one.
func kindsIn(compound []byte) (types []byte) {
	for len(compound) >= 4 {
		types = append(types, compound[1])
		n := 4 * (1 + int(binary.BigEndian.Uint16(compound[2:])))
		compound = compound[min(n, len(compound)):]
	}
	return types
}
