package main

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// What phones send is a packet that any receiver takes: its checksums are
// right, also after the parts that change have changed.
func TestFramesAreGood(t *testing.T) {
	from := end{mac: net.HardwareAddr{2, 0, 0, 0, 1, 1}, addr: netip.MustParseAddr("10.201.1.1")}
	via := end{mac: net.HardwareAddr{2, 0, 0, 0, 1, 2}}
	f := newFlow(from, via, 20007, netip.MustParseAddrPort("10.99.0.1:10028"), 77)
	for stamp := range uint64(1000) {
		f.next(stamp << 40)
		p := gopacket.NewPacket(f.frame[:], layers.LayerTypeEthernet, gopacket.Default)
		u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || u.SrcPort != 20007 || u.DstPort != 10028 || len(u.Payload) != 172 {
			t.Fatalf("%v", p)
		}
		if err := u.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		for _, l := range []gopacket.LayerWithChecksum{u, p.NetworkLayer().(*layers.IPv4)} {
			if err, r := l.VerifyChecksum(); err != nil || !r.Valid {
				t.Fatalf("packet %d, %T: %v %+v", stamp, l, err, r)
			}
		}
	}
}

func TestQuantile(t *testing.T) {
	var before, after histogram
	before[3], after[3], after[10], after[slots-1] = 5, 5+98, 1, 1
	h := after.since(&before)
	got := [...]time.Duration{h.quantile(0.5) / 1024, h.quantile(0.98) / 1024, h.quantile(0.99) / 1024}
	if h.total() != 100 || got != [...]time.Duration{3, 10, slots - 1} {
		t.Errorf("%d: %v", h.total(), got)
	}
}

func TestMedianIsOneOfTheSamples(t *testing.T) {
	all := []sample{{cpu: 3, rate: 3}, {cpu: 1, rate: 1}, {cpu: 2, rate: 2}}
	m := median(all, func(s sample) time.Duration { return s.cpu })
	if m.rate != 2 || lowest(all) != 1 || highest(all) != 3 {
		t.Errorf("%+v", m)
	}
}
