package leak

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Finding is a leak with the place where it was found: In is the message,
// such as "INVITE", "200 to INVITE" or "RTCP", and Where the line or item,
// such as "Via", "SDP a=candidate" or "SDES CNAME".
type Finding struct {
	Leak
	In, Where string
}

// A piece is a part of a message that has a name.
type piece struct {
	where string
	data  []byte
}

// SIP searches what came over one way: a message, or several one after the
// other. What only several lines together hold is said to be in the message.
func (s *Search) SIP(data []byte) []Finding {
	var found []Finding
	for _, m := range messages(data) {
		in, pieces := lines(m)
		found = append(found, s.pieces(in, "the message as a whole", m, pieces)...)
	}
	return found
}

// RTCP searches a compound packet (RFC 3550 §6.1).
func (s *Search) RTCP(data []byte) []Finding { return s.pieces("RTCP", "a report", data, items(data)) }

// pieces searches the pieces of a whole, and then the whole for what no piece has.
func (s *Search) pieces(in, whole string, data []byte, all []piece) []Finding {
	var found []Finding
	for _, p := range all {
		for _, l := range s.Find(p.data) {
			found = append(found, Finding{l, in, p.where})
		}
	}
	for _, l := range s.Find(data) {
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Marker == l.Marker && f.Form == l.Form }) {
			found = append(found, Finding{l, in, whole})
		}
	}
	return found
}

// messages cuts a stream of SIP into its messages, by Content-Length (RFC 3261
// §18.3); what is none, such as keep-alives, is a message of its own.
func messages(data []byte) [][]byte {
	var all [][]byte
	for len(data) > 0 {
		data = bytes.TrimLeft(data, "\r\n")
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		end = min(end+4+contentLength(data[:end]), len(data))
		all, data = append(all, data[:end]), data[end:]
	}
	if len(data) > 0 {
		all = append(all, data)
	}
	return all
}

// contentLength is the length of the body that a head tells.
func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if n := longHeader(string(name)); strings.EqualFold(n, "Content-Length") {
			length, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 16)
			if err == nil {
				return int(length)
			}
		}
	}
	return 0
}

// lines names a message and its lines.
func lines(m []byte) (in string, all []piece) {
	head, body, _ := bytes.Cut(m, []byte("\r\n\r\n"))
	in = "a message"
	where := "first line"
	for line := range bytes.Lines(head) {
		name, value, colon := bytes.Cut(line, []byte(":"))
		switch {
		case len(all) == 0:
			in = title(line)
		case line[0] != ' ' && line[0] != '\t' && colon: // else it goes on (RFC 3261 §7.3.1)
			where = longHeader(string(name))
			if where == "CSeq" && strings.HasPrefix(in, "SIP/2.0 ") {
				in = answerTitle(in, value)
			}
		}
		all = append(all, piece{where, line})
	}
	return in, append(all, bodyLines(body)...)
}

// title is the method of a request, or the first line of a response.
func title(line []byte) string {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "SIP/2.0 ") {
		return text
	}
	method, _, _ := strings.Cut(text, " ")
	return method
}

// answerTitle is the code of a response and the method that it answers.
func answerTitle(first string, cseq []byte) string {
	f, c := strings.Fields(first), strings.Fields(string(cseq))
	if len(f) < 2 || len(c) != 2 {
		return first
	}
	return f[1] + " to " + c[1]
}

// bodyLines names the lines of a body: of a description by their kind and
// attribute, of anything else all alike.
func bodyLines(body []byte) []piece {
	var all []piece
	for line := range bytes.Lines(body) {
		where := "body"
		if len(line) > 1 && line[1] == '=' && 'a' <= line[0] && line[0] <= 'z' {
			where = "SDP " + string(line[:2])
			if name, _, _ := strings.Cut(strings.TrimSpace(string(line[2:])), ":"); line[0] == 'a' {
				where += name
			}
		}
		all = append(all, piece{where, line})
	}
	return all
}

// longHeader is the name of a header as RFC 3261 §7.3.3 and its likes abbreviate it.
func longHeader(name string) string {
	name = strings.TrimSpace(name)
	switch strings.ToLower(name) {
	case "v":
		return "Via"
	case "f":
		return "From"
	case "t":
		return "To"
	case "i":
		return "Call-ID"
	case "m":
		return "Contact"
	case "l":
		return "Content-Length"
	case "c":
		return "Content-Type"
	case "k":
		return "Supported"
	case "s":
		return "Subject"
	case "r":
		return "Refer-To"
	case "b":
		return "Referred-By"
	case "o":
		return "Event"
	case "u":
		return "Allow-Events"
	case "x":
		return "Session-Expires"
	case "cseq":
		return "CSeq"
	}
	return name
}

// items names the packets and items of a compound RTCP packet.
func items(b []byte) []piece {
	var all []piece
	for len(b) >= 4 {
		n := min(4*(int(b[2])<<8|int(b[3]))+4, len(b))
		p := b[:n]
		switch p[1] {
		case 200:
			all = append(all, piece{"sender report", p})
		case 201:
			all = append(all, piece{"receiver report", p})
		case 202:
			all = append(all, chunks(int(p[0]&0x1f), p[4:])...)
		case 203:
			all = append(all, piece{"BYE", p})
		case 204:
			all = append(all, piece{"APP", p})
		case 207:
			all = append(all, piece{"XR", p})
		default:
			all = append(all, piece{fmt.Sprintf("type %d", p[1]), p})
		}
		b = b[n:]
	}
	return all
}

// sdesNames are the items of RFC 3550 §6.5 by their numbers.
var sdesNames = [...]string{"", "CNAME", "NAME", "EMAIL", "PHONE", "LOC", "TOOL", "NOTE", "PRIV"}

// chunks names the items of a source description.
func chunks(n int, b []byte) []piece {
	var all []piece
	for ; n > 0 && len(b) > 4; n-- {
		rest := b[4:]
		for len(rest) >= 2 && rest[0] != 0 {
			end := min(2+int(rest[1]), len(rest))
			name := fmt.Sprintf("item %d", rest[0])
			if int(rest[0]) < len(sdesNames) {
				name = sdesNames[rest[0]]
			}
			all, rest = append(all, piece{"SDES " + name, rest[2:end]}), rest[end:]
		}
		used := len(b) - len(rest) + 1 // a zero ends the list, and more fill the word
		b = b[min((used+3)/4*4, len(b)):]
	}
	return all
}
