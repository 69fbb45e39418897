package leaktest

import (
	"reflect"
	"testing"

	"sotto/proxy/leak"
)

func TestTableHasARowForEachPlace(t *testing.T) {
	at := func(marker, in, where string) leak.Finding {
		return leak.Finding{Leak: leak.Leak{Marker: marker}, In: in, Where: where}
	}
	const address, mark = "192.0.2.7", "mark01-"
	plays := []Play{
		{Found: [2][]leak.Finding{1: {
			at(mark, "INVITE", "Via"), at(address, "INVITE", "Via"), at(address, "ACK", "Via"),
			at(address, "RTCP", "SDES CNAME"), at(address, "RTP", "source address"),
		}}},
		{},
		{Found: [2][]leak.Finding{
			{at(address, "BYE", "Via"), at(mark, "INFO", "body"), at(mark, "INVITE", "SDP a=tool")},
			{at(mark, "INVITE", "SDP a=tool"), at(mark, "RTP", "a packet")},
		}},
	}
	both := []string{"address", "device"}
	want := []Row{
		{Header, "Via", [2][]string{both, {"address"}}, 2},
		{SDP, "a=tool", [2][]string{{"device"}, {"device"}}, 1},
		{Body, "body of INFO", [2][]string{nil, {"device"}}, 1},
		{RTCP, "SDES CNAME", [2][]string{{"address"}, nil}, 1},
		{Packet, "RTP", [2][]string{{"device"}, nil}, 1},
		{Packet, "source address of RTP", [2][]string{{"address"}, nil}, 1},
	}
	if got := Table(plays); !reflect.DeepEqual(got, want) {
		t.Errorf("\n%v, not\n%v", got, want)
	}
	if n := Count(Table(plays), Packet); n != 2 {
		t.Errorf("%d packets, not 2", n)
	}
	if Table(make([]Play, 3)) != nil {
		t.Error("a row for nothing")
	}
}
