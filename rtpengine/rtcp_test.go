package rtpengine

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pion/rtcp"
)

var (
	me    = alias{cname: "random-me", clock: 5 << 32}
	other = alias{cname: "random-other", clock: 9<<32 | 1<<31}
)

// marked is what no scrubbed packet may hold.
const marked = "alice@192.168.77.23"

// telling are packets that tell something, each with what may be left of it.
func telling() map[string]struct {
	in   rtcp.Packet
	want []rtcp.Packet
} {
	app := &rtcp.RawPacket{}
	*app = append([]byte{0x80, 204, 0, 7, 0, 0, 0, 1, 'P', 'I', 'N', 'G'}, (marked + "\x00")...)
	xr := rtcp.RawPacket{0x80, 207, 0, 1, 0, 0, 0, 1}
	rate := rtcp.RawPacket{0x83, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0x10, 0, 0, 40}
	rates := append(rtcp.RawPacket{0x83, 205, 0, 5}, rate[4:]...)
	rates = append(rates, "mark"...)
	reports := func(lsr uint32) []rtcp.ReceptionReport {
		return []rtcp.ReceptionReport{
			{SSRC: 7, LastSenderReport: lsr, Delay: 3, Jitter: 2, TotalLost: 1},
			{SSRC: 8},
		}
	}
	return map[string]struct {
		in   rtcp.Packet
		want []rtcp.Packet
	}{
		"sender report": {
			&rtcp.SenderReport{
				SSRC:              1,
				NTPTime:           100 << 32,
				RTPTime:           4,
				Reports:           reports(0x00200000),
				ProfileExtensions: []byte(marked + ".."),
			},
			[]rtcp.Packet{
				&rtcp.SenderReport{
					SSRC:    1,
					NTPTime: 105 << 32,
					RTPTime: 4,
					Reports: reports(0x00200000 - 0x00098000),
				},
			},
		},
		"receiver report": {
			&rtcp.ReceiverReport{
				SSRC:              1,
				Reports:           reports(0x00200000),
				ProfileExtensions: []byte(marked + ".."),
			},
			[]rtcp.Packet{
				&rtcp.ReceiverReport{
					SSRC:              1,
					Reports:           reports(0x00200000 - 0x00098000),
					ProfileExtensions: []byte{},
				},
			},
		},
		"source description": {
			&rtcp.SourceDescription{
				Chunks: []rtcp.SourceDescriptionChunk{{Source: 1, Items: []rtcp.SourceDescriptionItem{
					{Type: rtcp.SDESCNAME, Text: marked},
					{Type: rtcp.SDESName, Text: marked},
					{Type: rtcp.SDESTool, Text: marked},
					{Type: rtcp.SDESLocation, Text: marked},
					{Type: rtcp.SDESPrivate, Text: marked},
					{Type: rtcp.SDESEmail, Text: marked},
				}}},
			},
			[]rtcp.Packet{&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{
				{Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: me.cname}}},
			}}},
		},
		"goodbye": {
			&rtcp.Goodbye{Sources: []uint32{1}, Reason: marked},
			[]rtcp.Packet{&rtcp.Goodbye{Sources: []uint32{1}}},
		},
		"application":       {app, nil},
		"extended":          {&xr, nil},
		"rate":              {&rate, []rtcp.Packet{&rate}},
		"rate that is none": {&rates, nil},
		"picture loss": {
			&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2},
			[]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}},
		},
	}
}

func TestScrub(t *testing.T) {
	for name, c := range telling() {
		raw, err := c.in.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var want []byte
		if c.want != nil {
			if want, err = rtcp.Marshal(c.want); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := scrub(readRTCP(raw), me, other); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

// What may not cross takes nothing else of a compound packet with it.
func TestScrubCompound(t *testing.T) {
	var raw []byte
	for _, name := range []string{"sender report", "source description", "application", "extended", "goodbye"} {
		one, err := telling()[name].in.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, one...)
	}
	out := scrub(readRTCP(raw), me, other)
	if bytes.Contains(out, []byte(marked)) {
		t.Fatalf("%q crosses in %q", marked, out)
	}
	all, err := rtcp.Unmarshal(out)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d packets cross (%v), want 3", len(all), err)
	}
}

// Padding, which the last packet may have, is taken away.
func TestScrubTakesPadding(t *testing.T) {
	for _, last := range []string{"sender report", "source description", "goodbye", "picture loss"} {
		report, err := telling()["sender report"].in.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := telling()[last].in.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want := scrub(readRTCP(append(bytes.Clone(report), b...)), me, other)
		b[0] |= 0x20
		b[3] += 2
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 8)
		if got := scrub(readRTCP(append(bytes.Clone(report), b...)), me, other); !bytes.Equal(got, want) || want == nil {
			t.Errorf("%s:\n got %x\nwant %x", last, got, want)
		}
	}
}

func TestScrubRefusesWhatItCannotRead(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing": nil, "half a header": {0x80, 200}, "lying length": {0x80, 200, 0, 50, 0, 0, 0, 1},
		"version": {0x00, 200, 0, 1, 0, 0, 0, 1},
	} {
		if got := scrub(readRTCP(raw), me, other); got != nil {
			t.Errorf("%s: %x crosses", name, got)
		}
	}
}

// What goes out and comes back in a report is what was written.
func TestClockComesBack(t *testing.T) {
	const ntp = 0xE0001234_80000000
	sent, _ := (&rtcp.SenderReport{SSRC: 1, NTPTime: ntp}).Marshal()
	all, err := rtcp.Unmarshal(scrub(readRTCP(sent), me, other))
	if err != nil {
		t.Fatal(err)
	}
	seen := all[0].(*rtcp.SenderReport).NTPTime
	if seen == ntp {
		t.Error("the clock crosses as it is")
	}
	about := []rtcp.ReceptionReport{{SSRC: 1, LastSenderReport: uint32(seen >> 16)}}
	report, _ := (&rtcp.ReceiverReport{SSRC: 2, Reports: about}).Marshal()
	if all, err = rtcp.Unmarshal(scrub(readRTCP(report), other, me)); err != nil {
		t.Fatal(err)
	}
	if got := all[0].(*rtcp.ReceiverReport).Reports[0].LastSenderReport; got != uint32(ntp>>16&0xffffffff) {
		t.Errorf("report names %x, the sender wrote %x", got, uint32(ntp>>16&0xffffffff))
	}
}

// FuzzScrub: whatever comes in, what comes out is RTCP of the allowed kinds
// and names nobody but the alias.
func FuzzScrub(f *testing.F) {
	for _, c := range telling() {
		raw, _ := c.in.Marshal()
		f.Add(raw)
		f.Add(append(raw, raw...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out := scrub(readRTCP(slices.Clone(raw)), me, other)
		if out == nil {
			return
		}
		all, err := rtcp.Unmarshal(out)
		if err != nil {
			t.Fatalf("%x became %x: %v", raw, out, err)
		}
		for _, p := range all {
			onlyAllowed(t, p)
		}
		if len(out) > 2*len(raw)+64*len(all) {
			t.Errorf("%d bytes became %d", len(raw), len(out))
		}
	})
}

// onlyAllowed holds one packet to the allow-list.
func onlyAllowed(t *testing.T, p rtcp.Packet) {
	t.Helper()
	switch p := p.(type) {
	case *rtcp.SenderReport:
		if len(p.ProfileExtensions) > 0 {
			t.Errorf("extension %x", p.ProfileExtensions)
		}
	case *rtcp.ReceiverReport:
		if len(p.ProfileExtensions) > 0 {
			t.Errorf("extension %x", p.ProfileExtensions)
		}
	case *rtcp.SourceDescription:
		for _, c := range p.Chunks {
			if len(c.Items) != 1 || c.Items[0].Type != rtcp.SDESCNAME || c.Items[0].Text != me.cname {
				t.Errorf("items %v", c.Items)
			}
		}
	case *rtcp.Goodbye:
		if p.Reason != "" {
			t.Errorf("reason %q", p.Reason)
		}
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest, *rtcp.TransportLayerNack,
		*rtcp.ReceiverEstimatedMaximumBitrate, *rtcp.SliceLossIndication, *rtcp.RapidResynchronizationRequest:
	case *rtcp.RawPacket:
		if !limitsRate(*p) {
			t.Errorf("%x crosses", *p)
		}
	default:
		t.Errorf("%T crosses", p)
	}
}

func TestPlainRTP(t *testing.T) {
	head := []byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}
	with := func(first byte, parts ...[]byte) []byte {
		b := slices.Clone(head)
		b[0] = first
		return append(b, bytes.Join(parts, nil)...)
	}
	payload, source, ext := []byte("sound"), []byte("CSRC"), []byte{0xbe, 0xde, 0, 1, 'a', 'b', 'c', 'd'}
	for name, c := range map[string]struct{ in, want []byte }{
		"nothing to take":  {with(0x80, payload), with(0x80, payload)},
		"padding stays":    {with(0xa0, payload), with(0xa0, payload)},
		"sources":          {with(0x82, source, source, payload), with(0x80, payload)},
		"extension":        {with(0x90, ext, payload), with(0x80, payload)},
		"both":             {with(0x91, source, ext, payload), with(0x80, payload)},
		"nothing else":     {with(0x90, ext), with(0x80)},
		"sources too many": {with(0x8f, source), with(0x8f, source)},
		"extension cut":    {with(0x90, ext[:6]), with(0x90, ext[:6])},
		"extension head":   {with(0x90, ext[:2]), with(0x90, ext[:2])},
	} {
		if got := plainRTP(slices.Clone(c.in)); !bytes.Equal(got, c.want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, c.want)
		}
	}
}

func TestClassify(t *testing.T) {
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	zrtp := append([]byte{0x10, 0, 0, 1, 'Z', 'R', 'T', 'P'}, make([]byte, 8)...)
	for name, c := range map[string]struct {
		in   []byte
		want kind
	}{
		"nothing": {nil, kindNone}, "one byte": {[]byte{0x80}, kindNone}, "RTP": {rtpPacket(1, ""), kindRTP},
		"short RTP":  {rtpPacket(1, "")[:11], kindNone},
		"RTP marker": {append([]byte{0x80, 0x80 | 101}, make([]byte, 12)...), kindRTP},
		"RTCP":       {[]byte{0x80, 200, 0, 1, 0, 0, 0, 1}, kindRTCP},
		"feedback":   {append([]byte{0x81, 206}, make([]byte, 10)...), kindRTCP},
		"STUN":       {stun, kindSTUN}, "DTLS": {[]byte{22, 0xfe, 0xfd}, kindDTLS}, "ZRTP": {zrtp, kindZRTP},
		"SIP": {[]byte("INVITE sip:a@b SIP/2.0\r\n"), kindNone}, "keep-alive": {[]byte("\r\n\r\n"), kindNone},
	} {
		if got := classify(c.in); got != c.want {
			t.Errorf("%s is %d, want %d", name, got, c.want)
		}
	}
}
