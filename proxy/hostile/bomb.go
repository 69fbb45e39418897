package hostile

import (
	"fmt"
	"strings"
)

// A Bomb is a request that is made to cost whoever reads it: a stack of headers,
// a header of parameters, a size that lies.
type Bomb struct {
	Name string
	Text string // the whole message; its Via is of the transport that it was made for
	Code int    // of the final answer; 0: none
	Shut bool   // over a connection, which is closed for it, sooner or later
}

// Bombs are INVITEs to a URI, each other in its way. transport is "UDP" or "TCP".
func Bombs(transport, uri string) []Bomb {
	var all []Bomb
	for _, k := range kinds {
		m := message{
			transport: transport, uri: uri, id: strings.ReplaceAll(k.name, " ", "-"),
			length: "Content-Length: 0", to: "<" + uri + ">",
		}
		k.make(&m)
		b := Bomb{Name: k.name, Text: m.text(), Code: k.datagram}
		if transport == "TCP" {
			b.Code, b.Shut = k.stream, k.shut
		}
		all = append(all, b)
	}
	return all
}

// message is what bombs are made of.
type message struct {
	transport, uri, id, to, length string
	above, below                   []string // lines over and under the own Via
	body                           string
}

// text is the message. It is so long that any answer is shorter.
func (m *message) text() string {
	lines := append([]string{"INVITE " + m.uri + " SIP/2.0"}, m.above...)
	lines = append(lines, "Via: SIP/2.0/"+m.transport+" 198.51.100.66:5060;branch=z9hG4bK"+m.id+";rport")
	lines = append(lines, m.below...)
	return strings.Join(append(lines, "Max-Forwards: 70", "From: <sip:eve@evil.example>;tag=1", "To: "+m.to,
		"Call-ID: bomb-"+m.id, "CSeq: 1 INVITE", "Contact: <sip:eve@198.51.100.66>", m.length,
		"X-Fill: "+strings.Repeat("x", 1500), "", m.body), "\r\n")
}

// stack is a header so often.
func stack(n int, format string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

const (
	aVia   = "Via: SIP/2.0/UDP 198.51.100.%[1]d:5060;branch=z9hG4bKhop%[1]d"
	aRoute = "Route: <sip:198.51.100.%d;lr>"
	aField = "X-Field-%d: value"
	big    = 8000 // bytes of a line, a little less than is allowed
)

// kinds are all of them, and what each meets. A stranger's call ends with 480,
// if it is one; what is no SIP that we take is a 400, or not worth an answer. A
// connection of which nobody can say where the next message begins is closed, if
// need be after ten seconds, when a stranger has heard the 180.
var kinds = []struct {
	name             string
	datagram, stream int
	shut             bool
	make             func(*message)
}{
	{"100 Via", 480, 480, false, func(m *message) { m.below = stack(100, aVia) }},
	{"200 Via", 400, 400, false, func(m *message) { m.below = stack(200, aVia) }},
	{"60 Via in one line", 480, 480, false, func(m *message) {
		m.below = []string{"Via: " + strings.Repeat("SIP/2.0/UDP 198.51.100.9, ", 59) + "SIP/2.0/UDP 198.51.100.9"}
	}},
	{"100 Route", 400, 400, false, func(m *message) { m.below = stack(100, aRoute) }},
	{"200 Route", 400, 400, false, func(m *message) { m.below = stack(200, aRoute) }},
	{"70 Route in one line", 400, 400, false, func(m *message) {
		m.below = []string{"Route: " + strings.Repeat("<sip:198.51.100.9;lr>, ", 70) + "<sip:198.51.100.9;lr>"}
	}},
	{"100 Record-Route", 480, 480, false, func(m *message) { m.below = stack(100, "Record-"+aRoute) }},
	{"200 Record-Route", 400, 400, false, func(m *message) { m.below = stack(200, "Record-"+aRoute) }},
	{"110 headers", 480, 480, false, func(m *message) { m.below = stack(110, aField) }},
	{"300 headers", 400, 400, false, func(m *message) { m.below = stack(300, aField) }},
	{"3000 headers", 0, 0, true, func(m *message) { m.below = stack(3000, aField) }},
	{"400 folds", 480, 480, false, func(m *message) {
		m.below = []string{"Subject: a" + strings.Repeat("\r\n b", 400)}
	}},
	{"60 parameters", 480, 480, false, func(m *message) { m.to += strings.Join(stack(60, ";p%d=v"), "") }},
	{"1000 parameters", 400, 400, false, func(m *message) { m.to += strings.Repeat(";p=v", 1000) }},
	{"60 parameters of the URI", 480, 480, false, func(m *message) {
		m.uri += strings.Join(stack(60, ";p%d=v"), "")
	}},
	{"1000 parameters of the URI", 400, 400, false, func(m *message) { m.uri += strings.Repeat(";p=v", 1000) }},
	{"1000 headers of the URI", 400, 400, false, func(m *message) {
		m.uri += "?a=b" + strings.Repeat("&a=b", 1000)
	}},
	{"4000 quotes", 400, 400, false, func(m *message) { m.to = strings.Repeat(`"`, 4001) + m.to }},
	{"4000 brackets", 400, 400, false, func(m *message) { m.to = strings.Repeat("<", 4000) + m.to }},
	{"60 tokens", 480, 480, false, func(m *message) {
		m.below = stack(60, "Privacy-Token: pt1."+strings.Repeat("A", 100))
	}},
	{"lines of 8 KB", 480, 480, false, func(m *message) {
		m.below = stack(5, "X-%d: "+strings.Repeat("y", big))
	}},
	{"header of 60 KB", 0, 0, true, func(m *message) { m.below = []string{"X: " + strings.Repeat("y", 60000)} }},
	{"user part of 8 KB", 403, 403, false, func(m *message) {
		m.uri = strings.Replace(m.uri, "sip:", "sip:"+strings.Repeat("u", 7900), 1)
	}},
	{"body of 48 KB", 480, 480, false, func(m *message) {
		m.body = strings.Repeat("v=0\r\n", 10000)
		m.length = fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d", len(m.body))
	}},
	{"length of more than there is", 400, 0, true, func(m *message) { m.length = "Content-Length: 5000" }},
	{"length of less than there is", 480, 180, true, func(m *message) {
		m.length, m.body = "Content-Length: 3", strings.Repeat("garbage ", 20)
	}},
	{"length of 4 GB", 400, 0, true, func(m *message) { m.length = "Content-Length: 4294967297" }},
	{"length below zero", 400, 0, true, func(m *message) { m.length = "Content-Length: -1" }},
	{"length in words", 400, 0, true, func(m *message) { m.length = "Content-Length: ten" }},
	{"two lengths", 400, 0, true, func(m *message) { m.length = "Content-Length: 0\r\nl: 10" }},
	{"no length", 480, 0, true, func(m *message) { m.length = "X-Length: 0" }},
}
