package rtpengine

import (
	"bytes"
	"encoding/binary"

	"github.com/pion/rtcp"
)

// An alias is how the other party knows one in RTCP: by a random name, and
// with a clock that is off by a random time. The other party's reports name
// that clock, and are turned back.
type alias struct {
	cname string
	clock uint64 // added to NTP timestamps (RFC 3550 §4: 32.32 bits of a second)
}

// day bounds the shift of a clock: enough to hide it, and no phone takes what
// it says for nonsense.
const day = 24 * 3600 << 32

// readRTCP reads a compound RTCP packet; none if it cannot be read.
func readRTCP(b []byte) []rtcp.Packet {
	all, err := rtcp.Unmarshal(unpadded(b))
	if err != nil {
		return nil
	}
	return all
}

// firstRTCP takes the first packet off a compound one; nil if that ends too early.
func firstRTCP(b []byte) (first, rest []byte) {
	if len(b) < 4 {
		return nil, b
	}
	size := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
	if size > len(b) {
		return nil, b
	}
	return b[:size], b[size:]
}

// inClear says that a packet can be read as RTCP from its beginning to its end.
// One that is encrypted cannot: what follows the first sender's ID is, and then
// come an index and a tag (RFC 3711 §3.4).
func inClear(b []byte) bool {
	for len(b) > 0 {
		first, rest := firstRTCP(b)
		if first == nil || first[0]>>6 != 2 || first[1] < 192 || first[1] > 223 { // RFC 5761 §4
			return false
		}
		b = rest
	}
	return true
}

// unpadded is a compound packet without the padding that its last packet may
// have (RFC 3550 §6.4.1).
func unpadded(b []byte) []byte {
	const padded = 0x20
	var last []byte
	for rest := b; len(rest) > 0; {
		if last, rest = firstRTCP(rest); last == nil {
			return b
		}
	}
	if len(last) == 0 || last[0]&padded == 0 {
		return b
	}
	n, words := int(last[len(last)-1]), len(last)/4-1
	if n == 0 || n%4 != 0 || n > 4*words {
		return b
	}
	at := len(b) - len(last)
	out := bytes.Clone(b[:len(b)-n])
	out[at] &^= padded
	binary.BigEndian.PutUint16(out[at+2:], uint16(words-n/4))
	return out
}

// scrub re-writes a compound RTCP packet that is in the clear, so that
// nothing in it names its sender: the CNAME is the session's own random one,
// all other SDES items, APP, XR and the text of a BYE are gone, and its clock,
// which tells one device from another, is shifted. about is the party that the
// packet's reports are about. nil means that nothing may cross.
func scrub(all []rtcp.Packet, from, about alias) []byte {
	kept := make([]rtcp.Packet, 0, len(all))
	for _, p := range all {
		if p = scrubOne(p, from, about); p != nil {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	out, err := rtcp.Marshal(kept)
	if err != nil {
		return nil
	}
	return out
}

// scrubOne is the allow-list of RTCP (leaks.md §3).
func scrubOne(p rtcp.Packet, from, about alias) rtcp.Packet {
	switch p := p.(type) {
	case *rtcp.SenderReport:
		p.ProfileExtensions = nil
		p.NTPTime += from.clock
		about.turnBack(p.Reports)
		return p
	case *rtcp.ReceiverReport:
		p.ProfileExtensions = nil
		about.turnBack(p.Reports)
		return p
	case *rtcp.SourceDescription:
		out := &rtcp.SourceDescription{}
		for _, c := range p.Chunks {
			out.Chunks = append(out.Chunks, rtcp.SourceDescriptionChunk{
				Source: c.Source,
				Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: from.cname}},
			})
		}
		return out
	case *rtcp.Goodbye:
		p.Reason = ""
		return p
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest, *rtcp.TransportLayerNack,
		*rtcp.ReceiverEstimatedMaximumBitrate, *rtcp.SliceLossIndication, *rtcp.RapidResynchronizationRequest:
		return p // feedback about video: numbers of packets and streams
	case *rtcp.RawPacket:
		if limitsRate(*p) {
			return p
		}
	}
	return nil
}

// limitsRate says that a packet asks for, or confirms, at most so many bits a
// second of some streams: TMMBR and TMMBN (RFC 5104 §4.2.1, §4.2.2).
func limitsRate(b rtcp.RawPacket) bool {
	const head, entry, request, notification = 12, 8, 3, 4
	h := b.Header()
	return h.Type == rtcp.TypeTransportSpecificFeedback && (h.Count == request || h.Count == notification) &&
		!h.Padding && len(b) >= head && (len(b)-head)%entry == 0
}

// turnBack gives the last sender report that each block names, which is the
// middle of its NTP timestamp, back as its sender wrote it (RFC 3550 §6.4.1);
// 0 says that there was none.
func (a alias) turnBack(blocks []rtcp.ReceptionReport) {
	for i := range blocks {
		if b := &blocks[i]; b.LastSenderReport != 0 {
			b.LastSenderReport -= uint32(a.clock >> 16)
		}
	}
}
