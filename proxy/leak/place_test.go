package leak

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtcp"
)

const (
	marked   = "192.168.77.23"
	alicesID = "alices-laptop"
)

// places are "message: line" of everything found, each once.
func places(found []Finding) []string {
	var all []string
	for _, f := range found {
		if p := f.In + ": " + f.Where; !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func TestPlacesInMessages(t *testing.T) {
	body := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.168.77.23\r\n" +
		"a=candidate:1 1 UDP 1 192.168.77.23 9 typ host\r\n"
	stream := "\r\n\r\nINVITE sip:bob@192.0.2.1 SIP/2.0\r\n" +
		"v: SIP/2.0/UDP 192.168.77.23\r\nSubject: a\r\n to ALICES-laptop\r\n" +
		fmt.Sprintf("l: %d\r\n\r\n%s", len(body), body) +
		"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nServer: alices-laptop\r\nContent-Length: 0\r\n\r\n" +
		"BYE sip:x@192.168.77.23 SIP/2.0\r\nContent-Length: 0\r\n\r\n"
	want := []string{
		"INVITE: Via", "INVITE: Subject", "INVITE: SDP c=", "INVITE: SDP a=candidate",
		"200 to INVITE: Server", "BYE: first line",
	}
	if got := places(NewSearch(marked, alicesID).SIP([]byte(stream))); !slices.Equal(got, want) {
		t.Errorf("found in %q, not %q", got, want)
	}
}

// What two lines hold together is found, too.
func TestPlaceOfWhatLinesHoldTogether(t *testing.T) {
	text := "MESSAGE sip:b@192.0.2.1 SIP/2.0\r\nContent-Length: 15\r\n\r\nalices-\r\nlaptop"
	got := places(NewSearch("alices-\r\nlaptop").SIP([]byte(text)))
	if want := []string{"MESSAGE: the message as a whole"}; !slices.Equal(got, want) {
		t.Errorf("found in %q, not %q", got, want)
	}
}

func TestPlacesInRTCP(t *testing.T) {
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{
			{Source: 1, Items: []rtcp.SourceDescriptionItem{
				{Type: rtcp.SDESCNAME, Text: "x@" + marked}, {Type: rtcp.SDESTool, Text: "tool"},
			}},
			{Source: 2, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESNote, Text: alicesID}}},
		}},
		&rtcp.Goodbye{Sources: []uint32{1}, Reason: "from " + marked},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"RTCP: SDES CNAME", "RTCP: SDES NOTE", "RTCP: BYE"}
	if got := places(NewSearch(marked, alicesID).RTCP(raw)); !slices.Equal(got, want) {
		t.Errorf("found in %q, not %q", got, want)
	}
}

// Whatever comes, every leak that is in the bytes is found in some place.
func FuzzPlaces(f *testing.F) {
	f.Add([]byte("INVITE x SIP/2.0\r\nVia: 192.168.77.23\r\nContent-Length: 5\r\n\r\nv=0\r\n"))
	f.Add([]byte{0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, 'a', 'b'})
	f.Add([]byte(strings.Repeat("\r\n", 4)))
	s := NewSearch(marked)
	f.Fuzz(func(t *testing.T, data []byte) {
		if sip, rtcp := s.SIP(data), s.RTCP(data); len(s.Find(data)) > 0 && len(rtcp) == 0 {
			t.Errorf("%q: found in RTCP %v, in SIP %v", data, rtcp, sip)
		}
	})
}
