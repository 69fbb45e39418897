package rtpengine

import (
	"slices"
	"testing"
)

// What phones write crosses; a text of somebody's own does not, even as the
// value of a parameter that does.
func TestFormatParameters(t *testing.T) {
	for in, want := range map[string]string{
		"101 0-15,66":         "fmtp:101 0-15,66",
		"121 111/111":         "fmtp:121 111/111",
		"18 annexb=no":        "fmtp:18 annexb=no",
		"97 mode=20":          "fmtp:97 mode=20",
		"98 vbr=vad;cng=on":   "fmtp:98 vbr=vad;cng=on",
		"99 mode-set=0,2,4,7": "fmtp:99 mode-set=0,2,4,7",
		"104 br=5.9-24.4; bw=nb-swb;ch-aw-recv=3": "fmtp:104 br=5.9-24.4;bw=nb-swb;ch-aw-recv=3",
		"111 minptime=10;useinbandfec=1":          "fmtp:111 minptime=10;useinbandfec=1",
		"34 CIF=1;QCIF=1;custom=352,240,1":        "fmtp:34 CIF=1;QCIF=1;custom=352,240,1",
		"96 profile-level-id=42e01f;packetization-mode=1;sprop-parameter-sets=Z0IAH5WoFAFuQA==,aM48gA==": "" +
			"fmtp:96 profile-level-id=42e01f;packetization-mode=1;sprop-parameter-sets=Z0IAH5WoFAFuQA==,aM48gA==",
		"98 profile-id=1;sprop-vps=QAEMAf//AWAA": "fmtp:98 profile-id=1;sprop-vps=QAEMAf//AWAA",
		"96 profile-level-id=1;config=000001B001000001B58913": "" +
			"fmtp:96 profile-level-id=1;config=000001B001000001B58913",

		"97 mode=alices-phone":              "",
		"97 mode=192.168.77.23":             "",
		"97 mode=20marked":                  "",
		"97 level=fe80::1":                  "",
		"97 custom=3232255255":              "",
		"97 config=c0a84d17":                "",
		"97 sprop-parameter-sets=YWxpY2U=":  "", // alice
		"97 sprop-parameter-sets=Z0IA,host": "",
		"97 sprop-pps=wKhNFw==":             "", // an address
		"97 x-host=1":                       "",
		"97 host":                           "",
		"host":                              "",
	} {
		if got, ok := formatParameters(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, ok, want)
		}
	}
}

// A codec that nobody knows is left out with its payload type, a medium or
// transport that nobody knows is refused without its name.
func TestNamesOfNobody(t *testing.T) {
	in := "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 0 97 98\r\nb=AS:3232255255\r\na=rtpmap:97 alices-phone/8000\r\na=rtpmap:98 opus/48000/2\r\n" +
		"a=fmtp:97 mode=20\r\na=rtcp-fb:* nack alices-phone\r\na=rtcp-fb:98 nack pli\r\n" +
		"m=alices 4002 RTP/AVP 0\r\nm=application 4004 alices/phone x\r\nm=message 4006 TCP/MSRP alices\r\n" +
		"m=application 4008 UDP/DTLS/SCTP webrtc-datachannel\r\n"
	d, err := readSDP([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	want := []mediaLine{
		{kind: "audio", proto: "RTP/AVP", formats: []string{"0", "98"}},
		{kind: "audio", proto: "RTP/AVP", formats: []string{"0"}},
		{kind: "audio", proto: "RTP/AVP", formats: []string{"0"}},
		{kind: "message", proto: "TCP/MSRP", formats: []string{"*"}},
		{kind: "application", proto: "UDP/DTLS/SCTP", formats: []string{"webrtc-datachannel"}},
	}
	for i, w := range want {
		m := d.media[i]
		if m.kind != w.kind || m.proto != w.proto || !slices.Equal(m.formats, w.formats) {
			t.Errorf("line %d: %s %s %v; want %s %s %v", i, m.kind, m.proto, m.formats, w.kind, w.proto, w.formats)
		}
	}
	attrs := []string{"rtpmap:98 opus/48000/2", "rtcp-fb:98 nack pli"}
	if m := d.media[0]; !slices.Equal(m.attrs, attrs) || len(m.bands) > 0 {
		t.Errorf("attributes %q and bandwidth %q; want %q and none", m.attrs, m.bands, attrs)
	}
}
