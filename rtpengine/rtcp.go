package rtpengine

import "github.com/pion/rtcp"

// scrub re-writes a compound RTCP packet that is in the clear, so that
// nothing in it names its sender: the CNAME is the session's own random one,
// all other SDES items, APP, XR and the text of a BYE are gone. nil means that
// nothing may cross.
func scrub(b []byte, cname string) []byte {
	all, err := rtcp.Unmarshal(b)
	if err != nil {
		return nil
	}
	kept := make([]rtcp.Packet, 0, len(all))
	for _, p := range all {
		if p = scrubOne(p, cname); p != nil {
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
func scrubOne(p rtcp.Packet, cname string) rtcp.Packet {
	switch p := p.(type) {
	case *rtcp.SenderReport:
		p.ProfileExtensions = nil
		return p
	case *rtcp.ReceiverReport:
		p.ProfileExtensions = nil
		return p
	case *rtcp.SourceDescription:
		out := &rtcp.SourceDescription{}
		for _, c := range p.Chunks {
			out.Chunks = append(out.Chunks, rtcp.SourceDescriptionChunk{
				Source: c.Source,
				Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname}},
			})
		}
		return out
	case *rtcp.Goodbye:
		p.Reason = ""
		return p
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest, *rtcp.TransportLayerNack,
		*rtcp.ReceiverEstimatedMaximumBitrate, *rtcp.SliceLossIndication, *rtcp.RapidResynchronizationRequest:
		return p // feedback about video: numbers of packets and streams
	}
	return nil
}
