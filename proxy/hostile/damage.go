package hostile

import (
	"strconv"
	"strings"
)

// words are what hurts parsers, put where it does not belong.
var words = []string{
	"\x00", "\r\n\r\n", "\r\n", "\n", "\r", "%00", "%", "%zz", "<", ">", "<>", `"`, `\"`, `\`, "@", "@@", ":", "::",
	";", ";;;;;;;;", ",", ",,,", "=", "?", "&", "*", "/", "..", " ", "\t", "\xff\xfe", "\xc0\xaf", "é", "\u202e",
	"0", "-1", "2147483648", "4294967296", "18446744073709551616", "1e9", "0x1", "00", "z9hG4bK",
	";tag=", ";tag=a;tag=b", ";lr", ";branch=z9hG4bK", ";rport=0", ";received=127.0.0.1", ";maddr=127.0.0.1", ";ttl=1",
	"sip:", "sips:a@b", "tel:+1", "mailto:a@b", "sip:[::1]", "sip:a@[::ffff:1.2.3.4]:99999", "sip:%00@b", "sip:a:b@c",
	"<sip:127.0.0.1;lr>", "SIP/2.0/UDP 127.0.0.1", "SIP/1.0", "SIP/2.0", "INVITE", "ACK", "CANCEL",
	"application/sdp", "multipart/mixed;boundary=x", "message/sip", "pt1.AAAA", "?Privacy-Token=pt1.AAAA",
	"IN IP4 0.0.0.0", "IN IP6 ::1", "m=audio 0 RTP/AVP", "a=candidate:1 1 UDP 1 127.0.0.1 1 typ host", "a=rtcp:1",
}

// headers are what a message gains.
var headers = []string{
	"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx", "Route: <sip:127.0.0.1;lr>",
	"Route: <sip:bob@elsewhere.example;lr>",
	"Record-Route: <sip:127.0.0.1;lr>", "Contact: *", "Contact: <sip:a@b>;expires=4294967296", "Expires: -1",
	"Require: 100rel", "Require: nothing", "Proxy-Require: nothing", "Max-Forwards: 0", "Max-Forwards: 300",
	"Content-Length: 99999", "Content-Length: -1", "l: 5", "Content-Type: multipart/mixed;boundary=x",
	"Privacy-Token: pt1.AAAA", "Privacy: header;session;critical", "Replaces: a;to-tag=b;from-tag=c",
	"Session-Expires: 1", "Min-SE: 4294967295", "RSeq: 4294967296", "Path: <sip:127.0.0.1;lr>", "In-Reply-To: a, b",
	"Authorization: Digest username=\"a\"", "P-Asserted-Identity: <sip:bob@sotto.example>", "Reason: SIP;cause=200",
	"Target-Dialog: a;local-tag=b;remote-tag=c", "Event: dialog;id=x", "Alert-Info: <http://127.0.0.1/>",
}

// maxDamaged bounds a damaged message: what UDP carries.
const maxDamaged = 60000

// damage changes a message in none to three places.
func (p *Peer) damage(m string) string {
	for range []int{0, 0, 1, 1, 2, 3}[p.cfg.Choose(6)] {
		if m == "" || len(m) > maxDamaged {
			break
		}
		m = p.damageOnce(m)
	}
	return m[:min(len(m), maxDamaged)]
}

// damageOnce does one thing to a message.
func (p *Peer) damageOnce(m string) string {
	at := p.cfg.Choose(len(m))
	switch p.cfg.Choose(9) {
	case 0:
		return m[:at] + pick(p, words) + m[at:]
	case 1:
		return m[:at] + string([]byte{byte(p.cfg.Choose(256))}) + m[at+1:]
	case 2:
		return m[:at]
	case 3:
		return strings.Replace(m, "\r\n", "\r\n"+pick(p, headers)+"\r\n", 1)
	case 4: // the same again and again
		end := min(len(m), at+1+p.cfg.Choose(100))
		return m[:at] + strings.Repeat(m[at:end], 1+p.cfg.Choose(400)) + m[end:]
	case 5:
		return p.damageNumber(m, at)
	default:
		return p.damageLine(m)
	}
}

// damageNumber puts another number in the place of the first one behind at.
func (p *Peer) damageNumber(m string, at int) string {
	i := strings.IndexAny(m[at:], "0123456789")
	if i < 0 {
		return m
	}
	i += at
	end := i
	for end < len(m) && m[end] >= '0' && m[end] <= '9' {
		end++
	}
	numbers := []string{"0", "-1", "65536", "2147483648", "4294967295", "4294967296", strconv.Itoa(p.cfg.Choose(700))}
	return m[:i] + pick(p, numbers) + m[end:]
}

// damageLine removes, doubles, moves, folds or replaces a line.
func (p *Peer) damageLine(m string) string {
	lines := strings.Split(m, "\r\n")
	i, j := p.cfg.Choose(len(lines)), p.cfg.Choose(len(lines))
	switch p.cfg.Choose(6) {
	case 0:
		lines = append(lines[:i], lines[i+1:]...)
	case 1:
		lines[i] += "\r\n" + lines[i]
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3:
		lines[i] = strings.Replace(lines[i], " ", "\r\n ", 1)
	case 4:
		name, _, _ := strings.Cut(lines[i], ":")
		lines[i] = name + ": " + pick(p, words)
	default:
		if len(p.heard) > 0 {
			lines[i] = pick(p, p.heard)
		}
	}
	return strings.Join(lines, "\r\n")
}
