package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sotto/proxy/phone"
)

// A sight is what a phone saw of the other party in one call, read from the
// bytes that it received.
type sight struct {
	packets []phone.Packet
	cnames  []string
}

// A trait is a line of the table of what was seen.
type trait struct{ name, value string }

// nothing stands where a phone received nothing of the kind, itsOwn where it
// got back what it had sent.
const (
	nothing = "-"
	itsOwn  = "its own"
)

// traits reads a sight. What the phone itself had sent, and got back in a
// response as SIP has it, is not the other party's.
func (s sight) traits() []trait {
	m := s.telling()
	sdp := m.sdp()
	callID, tag := itsOwn, paramOf(m.header("To"), "tag")
	if m.code() == "" {
		callID, tag = m.header("Call-ID"), paramOf(m.header("From"), "tag")
	}
	return []trait{
		{"SIP came from", s.sources(phone.SIP)},
		{"Via", m.vias()},
		{"Contact", uriIn(m.header("Contact"))},
		{"Call-ID", callID},
		{"tag", tag},
		{"User-Agent", cmp.Or(m.header("User-Agent"), m.header("Server"))},
		{wifiHeader, m.header(wifiHeader)},
		{"SDP origin", sdp.origin},
		{"SDP audio", sdp.audio},
		{"SDP info, tool", sdp.info},
		{"audio came from", s.sources(phone.RTP)},
		{"RTCP name", strings.Join(s.cnames, ", ")},
	}
}

// sources are the addresses that packets of a kind came from.
func (s sight) sources(k phone.Kind) string {
	var all []string
	for _, p := range s.packets {
		if from := p.From.String(); p.Kind == k && !slices.Contains(all, from) {
			all = append(all, from)
		}
	}
	return strings.Join(all, ", ")
}

// telling is the message that tells most about the other party: the INVITE,
// or the last response to ours that came from behind the server.
func (s sight) telling() message {
	var best message
	for _, p := range s.packets {
		m := readMessage(p)
		switch {
		case strings.HasPrefix(m.start, "INVITE "):
			return m
		case strings.HasSuffix(m.header("CSeq"), " INVITE") && m.code() > "100" && m.code() < "300":
			best = m
		}
	}
	return best
}

// size is how much a phone received, for a person.
func (s sight) size() string {
	n := 0
	for _, p := range s.packets {
		n += len(p.Data)
	}
	what := "packets"
	if len(s.packets) == 1 {
		what = "packet"
	}
	return fmt.Sprintf("%d %s, %.1f kB", len(s.packets), what, float64(n)/1000)
}

// A message is a SIP message as it came, read no more than showing it needs;
// the zero message is none.
type message struct {
	start   string
	headers []phone.Field
	body    string
}

// readMessage reads a packet; of anything but SIP the result is none.
func readMessage(p phone.Packet) message {
	head, body, ok := strings.Cut(string(p.Data), "\r\n\r\n")
	if p.Kind != phone.SIP || !ok {
		return message{}
	}
	lines := strings.Split(head, "\r\n")
	m := message{start: lines[0], body: body}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		m.headers = append(m.headers, phone.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return m
}

func (m message) request() bool { return m.start != "" && m.code() == "" }

// code is the status code of a response, "" of a request.
func (m message) code() string {
	rest, ok := strings.CutPrefix(m.start, "SIP/2.0 ")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, " ")
	return code
}

// header is the first header of a name.
func (m message) header(name string) string {
	for _, h := range m.headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// vias are the hops that a request took; a response has those of its request.
func (m message) vias() string {
	if m.start == "" {
		return ""
	}
	var hops []string
	for _, h := range m.headers {
		if !strings.EqualFold(h.Name, "Via") {
			continue
		}
		_, sentBy, _ := strings.Cut(h.Value, " ")
		sentBy, _, _ = strings.Cut(sentBy, ";")
		host, _, _ := strings.Cut(strings.TrimSpace(sentBy), ":")
		hops = append(hops, host)
	}
	if !m.request() {
		return itsOwn
	}
	return strings.Join(hops, ", ")
}

// A described is what an SDP body says about who wrote it.
type described struct{ origin, audio, info string }

// sdp reads the body.
func (m message) sdp() described {
	var d described
	var info []string
	host := ""
	for line := range strings.Lines(m.body) {
		kind, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		f := strings.Fields(value)
		switch {
		case kind == "o" && len(f) == 6:
			d.origin = f[0] + " " + f[5]
		case kind == "c" && len(f) == 3:
			host = f[2]
		case kind == "m" && len(f) > 1 && f[0] == "audio":
			d.audio = host + ":" + f[1]
		case kind == "i":
			info = append(info, value)
		case kind == "a" && strings.HasPrefix(value, "tool:"):
			info = append(info, strings.TrimPrefix(value, "tool:"))
		}
	}
	d.info = strings.Join(info, ", ")
	return d
}

// uriIn is the URI in a header such as Contact, without its parameters.
func uriIn(value string) string {
	if _, after, ok := strings.Cut(value, "<"); ok {
		value, _, _ = strings.Cut(after, ">")
	}
	uri, _, _ := strings.Cut(value, ";")
	return uri
}

// paramOf is a parameter of a header such as From.
func paramOf(value, name string) string {
	_, after, _ := strings.Cut(value, ";"+name+"=")
	text, _, _ := strings.Cut(after, ";")
	return text
}

// widest is how much of a value a table shows, and ending how much of that is
// its end: of a URI the host and port.
const widest, ending = 32, 16

// shortened leaves out the middle of a value that is too wide.
func shortened(v string) string {
	r := []rune(cmp.Or(v, nothing))
	if len(r) <= widest {
		return string(r)
	}
	return string(r[:widest-ending-1]) + "…" + string(r[len(r)-ending:])
}

// answers are the responses that a phone received to an INVITE, and in them
// everything that does not name the call: what a caller can compare with
// another call's.
func answers(packets []phone.Packet, callID string) []string {
	var all []string
	for _, p := range packets {
		m := readMessage(p)
		if code := m.code(); code == "" || code == "407" || m.header("Call-ID") != callID {
			continue
		}
		lines := []string{m.start}
		for _, h := range m.headers {
			switch strings.ToLower(h.Name) {
			case "via", "from", "to", "call-id", "contact", "cseq":
				h.Value = "…"
			}
			lines = append(lines, h.Name+": "+h.Value)
		}
		text := strings.Join(append(lines, m.body), "\n")
		if !slices.Contains(all, text) { // UDP may repeat
			all = append(all, text)
		}
	}
	return all
}
