package ng

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// joined are two sockets of which the second sends to the first.
func joined(t *testing.T) (there *net.UDPConn, here net.Conn) {
	t.Helper()
	there, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if here, err = net.Dial("udp", there.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	return there, here
}

// daemon answers each command with what say makes of it.
func daemon(t *testing.T, say func(cookie, command string) []string) *Client {
	t.Helper()
	there, here := joined(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, maxAnswer)
		for {
			n, from, err := there.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			cookie, command, _ := strings.Cut(string(b[:n]), " ")
			for _, answer := range say(cookie, command) {
				_, _ = there.WriteToUDPAddrPort([]byte(answer), from)
			}
		}
	}()
	t.Cleanup(func() {
		_, _ = there.Close(), here.Close()
		<-done
	})
	return New(here)
}

func TestAsk(t *testing.T) {
	asked := make(chan string, 1)
	c := daemon(t, func(cookie, command string) []string {
		asked <- command
		return []string{
			"0 d6:result5:error12:error-reason4:latee", // to an earlier command
			cookie + " d3:sdp5:v=0\r\n7:streamsld4:porti7eee6:result2:oke",
		}
	})
	got, err := c.Ask("offer", map[string]any{"sdp": "v=0", "ICE": "remove", "flags": []string{"a", "bc"}})
	if want := (map[string]string{"sdp": "v=0\r\n", "result": "ok"}); err != nil || !maps.Equal(got, want) {
		t.Fatalf("%v, %q, want %q", err, got, want)
	}
	const want = "d3:ICE6:remove7:command5:offer5:flagsl1:a2:bce3:sdp3:v=0e"
	if command := <-asked; command != want {
		t.Errorf("asked %s, want %s", command, want)
	}
	if _, err := c.Ask("offer", map[string]any{"port": 7}); err == nil {
		t.Error("a number was sent, of which nobody knows how")
	}
}

func TestAskInVain(t *testing.T) {
	for answer, want := range map[string]string{
		"d6:result5:error12:error-reason15:Unknown call-ide": "delete: error: Unknown call-id",
		"d6:result2:ok":   errBencode.Error(),
		"d6:result2:okee": errBencode.Error(),
		"d6:result9:oke":  errBencode.Error(),
		"le":              errBencode.Error(),
		"":                errBencode.Error(),
		"d1:ai7":          errBencode.Error(),
		"d1:al1:b":        errBencode.Error(),
		"d1:a" + strings.Repeat("l", 20) + strings.Repeat("e", 20) + "e": errBencode.Error(),
	} {
		c := daemon(t, func(cookie, _ string) []string { return []string{cookie + " " + answer} })
		if got, err := c.Ask("delete", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %q, %v; want %s", answer, got, err, want)
		}
	}
}

// The daemon is waited for, but not for ever.
func TestReady(t *testing.T) {
	var pings atomic.Int32
	c := daemon(t, func(cookie, _ string) []string {
		if pings.Add(1) == 1 {
			return []string{cookie + " d6:result5:errore"}
		}
		return []string{cookie + " d6:result4:ponge"}
	})
	if err := c.Ready(10 * time.Second); err != nil || pings.Load() != 2 {
		t.Errorf("%v after %d pings", err, pings.Load())
	}
	gone, conn := joined(t)
	defer conn.Close()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if err := New(conn).Ready(0); err == nil {
		t.Error("who is not there is ready")
	}
}

func TestAudio(t *testing.T) {
	for text, want := range map[string]string{
		"c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n":   "192.0.2.1:4000",
		"m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n": "[2001:db8::1]:4000",
		"c=IN IP4 192.0.2.1\r\nm=audio 70000 RTP/AVP 0\r\n":  "",
		"c=IN IP4 192.0.2\r\nm=audio 4000 RTP/AVP 0\r\n":     "",
		"c=IN IP4 192.0.2.1\r\nm=video 4000 RTP/AVP 0\r\n":   "",
		"m=audio 4000 RTP/AVP 0\r\n":                         "",
	} {
		got, err := Audio("v=0\r\n" + text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q is at %v, %v; want %q", text, got, err, want)
		}
	}
}

// FuzzDecode: whatever comes is read or refused, and what was written is read.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"d6:result2:oke", "d1:ai7e1:bld1:c1:deee", "d", "d1:a", "d65536:"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := decode(b)
		if err != nil {
			return
		}
		values := map[string]any{}
		for k, v := range found {
			values[k] = v
		}
		again, err := encode(nil, values)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(again); err != nil || !maps.Equal(got, found) {
			t.Fatal(fmt.Errorf("%q became %q: %w", found, got, err))
		}
	})
}
