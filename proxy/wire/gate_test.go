package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	const code = 400
	for _, c := range []struct {
		name string
		line string // that many of n
		most int
	}{
		{"header lines", "X: y\r\n", maxHeaders - 6},
		{"semicolons", ";x", maxParts},
		{"commas", ",x", maxParts},
		{"ampersands", "&x", maxParts},
		{"bytes of a line", "x", maxLine - len("Subject: ")},
	} {
		for _, n := range []int{c.most, c.most + 1} {
			line := strings.TrimSuffix(strings.Repeat(c.line, n), "\r\n")
			if c.name != "header lines" {
				line = "Subject: " + line
			}
			if _, err := Parse(request(line)); (err != nil) != (n > c.most) {
				t.Errorf("%d %s: %v", n, c.name, err)
			} else if err != nil {
				refused(t, err, code, true)
			}
		}
	}
}

// A fold makes no second line of a header: its quotes go on, and so does the count.
func TestLimitsCountAcrossFolds(t *testing.T) {
	for _, line := range []string{
		"Subject: " + strings.Repeat(";x;x;x\r\n ", maxParts/2),
		"Contact: <sip:a@b>;x=\"\r\n \"" + strings.Repeat(";x=y", maxParts+1),
		"Subject: " + strings.Repeat(strings.Repeat("x", 70)+"\r\n\t", maxLine/70),
	} {
		_, err := Parse(request(line))
		refused(t, err, 400, true)
	}
	_, err := Parse(request("Subject:" + strings.Repeat("\r\n x", maxFolded)))
	refused(t, err, 400, false)
	m, err := Parse(request("Contact: <sip:a@b>;x=\"\r\n " + strings.Repeat(";x=y", maxParts+1) + "\""))
	if err != nil {
		t.Fatalf("separators in quotes are none: %v", err)
	}
	stable(t, m)
}

// One datagram of quoted parameters became 75 MB; nothing grows now, whatever
// header carries them.
func TestQuotedParametersDoNotMultiply(t *testing.T) {
	long := strings.Repeat(`;a="b"`, 60)
	for _, line := range []string{
		"Via: SIP/2.0/UDP a" + long, "Contact: <sip:a@b" + long + ">", "Contact: <sip:a@b>" + long,
		"Contact: sip:a@b" + long, "From: <sip:a@b>" + long, "Route: <sip:a@b" + long + ">", "Route: <sip:a@b>" + long,
		"Refer-To: <sip:a@b?x" + long + ">", "Referred-By: <sip:a@b>" + long, "INVITE sip:a@b" + long + " SIP/2.0",
	} {
		m, err := Parse(request(line))
		if err != nil {
			continue
		}
		if out := stable(t, m); len(out) > len(request(line))+100 {
			t.Errorf("%d bytes became %d: %s", len(request(line)), len(out), line)
		}
	}
}

func TestMessageSize(t *testing.T) {
	body := strings.Repeat("x", MaxMessage-len(request())-len("Content-Length: 65000\r\n"))
	whole := append(request(fmt.Sprintf("Content-Length: %d", len(body))), body...)
	if m, err := Parse(whole); err != nil || len(m.Body()) != len(body) {
		t.Errorf("%d bytes: %v", len(whole), err)
	}
	_, err := Parse(append(whole, "x"...))
	refused(t, err, 0, false)
	_, err = Parse(bytes.TrimSuffix(request(), []byte("\r\n")))
	refused(t, err, 0, false)
	_, err = Parse(nil)
	refused(t, err, 0, false)
	lines := make([]string, 0, 100)
	for range 100 {
		lines = append(lines, "X: "+strings.Repeat("x", 500))
	}
	_, err = Parse(request(lines...))
	refused(t, err, 0, false)
}

func TestBodyOfDatagram(t *testing.T) {
	for _, c := range []struct{ length, sent, want string }{
		{"Content-Length: 3", "abc", "abc"},
		{"Content-Length: 3", "abcdef", "abc"}, // RFC 3261 §18.3
		{"Content-Length: 0", "abc", ""},
		{"X: y", "abc", "abc"},
		{"X: y", "", ""},
		{"l:\r\n 3", "abc", "abc"},
	} {
		m, err := Parse(append(request(c.length), c.sent...))
		if err != nil || string(m.Body()) != c.want {
			t.Errorf("%q and %q: %v", c.length, c.sent, err)
			continue
		}
		stable(t, m)
	}
	for _, length := range []string{
		"Content-Length: 4", "Content-Length: +3", "Content-Length:", "Content-Length: 3, 3", "l: 99999999999",
	} {
		_, err := Parse(append(request(length), "abc"...))
		refused(t, err, 400, true)
	}
}

// RFC 3261 §7.5: blank lines before a message are no part of it.
func TestBlankLinesBeforeMessage(t *testing.T) {
	if _, err := Parse(append([]byte("\r\n\r\n"), request()...)); err != nil {
		t.Error(err)
	}
}

func TestNoAnswerToAckAndResponse(t *testing.T) {
	for _, lines := range [][]string{
		{"ACK sip:bob@example.com SIP/2.0", "CSeq: 1 INVITE"},
		{"ACK sip:bob@example.com SIP/2.0", "Content-Length: 4"},
		{"ACK sip:bob@example.com SIP/7.0"},
	} {
		var rej *Reject
		if _, err := Parse(request(lines...)); !errors.As(err, &rej) || rej.Answer != nil {
			t.Errorf("%q: %v, answer %q", lines, err, rej.Answer)
		}
	}
	for _, start := range []string{"SIP/7.0 200 OK", "SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 200OK", "SIP/2.0 -1 x"} {
		raw := bytes.Replace(request(), []byte("INVITE sip:bob@example.com SIP/2.0"), []byte(start), 1)
		var rej *Reject
		if _, err := Parse(raw); !errors.As(err, &rej) || rej.Answer != nil {
			t.Errorf("%q: %v, answer %q", start, err, rej.Answer)
		}
	}
}

// The answer has what RFC 3261 §8.2.6.2 copies, a tag, and nothing else.
func TestAnswer(t *testing.T) {
	_, err := Parse(request(
		"v: SIP/2.0/UDP a;branch=z9hG4bK2\r\n ;x=y", "Via: SIP/2.0/UDP b", "Subject: private", "Content-Length: x",
	))
	var rej *Reject
	if !errors.As(err, &rej) {
		t.Fatal(err)
	}
	want := "SIP/2.0 400 Bad Request\r\n" +
		"From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>;tag=reject\r\nCall-ID: c@192.0.2.5\r\n" +
		"CSeq: 1 INVITE\r\nv: SIP/2.0/UDP a;branch=z9hG4bK2 ;x=y\r\nVia: SIP/2.0/UDP b\r\nContent-Length: 0\r\n\r\n"
	if string(rej.Answer) != want {
		t.Errorf("got\n%s\nwant\n%s", rej.Answer, want)
	}
	if strings.Contains(rej.Error(), "private") {
		t.Errorf("the log would say %q", rej.Error())
	}
}
