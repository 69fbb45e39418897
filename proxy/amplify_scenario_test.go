package proxy_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sotto/proxy/proxytest"
)

// borrowed is what is sent in the name of an address that is not its
// sender's: short, so that an answer would be longer.
func borrowed() map[string][]byte {
	head := func(method, uri string) string {
		return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.77;branch=z9hG4bK1;rport\r\n"+
			"From: <sip:e@e.example>;tag=1\r\nTo: <%s>\r\nCall-ID: 1\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n",
			method, uri, uri, method)
	}
	bob := proxytest.URI("bob")
	all := map[string][]byte{
		"STUN":           []byte("\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa"),
		"garbage":        bytes.Repeat([]byte("INVITE\r\n"), 50),
		"a bomb":         []byte(head("INVITE", bob) + strings.Repeat("X: y\r\n", 200) + "\r\n"),
		"late offer":     []byte(head("INVITE", bob) + "\r\n"),
		"reliable":       []byte(head("INVITE", bob) + "Require: 100rel\r\n\r\n"),
		"a user's":       []byte(strings.ReplaceAll(head("INVITE", bob), "e@e.example", "alice@"+proxytest.Domain) + "\r\n"),
		"a bad version":  []byte(strings.Replace(head("OPTIONS", bob), " SIP/2.0", " SIP/3.0", 1) + "\r\n"),
		"a lying length": []byte(head("OPTIONS", bob) + "Content-Length: 5000\r\n\r\n"),
	}
	for m := range strings.FieldsSeq("REGISTER OPTIONS MESSAGE SUBSCRIBE REFER PUBLISH BYE CANCEL BREW") {
		all[m] = []byte(head(m, bob) + "\r\n")
	}
	return all
}

// Never do more bytes go to an address from which nothing shows that it is
// the sender's own than came from there: not at once, and not in a minute of
// retransmissions; and whoever is there and asks again is answered.
func TestNobodyIsFlooded(t *testing.T) {
	mute := map[string]bool{"garbage": true, "CANCEL": true, "a bomb": true}
	for name, b := range borrowed() {
		for _, times := range []int{1, 7} {
			t.Run(fmt.Sprint(name, times), func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					back := comesBack(t, s, b, times)
					if back > times*len(b) {
						t.Errorf("%d bytes for %d", back, times*len(b))
					}
					if times > 1 && !mute[name] && back == 0 {
						t.Error("who asks again and again is not answered")
					}
				})
			})
		}
	}
}

// comesBack sends a datagram some times, and says how many bytes came back in
// the minute after.
func comesBack(t *testing.T, s *proxytest.Stage, b []byte, times int) (bytes int) {
	t.Helper()
	s.Set("bob", "silence_strangers", "on")
	s.Bob.Registers()
	victim := netip.MustParseAddrPort("198.51.100.77:5060")
	conn, err := s.Net.Host(victim.Addr()).ListenPacket(victim)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			bytes += n
		}
	}()
	for range times {
		if _, err := conn.WriteToUDPAddrPort(b, proxytest.Server); err != nil {
			t.Error(err)
		}
		s.Wait(500 * time.Millisecond)
	}
	s.Wait(time.Minute)
	_ = conn.Close() // ends the reader
	<-done
	return bytes
}
