package phone

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// SDESItem is an item of an RTCP source description (RFC 3550 §6.5): type 2 is
// NAME, 3 EMAIL, 4 PHONE, 5 LOC, 6 TOOL, 7 NOTE, 8 PRIV.
type SDESItem struct {
	Type uint8
	Text string
}

// reports writes and reads RTCP. Reading is safe beside writing.
type reports struct {
	ssrc    uint32
	cname   string
	items   []SDESItem
	goodbye string
	every   time.Duration
	mux     bool
	heard   *seen
}

// seen is what RTCP has told about the other side, and what is reported of its media.
type seen struct {
	mu     sync.Mutex
	cnames []string

	media    rtcp.ReceptionReport // of the last source
	got      uint32
	first    uint32
	reported time.Time // its last sender report
}

// rtp notes a packet of the other side (RFC 3550 A.1).
func (s *seen) rtp(ssrc uint32, seq uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got == 0 || ssrc != s.media.SSRC {
		s.media = rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: uint32(seq)}
		s.got, s.first, s.reported = 0, uint32(seq), time.Time{}
	}
	if ahead := int16(seq - uint16(s.media.LastSequenceNumber)); ahead > 0 { // wraps on purpose
		s.media.LastSequenceNumber += uint32(ahead)
	}
	s.got++
}

// blocks is the report on the other side's media (RFC 3550 §6.4.1), none while there is none.
func (s *seen) blocks() []rtcp.ReceptionReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got == 0 {
		return nil
	}
	b := s.media
	if expected := b.LastSequenceNumber - s.first + 1; expected > s.got {
		b.TotalLost = expected - s.got
	}
	if !s.reported.IsZero() {
		b.Delay = uint32(time.Since(s.reported) * 65536 / time.Second)
	}
	return []rtcp.ReceptionReport{b}
}

func newReports(c Config, local netip.Addr) reports {
	cname := c.CNAME
	if cname == "" {
		cname = c.User + "@" + local.String() // RFC 3550 §6.5.1, as old phones do
	}
	return reports{
		cname: cname, items: c.SDES, goodbye: c.Goodbye, every: c.RTCPEvery, mux: c.RTCPMux,
		heard: new(seen),
	}
}

// isRTCP tells RTCP from RTP on one port (RFC 5761 §4).
func isRTCP(b []byte) bool { return len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223 }

// write is a sender report with its source description.
func (r reports) write(timestamp, packets, octets uint32) []byte {
	now := time.Now()
	const ntpEpoch = 2208988800
	sr := &rtcp.SenderReport{
		SSRC: r.ssrc, RTPTime: timestamp, PacketCount: packets, OctetCount: octets, Reports: r.heard.blocks(),
		NTPTime: uint64(now.Unix()+ntpEpoch)<<32 | uint64(now.Nanosecond())<<32/1e9,
	}
	return r.pack(sr, r.description())
}

func (r reports) description() *rtcp.SourceDescription {
	items := []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: r.cname}}
	for _, i := range r.items {
		items = append(items, rtcp.SourceDescriptionItem{Type: rtcp.SDESType(i.Type), Text: i.Text})
	}
	return &rtcp.SourceDescription{
		Chunks: []rtcp.SourceDescriptionChunk{{Source: r.ssrc, Items: items}},
	}
}

// bye is the last word (RFC 3550 §6.6).
func (r reports) bye() []byte {
	return r.pack(&rtcp.ReceiverReport{SSRC: r.ssrc}, r.description(),
		&rtcp.Goodbye{Sources: []uint32{r.ssrc}, Reason: r.goodbye})
}

func (reports) pack(packets ...rtcp.Packet) []byte {
	b, err := rtcp.Marshal(packets)
	if err != nil {
		return nil // an item that is too long: the script asked for it
	}
	return b
}

// read notes the CNAMEs of a packet, and when it came.
func (r reports) read(b []byte) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return
	}
	r.heard.mu.Lock()
	defer r.heard.mu.Unlock()
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			r.heard.report(p)
		case *rtcp.SourceDescription:
			r.heard.names(p)
		}
	}
}

// report notes when a sender report came, to answer it. It is called under the lock.
func (s *seen) report(sr *rtcp.SenderReport) {
	if sr.SSRC == s.media.SSRC {
		s.media.LastSenderReport, s.reported = uint32(sr.NTPTime>>16), time.Now()
	}
}

// names notes the CNAMEs of a description. It is called under the lock.
func (s *seen) names(d *rtcp.SourceDescription) {
	for _, c := range d.Chunks {
		for _, i := range c.Items {
			if i.Type == rtcp.SDESCNAME && !slices.Contains(s.cnames, i.Text) {
				s.cnames = append(s.cnames, i.Text)
			}
		}
	}
}

// CNAMEs are the names that RTCP has told, each once.
func (m *Media) CNAMEs() []string {
	m.reports.heard.mu.Lock()
	defer m.reports.heard.mu.Unlock()
	return slices.Clone(m.reports.heard.cnames)
}
