package rtpengine

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// A session description is read into what the engine understands and written
// anew from it; no line of it is edited. What is not on the lists of
// attribute.go does not leave (leaks.md §2).

// description is what is understood of a session description.
type description struct {
	media  []*mediaLine
	attrs  []string // of the session, safe
	secure bool     // keys for end-to-end encryption are in it
}

// mediaLine is one m= section.
type mediaLine struct {
	kind    string // audio, video, text, image; others are refused
	proto   string
	formats []string
	port    uint16 // 0: rejected, or nothing that we relay
	rtp     netip.AddrPort
	rtcp    netip.AddrPort
	mux     bool
	secure  bool
	udptl   bool
	held    bool // c=0.0.0.0 (RFC 2543's hold)
	alien   bool // refused, since there is no format that we know
	attrs   []string
	bands   []string
	ice     credentials // of the author's agent; never leaves

	payloads []payload
}

// Limits of a description (ours): a call with every codec, video, text and
// slides has a fifth.
const (
	maxSDP     = 32 << 10
	maxStreams = 8
	maxFormats = 64

	maxBandwidth = 1e9 // bits a second; more is no bandwidth, and could be an address
)

// notSafe says why a description cannot be relayed, without saying what is in it.
func notSafe(why string) error { return fmt.Errorf("%w: %s", ErrUnsafe, why) }

// readSDP reads a description.
func readSDP(b []byte) (*description, error) {
	if len(b) > maxSDP {
		return nil, notSafe("too large")
	}
	in, err := parse(b)
	if err != nil {
		return nil, err
	}
	d := &description{}
	for _, a := range in.Attributes {
		d.secure = d.secure || securing[a.Key]
		if line, ok := sessionAttribute(a); ok {
			d.attrs = append(d.attrs, line)
		}
	}
	for _, m := range in.MediaDescriptions {
		line, err := readMedia(m, in.ConnectionInformation)
		if err != nil {
			return nil, err
		}
		line.ice = readICE(in, m)
		line.held = line.held && !line.trickles()
		d.media = append(d.media, line)
	}
	if slices.ContainsFunc(d.media, func(m *mediaLine) bool { return m.alien }) && !d.wants() {
		return nil, notSafe("m= lines without a usable format")
	}
	return d, nil
}

// wants says that some media of the description is relayed.
func (d *description) wants() bool {
	return slices.ContainsFunc(d.media, func(m *mediaLine) bool { return m.port != 0 })
}

// trickles says that 0.0.0.0 is no hold: the party's agent has yet to find out
// where it is (RFC 8840 §4.1.1), and will tell by its checks.
func (l *mediaLine) trickles() bool { return l.port == discard && l.ice != credentials{} }

// discard is the port that nobody receives at (RFC 863).
const discard = 9

// parse parses a description. The parser refuses a whole description for one
// m= line of a kind or transport that it does not know, T.38's among them
// (RFC 3264 §6: such a line is answered with port 0); so it is shown others.
func parse(b []byte) (*sdp.SessionDescription, error) {
	var (
		shown bytes.Buffer
		names []sdp.MediaName
	)
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if !bytes.HasPrefix(line, []byte("m=")) || len(f) < 4 {
			shown.Write(line)
			continue
		}
		names = append(names, sdp.MediaName{Media: f[0][len("m="):], Protos: strings.Split(f[2], "/")})
		f[0], f[2] = "m=application", "UDP"
		shown.WriteString(strings.Join(f, " ") + "\r\n")
	}
	var d sdp.SessionDescription
	switch err := d.Unmarshal(shown.Bytes()); {
	case err != nil || len(d.MediaDescriptions) != len(names):
		return nil, notSafe("not readable")
	case len(names) > maxStreams:
		return nil, notSafe("too many m= lines")
	}
	for i, m := range d.MediaDescriptions {
		m.MediaName.Media, m.MediaName.Protos = names[i].Media, names[i].Protos
	}
	return &d, nil
}

// relayed are the transports that are relayed, by their name in any case.
var relayed = map[string]string{
	"RTP/AVP": "RTP/AVP", "RTP/AVPF": "RTP/AVPF", "RTP/SAVP": "RTP/SAVP", "RTP/SAVPF": "RTP/SAVPF",
	"UDP/TLS/RTP/SAVP": "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF": "UDP/TLS/RTP/SAVPF", "UDPTL": "udptl",
}

// kinds are the media that are relayed.
var kinds = map[string]bool{"audio": true, "video": true, "text": true, "image": true, "application": true}

// readMedia reads one m= section; session is the c= line above all of them.
func readMedia(m *sdp.MediaDescription, session *sdp.ConnectionInformation) (*mediaLine, error) {
	proto := strings.Join(m.MediaName.Protos, "/")
	known := relayed[strings.ToUpper(proto)]
	out := &mediaLine{kind: m.MediaName.Media, proto: known, udptl: known == "udptl"}
	if known == "" || !kinds[out.kind] || m.MediaName.Port.Value == 0 {
		return refused(m, proto), nil
	}
	without := nameless(m)
	for _, f := range m.MediaName.Formats {
		if format(f, out.udptl) && !without[f] && len(out.formats) < maxFormats {
			out.formats = append(out.formats, f)
		}
	}
	if len(out.formats) == 0 { // as far-end camera control; the voice beside it is relayed (RFC 3264 §6)
		out = refused(m, proto)
		out.alien = true
		return out, nil
	}
	if err := out.address(m, session); err != nil {
		return nil, err
	}
	out.attributes(m)
	if !out.udptl {
		out.payloads = payloads(m, out.formats)
	}
	return out, nil
}

// named are the media, and transports the ones beside those relayed, of an m= line that is refused
// as it stands. Any other name would be a text of the sender's.
var (
	named      = words("audio video text image application message")
	transports = words(`TCP/MSRP TCP/TLS/MSRP TCP/BFCP TCP/TLS/BFCP UDP/BFCP UDP/TLS/BFCP TCP/DTLS/BFCP
		UDP/DTLS/SCTP TCP/DTLS/SCTP DTLS/SCTP SCTP SCTP/DTLS TCP UDP TCP/RTP/AVP TCP/RTP/AVPF
		TCP/TLS/RTP/SAVP TCP/DTLS/RTP/SAVP TCP/DTLS/RTP/SAVPF UDP/TLS/UDPTL`)
)

// refused is an m= line that is kept in its place with port 0 (RFC 3264 §6).
func refused(m *sdp.MediaDescription, proto string) *mediaLine {
	out := &mediaLine{kind: "audio", proto: "RTP/AVP", formats: []string{"0"}}
	known := relayed[strings.ToUpper(proto)]
	if !named[m.MediaName.Media] || known == "" && !transports[proto] {
		return out
	}
	out.kind, out.proto = m.MediaName.Media, proto
	if known == "" {
		out.formats = []string{"*"}
	}
	for _, f := range m.MediaName.Formats {
		if number(f, 127) || f == "webrtc-datachannel" || f == "t38" {
			out.formats = []string{f}
			break
		}
	}
	return out
}

// nameless are the payload types whose codec has a name that may not leave.
func nameless(m *sdp.MediaDescription) map[string]bool {
	out := map[string]bool{}
	for _, a := range m.Attributes {
		if pt, _, _ := strings.Cut(a.Value, " "); a.Key == "rtpmap" && !known(a.Value) {
			out[pt] = true
		}
	}
	return out
}

// address reads where the party wants its media: an address literal, of a host.
func (l *mediaLine) address(m *sdp.MediaDescription, session *sdp.ConnectionInformation) error {
	c := m.ConnectionInformation
	if c == nil {
		c = session
	}
	if c == nil || c.Address == nil {
		return notSafe("no c= line")
	}
	ip, err := netip.ParseAddr(c.Address.Address)
	switch {
	case err != nil:
		return notSafe("c= is a name, and looking it up would tell somebody")
	case ip.IsMulticast() || c.Address.TTL != nil || c.Address.Range != nil:
		return notSafe("c= is multicast")
	case m.MediaName.Port.Value < 1 || m.MediaName.Port.Value > 65535,
		m.MediaName.Port.Range != nil && *m.MediaName.Port.Range != 1:
		return notSafe("m= has no single port")
	}
	ip = ip.Unmap().WithZone("")
	l.port = uint16(m.MediaName.Port.Value)
	if ip.IsUnspecified() {
		l.held = true
		return nil
	}
	l.rtp = netip.AddrPortFrom(ip, l.port)
	l.rtcp = netip.AddrPortFrom(ip, l.port+1)
	return l.rtcpAddress(m)
}

// rtcpAddress reads a=rtcp (RFC 3605).
func (l *mediaLine) rtcpAddress(m *sdp.MediaDescription) error {
	v, ok := m.Attribute("rtcp")
	if !ok {
		return nil
	}
	words := strings.Fields(v)
	if len(words) == 0 || !number(words[0], 65535) {
		return notSafe("a=rtcp")
	}
	port, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return notSafe("a=rtcp")
	}
	l.rtcp = netip.AddrPortFrom(l.rtp.Addr(), uint16(port))
	return nil
}

// attributes takes the a= and b= lines that may leave.
func (l *mediaLine) attributes(m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		l.mux = l.mux || a.Key == "rtcp-mux"
		l.secure = l.secure || securing[a.Key]
		if line, ok := l.attribute(a); ok {
			l.attrs = append(l.attrs, line)
		}
	}
	l.secure = l.secure || strings.Contains(l.proto, "SAVP")
	for _, b := range m.Bandwidth {
		if bandwidth[b.Type] && !b.Experimental && b.Bandwidth < maxBandwidth {
			l.bands = append(l.bands, b.Type+":"+strconv.FormatUint(b.Bandwidth, 10))
		}
	}
}

// write is the description for a party from c= on: our addresses and ports,
// and of the other party only what may leave.
func (d *description) write(s *session, to Side, answer bool) []byte {
	var b bytes.Buffer
	b.WriteString("s=-\r\nc=" + connection(s.addrs[to].Advertised) + "\r\nt=0 0\r\n")
	for _, a := range d.attrs {
		b.WriteString("a=" + a + "\r\n")
	}
	if d.lite(s, to) {
		b.WriteString("a=ice-lite\r\n")
	}
	for i, m := range d.media {
		t := s.streams[i]
		f := &t.faces[to]
		if m.port == 0 {
			m.write(&b, 0, nil)
			continue
		}
		m.write(&b, f.port, f.ice.lines(netip.AddrPortFrom(s.addrs[to].Advertised, f.port), answer && t.Mux))
	}
	return b.Bytes()
}

// write is the section on a port of ours, 0 to refuse it, with attributes of ours.
func (l *mediaLine) write(b *bytes.Buffer, port uint16, ours []string) {
	fmt.Fprintf(b, "m=%s %d %s %s\r\n", l.kind, port, l.proto, strings.Join(l.formats, " "))
	if port == 0 {
		return
	}
	for _, line := range l.bands {
		b.WriteString("b=" + line + "\r\n")
	}
	for _, a := range l.attrs {
		b.WriteString("a=" + l.direction(a) + "\r\n")
	}
	if l.held && !l.directed() {
		b.WriteString("a=sendonly\r\n")
	}
	for _, a := range ours {
		b.WriteString("a=" + a + "\r\n")
	}
}

// direction turns RFC 2543's hold into RFC 3264's (§8.4): who takes no media
// at 0.0.0.0 must say so, since our address is not 0.0.0.0.
func (l *mediaLine) direction(a string) string {
	if !l.held {
		return a
	}
	switch a {
	case "sendrecv":
		return "sendonly"
	case "recvonly":
		return "inactive"
	}
	return a
}

// directed says that the section has a direction of its own.
func (l *mediaLine) directed() bool {
	for _, a := range l.attrs {
		if directions[a] {
			return true
		}
	}
	return false
}

// withOrigin completes a description with the lines that change with it.
func (d *description) withOrigin(o *origin, addr netip.Addr, body []byte) []byte {
	head := fmt.Sprintf("v=0\r\no=- %d %d %s\r\n", o.id, o.version, connection(addr))
	return append([]byte(head), body...)
}

// connection is an address as c= and o= write it.
func connection(a netip.Addr) string {
	if a.Is4() {
		return "IN IP4 " + a.String()
	}
	return "IN IP6 " + a.String()
}
