package rtpengine

import (
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// A payload is what a payload type of a stream stands for.
type payload struct {
	Type  uint8
	Name  string // of the encoding, as the party wrote it
	Clock uint32 // of its timestamps, a second
}

// static are the payload types that need no a=rtpmap (RFC 3551 §6).
var static = []payload{
	{0, "PCMU", 8000},
	{3, "GSM", 8000},
	{4, "G723", 8000},
	{5, "DVI4", 8000},
	{6, "DVI4", 16000},
	{7, "LPC", 8000},
	{8, "PCMA", 8000},
	{9, "G722", 8000},
	{10, "L16", 44100},
	{11, "L16", 44100},
	{12, "QCELP", 8000},
	{13, "CN", 8000},
	{14, "MPA", 90000},
	{15, "G728", 8000},
	{16, "DVI4", 11025},
	{17, "DVI4", 22050},
	{18, "G729", 8000},
	{26, "JPEG", 90000},
	{31, "H261", 90000},
	{32, "MPV", 90000},
	{34, "H263", 90000},
}

// payloads are those of an m= line, in its order. One that nothing is said of is not among them.
func payloads(m *sdp.MediaDescription, formats []string) []payload {
	mapped := map[string]payload{}
	for _, a := range m.Attributes {
		pt, rest, _ := strings.Cut(a.Value, " ")
		name, clock, _ := strings.Cut(rest, "/")
		clock, _, _ = strings.Cut(clock, "/") // then come channels
		if rate, err := strconv.ParseUint(clock, 10, 32); a.Key == "rtpmap" && err == nil {
			mapped[pt] = payload{Name: strings.Clone(name), Clock: uint32(rate)} // the body is not kept for it
		}
	}
	all := make([]payload, 0, len(formats))
	for _, f := range formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		if p, ok := mapped[f]; ok {
			p.Type = uint8(n)
			all = append(all, p)
		} else if p, ok := find(static, uint8(n)); ok {
			all = append(all, p)
		}
	}
	return all
}

// find looks a payload type up.
func find(all []payload, pt uint8) (payload, bool) {
	for _, p := range all {
		if p.Type == pt {
			return p, true
		}
	}
	return payload{}, false
}

// A use is what packets are for, by their payload type.
type use uint8

const (
	useMedia   use = iota
	useEvents      // digits and tones (RFC 4733)
	useComfort     // noise for the silence between words (RFC 3389)
	useNothing     // the parties have not negotiated it
	uses
)

// use says what the payload is for.
func (p payload) use() use {
	switch strings.ToLower(p.Name) {
	case "telephone-event", "tone":
		return useEvents
	case "cn":
		return useComfort
	}
	return useMedia
}

// said is what a party's last description says about its part in a stream.
type said struct {
	Payloads        []payload
	Described       bool
	Sends, Receives bool // RFC 3264 §5.1
	Held            bool // c=0.0.0.0, RFC 2543's hold
}

// wants says that the party has said where it takes media.
func (s *said) wants() bool { return s.Described && !s.Held }

// said is what a section says.
func (d *description) said(m *mediaLine) said {
	direction := "sendrecv"
	for _, attrs := range [][]string{d.attrs, m.attrs} { // the section's own counts (RFC 8866 §6.7)
		for _, a := range attrs {
			if directions[a] {
				direction = a
			}
		}
	}
	return said{
		Payloads: m.payloads, Described: true, Held: m.held,
		Sends:    direction == "sendrecv" || direction == "sendonly",
		Receives: !m.held && (direction == "sendrecv" || direction == "recvonly"),
	}
}
