package phone

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Direction is the direction attribute of a stream (RFC 3264 §5.1), from its writer's view.
type Direction string

// The four directions.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// sends tells whether the writer of the attribute sends media.
func (d Direction) sends() bool { return d == SendRecv || d == SendOnly }

// receives tells whether the writer of the attribute takes media.
func (d Direction) receives() bool { return d == SendRecv || d == RecvOnly }

// reply is the widest direction that may answer d, when the answerer itself wants own.
func (d Direction) reply(own Direction) Direction {
	send, recv := own.sends() && d.receives(), own.receives() && d.sends()
	switch {
	case send && recv:
		return SendRecv
	case send:
		return SendOnly
	case recv:
		return RecvOnly
	}
	return Inactive
}

// A Stream is one m= line of an SDP body as a phone reads it.
type Stream struct {
	Kind      string // audio, video, …
	Proto     string // RTP/AVP, …
	Addr      netip.AddrPort
	RTCP      netip.AddrPort
	Formats   []string
	Direction Direction
	Mux       bool  // a=rtcp-mux (RFC 5761)
	Events    uint8 // payload type of telephone-event (RFC 4733), 0: none
}

// ParseSDP reads the streams of an SDP body (RFC 8866): no more than a phone needs to send and
// receive. The error names the line.
func ParseSDP(body []byte) ([]Stream, error) {
	var streams []Stream
	var host netip.Addr
	direction := SendRecv
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		kind, value, ok := strings.Cut(line, "=")
		if !ok || len(kind) != 1 {
			return nil, fmt.Errorf("reading SDP: line %q", line)
		}
		var err error
		switch {
		case kind == "m":
			streams, err = appendStream(streams, value, host, direction)
		case kind == "c":
			host, err = connection(streams, value, host)
		case kind == "a" && len(streams) == 0 && isDirection(value):
			direction = Direction(value)
		case kind == "a" && len(streams) > 0:
			streams[len(streams)-1].attribute(value)
		}
		if err != nil {
			return nil, fmt.Errorf("reading SDP: line %q: %w", line, err)
		}
	}
	for i := range streams {
		streams[i].settle()
	}
	return streams, nil
}

func appendStream(to []Stream, v string, host netip.Addr, d Direction) ([]Stream, error) {
	f := strings.Fields(v)
	if len(f) < 4 {
		return to, fmt.Errorf("%d fields", len(f))
	}
	text, _, _ := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(text, 10, 16)
	return append(to, Stream{
		Kind: f[0], Proto: f[2], Formats: f[3:], Direction: d,
		Addr: netip.AddrPortFrom(host, uint16(port)),
	}), err
}

// connection reads a c= line into the stream it belongs to, or into the session's address.
func connection(streams []Stream, v string, host netip.Addr) (netip.Addr, error) {
	f := strings.Fields(v)
	if len(f) != 3 {
		return host, fmt.Errorf("%d fields", len(f))
	}
	a, err := netip.ParseAddr(f[2])
	if err != nil {
		return host, err
	}
	if n := len(streams); n > 0 {
		streams[n-1].Addr = netip.AddrPortFrom(a, streams[n-1].Addr.Port())
		return host, nil
	}
	return a, nil
}

func isDirection(v string) bool {
	return slices.Contains([]Direction{SendRecv, SendOnly, RecvOnly, Inactive}, Direction(v))
}

func (s *Stream) attribute(v string) {
	name, value, _ := strings.Cut(v, ":")
	switch {
	case isDirection(v):
		s.Direction = Direction(v)
	case v == "rtcp-mux":
		s.Mux = true
	case name == "rtcp": // RFC 3605
		f := strings.Fields(value)
		if len(f) == 0 {
			return
		}
		port, _ := strconv.ParseUint(f[0], 10, 16)
		var host netip.Addr
		if len(f) == 4 {
			host, _ = netip.ParseAddr(f[3])
		}
		s.RTCP = netip.AddrPortFrom(host, uint16(port))
	case name == "rtpmap":
		pt, codec, _ := strings.Cut(value, " ")
		if n, err := strconv.ParseUint(pt, 10, 7); err == nil &&
			strings.HasPrefix(strings.ToLower(codec), "telephone-event/8000") {
			s.Events = uint8(n)
		}
	}
}

// settle fills in the RTCP address: said, muxed, or the next port (RFC 3550 §11).
func (s *Stream) settle() {
	switch {
	case s.Mux:
		s.RTCP = s.Addr
	case s.RTCP.Port() == 0:
		s.RTCP = netip.AddrPortFrom(s.Addr.Addr(), s.Addr.Port()+1)
	case !s.RTCP.Addr().IsValid():
		s.RTCP = netip.AddrPortFrom(s.Addr.Addr(), s.RTCP.Port())
	}
}

// takes tells whether our phones can serve the stream: audio over plain RTP with PCMU.
func (s Stream) takes() bool {
	return s.Kind == "audio" && s.Addr.Port() != 0 && slices.Contains(s.Formats, "0") &&
		(s.Proto == "RTP/AVP" || s.Proto == "RTP/AVPF")
}

// An SDP says what a phone writes into its bodies beyond the necessary.
type SDP struct {
	Owner   string   // user name in o=, default "-"
	Session []string // lines of the session part, such as "i=alice's desk", "a=tool:x"
	Media   []string // lines of the audio part, such as "a=candidate:…"
	Streams []string // further m= sections after the audio, each of one or more lines
}

// body writes one audio stream, between those m= sections that it stands among.
func (s SDP) body(l local, before, after []string) []byte {
	var b strings.Builder
	family := "IP4"
	if l.rtp.Addr().Is6() {
		family = "IP6"
	}
	owner := s.Owner
	if owner == "" {
		owner = "-"
	}
	fmt.Fprintf(&b, "v=0\r\no=%s %d %d IN %s %s\r\ns=-\r\n", owner, l.id, l.version, family, l.rtp.Addr())
	writeLines(&b, "i", s.Session)
	fmt.Fprintf(&b, "c=IN %s %s\r\n", family, l.rtp.Addr())
	writeLines(&b, "b", s.Session)
	b.WriteString("t=0 0\r\n")
	writeLines(&b, "a", s.Session)
	for _, line := range before {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&b, "m=audio %d RTP/AVP 0 %d\r\n", l.rtp.Port(), eventType)
	fmt.Fprintf(&b, "a=rtpmap:0 PCMU/8000\r\na=rtpmap:%[1]d telephone-event/8000\r\n"+
		"a=fmtp:%[1]d 0-16\r\na=ptime:20\r\na=%[2]s\r\n", eventType, l.direction)
	if l.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	for _, line := range slices.Concat(s.Media, after) {
		b.WriteString(strings.TrimRight(line, "\r\n") + "\r\n")
	}
	return []byte(b.String())
}

// writeLines writes those lines that stand where kind stands in RFC 8866 §5: "i" all the text
// lines before c=, "b" bandwidth, "a" everything after t=.
func writeLines(b *strings.Builder, kind string, lines []string) {
	const before, after = "iuep", "b"
	for _, line := range lines {
		place := "a"
		if strings.ContainsAny(line[:1], before) {
			place = "i"
		} else if strings.ContainsAny(line[:1], after) {
			place = "b"
		}
		if place == kind {
			b.WriteString(line + "\r\n")
		}
	}
}

// local is what a phone advertises for the media of one call.
type local struct {
	rtp         netip.AddrPort
	id, version uint64
	direction   Direction
	mux         bool
}

// refuse answers every stream but the one at index taken with port 0 (RFC 3264 §6).
func refuse(streams []Stream, taken int) (before, after []string) {
	for i, s := range streams {
		line := fmt.Sprintf("m=%s 0 %s %s", s.Kind, s.Proto, strings.Join(s.Formats, " "))
		switch {
		case i < taken:
			before = append(before, line)
		case i > taken:
			after = append(after, line)
		}
	}
	return before, after
}

const sdpType = "application/sdp"

// A description is our side of offer/answer (RFC 3264) within one call. It
// belongs to the worker.
type description struct {
	sdp           SDP
	own           local
	remote        Stream
	before, after []string // the m= sections around ours
}

// offer writes an offer.
func (d *description) offer(dir Direction) []byte {
	d.own.version++
	d.own.direction = dir
	return d.sdp.body(d.own, d.before, d.after)
}

// answer reads an offer and writes the answer to it; dir is what we want.
func (d *description) answer(offer []byte, dir Direction) ([]byte, error) {
	streams, err := ParseSDP(offer)
	if err != nil {
		return nil, err
	}
	taken := slices.IndexFunc(streams, Stream.takes)
	if taken < 0 {
		return nil, errNoSDPs
	}
	d.before, d.after = refuse(streams, taken)
	d.remote = streams[taken]
	own := d.own
	own.mux = d.own.mux && d.remote.Mux
	d.own.version++
	own.version = d.own.version
	own.direction = d.remote.Direction.reply(dir)
	d.own.direction = own.direction
	return d.sdp.body(own, d.before, d.after), nil
}

// answered reads the answer to our offer.
func (d *description) answered(body []byte) error {
	streams, err := ParseSDP(body)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(streams, Stream.takes)
	if i < 0 {
		return errNoSDPs
	}
	d.remote = streams[i]
	return nil
}
