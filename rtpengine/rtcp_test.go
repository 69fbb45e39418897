package rtpengine

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

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
		"application": {app, nil},
		"extended":    {&xr, nil},
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

// A step is a packet, and whether it is taken.
type step struct {
	from   netip.AddrPort
	accept bool
}

// arrives shows a latch a packet, first as if nothing were agreed on.
func arrives(l *latch, from netip.AddrPort, now time.Time) (early, taken bool) {
	was := l.latched
	early = l.accept(from, now, learnNothing) && from != was
	return early, l.accept(from, now, learnAny)
}

func TestLatch(t *testing.T) {
	at := netip.MustParseAddrPort
	signalled, same, elsewhere := at("198.51.100.7:4000"), at("198.51.100.7:5000"), at("203.0.113.66:4000")
	private := at("192.168.1.2:4000")
	third := at("198.51.100.7:6000")
	// sends is a rival for a while: one packet in twenty milliseconds.
	sends := func(from netip.AddrPort, packets int, then ...step) (all []step) {
		for range packets {
			all = append(all, step{from, false})
		}
		return append(all, then...)
	}
	for name, c := range map[string]struct {
		signalled netip.AddrPort
		source    netip.Addr
		split     bool
		before    netip.AddrPort // where packets go before the party is heard
		steps     []step
		after     netip.AddrPort
	}{
		"as signalled": {
			signalled, signalled.Addr(), false, signalled,
			[]step{{signalled, true}, {same, false}, {elsewhere, false}},
			signalled,
		},
		"another port of the host": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 25, step{same, true}, step{third, false}, step{elsewhere, false}),
			same,
		},
		"another port of the host, too late": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 24, step{signalled, true}, step{same, false}, step{signalled, true}),
			signalled,
		},
		"the party comes after another port": {
			signalled, signalled.Addr(), false, signalled,
			sends(same, 25, step{same, true}, step{signalled, true}, step{same, false}),
			signalled,
		},
		"two other ports in turn": {
			signalled, signalled.Addr(), false, signalled,
			append(sends(same, 20), append(sends(third, 20), sends(same, 20)...)...),
			signalled,
		},
		"a thief is first": {
			signalled, signalled.Addr(), false, signalled,
			[]step{{elsewhere, false}, {signalled, true}, {elsewhere, false}},
			signalled,
		},
		"behind NAT": {
			private, signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{elsewhere, false}, {same, true}, {signalled, false}},
			same,
		},
		"behind NAT, from its own": {
			private, signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{private, true}},
			private,
		},
		"only the signalled": {
			signalled,
			netip.Addr{},
			false, signalled,
			[]step{{same, false}, {elsewhere, false}, {signalled, true}},
			signalled,
		},
		"a split carrier": {
			signalled, same.Addr(), true, signalled,
			sends(elsewhere, 25, step{elsewhere, true}, step{third, false}),
			elsewhere,
		},
		"a split carrier that is where it says": {
			signalled, same.Addr(), true, signalled,
			sends(elsewhere, 25, step{elsewhere, true}, step{signalled, true}, step{elsewhere, false}),
			signalled,
		},
		"on hold, not heard": {
			netip.AddrPort{},
			signalled.Addr(), false,
			netip.AddrPort{},
			[]step{{elsewhere, false}},
			netip.AddrPort{},
		},
	} {
		var l latch
		now := time.Now()
		l.set(c.signalled, c.source, c.split)
		if got := l.dest(); got != c.before {
			t.Errorf("%s: packets go to %v before, want %v", name, got, c.before)
		}
		for i, s := range c.steps {
			now = now.Add(20 * time.Millisecond)
			if early, taken := arrives(&l, s.from, now); early || taken != s.accept {
				t.Errorf("%s, step %d: a packet from %v is taken: %v; before both are agreed: %v", name, i, s.from, taken, early)
			}
		}
		if got := l.dest(); got != c.after {
			t.Errorf("%s: packets go to %v, want %v", name, got, c.after)
		}
	}
}

// A new description opens the latch again; the same one, and hold, do not.
func TestLatchIsSetAgain(t *testing.T) {
	at := netip.MustParseAddrPort
	a, b, moved := at("198.51.100.7:4000"), at("198.51.100.7:5000"), at("198.51.100.7:6000")
	now := time.Now()
	var l latch
	l.set(a, a.Addr(), false)
	for range 2 * rivalPackets {
		now = now.Add(20 * time.Millisecond)
		l.accept(b, now, learnAny)
	}
	l.set(a, a.Addr(), false)
	if l.dest() != b {
		t.Error("the same description has opened the latch")
	}
	l.set(netip.AddrPort{}, a.Addr(), false)
	if l.dest() != b || l.accept(a, now, learnAny) {
		t.Error("hold has forgotten the party")
	}
	l.set(moved, a.Addr(), false)
	if l.dest() != moved || !l.accept(moved, now, learnAny) || l.accept(b, now, learnAny) {
		t.Error("a new description has not opened the latch")
	}
}
