package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// A phone speaks just enough SIP to be a load: it takes and makes messages as
// text, and knows what comes next.
type phone struct {
	b      *testing.B
	user   string
	conn   *net.UDPConn
	server netip.AddrPort
	buf    []byte
	nonce  string
	count  int // of the nonce
	seq    int // makes branches, tags and Call-IDs
}

// patience bounds a wait.
const patience = 10 * time.Second

func newPhone(b *testing.B, user string, server netip.AddrPort) *phone {
	b.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	must(b, err)
	b.Cleanup(func() { _ = c.Close() })
	return &phone{b: b, user: user, conn: c, server: server, buf: make([]byte, 8192)}
}

func (p *phone) at() string { return p.conn.LocalAddr().String() }

func (p *phone) send(text string) {
	if _, err := p.conn.WriteToUDPAddrPort([]byte(text), p.server); err != nil {
		p.b.Fatal(err)
	}
}

// receive returns the next message that begins with start; what comes before it is passed over.
func (p *phone) receive(start string) []byte {
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		n, err := p.conn.Read(p.buf)
		if err != nil {
			p.b.Fatalf("%s waits for %s: %v", p.user, start, err)
		}
		if bytes.HasPrefix(p.buf[:n], []byte(start)) {
			return p.buf[:n]
		}
		if bytes.HasPrefix(p.buf[:n], []byte("SIP/2.0 4")) {
			p.b.Fatalf("%s waits for %s and hears\n%s", p.user, start, p.buf[:n])
		}
	}
}

// lines are the header lines of a message that have a name, as they are.
func lines(m []byte, name string) string {
	var out []byte
	for line := range bytes.Lines(m) {
		if bytes.HasPrefix(line, []byte(name+": ")) {
			out = append(out, line...)
		}
	}
	return string(out)
}

// between is the text between two others.
func between(m []byte, from, to string) string {
	_, rest, _ := bytes.Cut(m, []byte(from))
	text, _, _ := bytes.Cut(rest, []byte(to))
	return string(text)
}

// authorized is the credentials for a request (RFC 7616), with the nonce of the
// last challenge.
func (p *phone) authorized(name, method, uri string) string {
	if p.nonce == "" {
		return ""
	}
	p.count++
	h := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	nc := fmt.Sprintf("%08x", p.count)
	response := h(h(p.user+":"+domain+":"+password) + ":" + p.nonce + ":" + nc + ":c:auth:" + h(method+":"+uri))
	return name + ": Digest username=\"" + p.user + "\", realm=\"" + domain + "\", nonce=\"" + p.nonce +
		"\", uri=\"" + uri + "\", response=\"" + response + "\", algorithm=SHA-256, cnonce=\"c\", qop=auth, nc=" + nc + "\r\n"
}

// head is the start of a request outside of dialogs.
func (p *phone) head(method, uri, to string) string {
	p.seq++
	n := strconv.Itoa(p.seq)
	return method + " " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP " + p.at() + ";branch=z9hG4bK" + p.user + n +
		"\r\nMax-Forwards: 70\r\nFrom: <sip:" + p.user + "@" + domain + ">;tag=" + n + "\r\nTo: " + to +
		"\r\nCall-ID: " + n + "@" + p.at() + "\r\nCSeq: 1 " + method + "\r\nContact: <sip:" + p.user + "@" + p.at() + ">\r\n"
}

// register registers, after a challenge if there must be one.
func (p *phone) register() {
	for {
		uri := "sip:" + domain
		p.send(p.head("REGISTER", uri, "<sip:"+p.user+"@"+domain+">") + "Expires: 3600\r\n" +
			p.authorized("Authorization", "REGISTER", uri) + "Content-Length: 0\r\n\r\n")
		if p.passed("SIP/2.0 200") {
			return
		}
	}
}

// passed says that the answer is as wanted; of a challenge it takes the nonce.
func (p *phone) passed(want string) bool {
	m := p.receive("SIP/2.0 ")
	for bytes.HasPrefix(m, []byte("SIP/2.0 100")) {
		m = p.receive("SIP/2.0 ")
	}
	if bytes.HasPrefix(m, []byte(want)) {
		return true
	}
	if p.nonce, p.count = between(m, `nonce="`, `"`), 0; p.nonce == "" {
		p.b.Fatalf("%s", m)
	}
	return false
}

// audio is a description of one audio stream.
func audio(port int) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio " + strconv.Itoa(port) +
		" RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
}

// body ends a message.
func body(sdp string) string {
	if sdp == "" {
		return "Content-Length: 0\r\n\r\n"
	}
	return "Content-Type: application/sdp\r\nContent-Length: " + strconv.Itoa(len(sdp)) + "\r\n\r\n" + sdp
}

// answers takes the next request that begins with method and answers it with 200.
func (p *phone) answers(method, sdp string) {
	m := p.receive(method + " ")
	to := lines(m, "To")
	if !bytes.Contains([]byte(to), []byte(";tag=")) {
		to = to[:len(to)-2] + ";tag=answer\r\n"
	}
	p.send("SIP/2.0 200 OK\r\n" + lines(m, "Via") + lines(m, "Record-Route") + lines(m, "From") + to +
		lines(m, "Call-ID") + lines(m, "CSeq") + "Contact: <sip:" + p.user + "@" + p.at() + ">\r\n" + body(sdp))
}

// call is a call from INVITE to the 200 of its BYE.
func (p *phone) call(other *phone) {
	uri := "sip:" + other.user + "@" + domain
	head := p.head("INVITE", uri, "<"+uri+">")
	p.send(head + p.authorized("Proxy-Authorization", "INVITE", uri) + body(audio(4000)))
	other.answers("INVITE", audio(6000))
	m := p.receive("SIP/2.0 200")
	target, routes := between([]byte(lines(m, "Contact")), "<", ">"), ""
	rr := bytes.Split([]byte(lines(m, "Record-Route")), []byte("\r\n"))
	for i := len(rr) - 2; i >= 0; i-- { // RFC 3261 §12.1.2: in reverse
		routes += "Route: " + string(bytes.TrimPrefix(rr[i], []byte("Record-Route: "))) + "\r\n"
	}
	within := func(method string, cseq int) {
		p.seq++
		p.send(method + " " + target + " SIP/2.0\r\nVia: SIP/2.0/UDP " + p.at() + ";branch=z9hG4bK" + p.user +
			strconv.Itoa(
				p.seq,
			) + "\r\nMax-Forwards: 70\r\n" + routes + lines(m, "From") + lines(m, "To") + lines(m, "Call-ID") +
			"CSeq: " + strconv.Itoa(cseq) + " " + method + "\r\nContent-Length: 0\r\n\r\n")
	}
	m = bytes.Clone(m)
	within("ACK", 1)
	other.receive("ACK ")
	within("BYE", 2)
	other.answers("BYE", "")
	p.receive("SIP/2.0 200")
}
