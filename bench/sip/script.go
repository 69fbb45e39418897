package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// Call-IDs are run-number-slot.
func (l *load) callID(s *slot, id int) string {
	return strconv.Itoa(l.run) + "-" + strconv.Itoa(s.n) + "-" + strconv.Itoa(id)
}

// slotOf finds the slot that a message belongs to, if it still waits for it.
func (l *load) slotOf(m *message) (*slot, int) {
	parts := strings.SplitN(string(m.callID), "-", 3)
	if len(parts) != 3 || parts[0] != strconv.Itoa(l.run) {
		return nil, 0
	}
	id, err := strconv.Atoi(parts[2])
	if err != nil || id < 0 || id >= len(l.slots) {
		return nil, 0
	}
	s := &l.slots[id]
	if !s.busy || parts[1] != strconv.Itoa(s.n) {
		return nil, 0
	}
	return s, id
}

// head begins a request.
func (l *load) head(b []byte, method, uri, local string, s *slot, id int) []byte {
	b = append(b, method...)
	b = append(append(b, ' '), uri...)
	b = append(append(b, " SIP/2.0\r\nVia: SIP/2.0/UDP "...), local...)
	b = append(append(b, ";branch=z9hG4bK"...), l.callID(s, id)...)
	b = append(append(b, '-'), method...)
	b = strconv.AppendInt(b, int64(s.cseq), 10)
	b = append(append(b, "\r\nMax-Forwards: 70\r\nCall-ID: "...), l.callID(s, id)...)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendInt(b, int64(s.cseq), 10)
	return append(append(append(b, ' '), method...), "\r\n"...)
}

// sdp is a description of 12 lines, as a phone with two codecs sends it.
func sdp(host string) string {
	return "v=0\r\no=load 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\n" +
		"m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
}

// withBody ends a message with a description.
func withBody(b []byte, host string) []byte {
	body := sdp(host)
	b = append(b, "Content-Type: application/sdp\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}

// invite begins a call: the caller is a server that the proxy trusts, so that
// there is no challenge.
func (l *load) invite(s *slot, id int) {
	local, to := l.cfg.caller.String(), "sip:"+userName(s.user)+"@"+l.cfg.domain
	b := l.head(make([]byte, 0, 1500), "INVITE", to, local, s, id)
	b = fmt.Appendf(b, "From: <sip:load@%s>;tag=c%d\r\nTo: <%s>\r\nContact: <sip:load@%s>\r\n",
		l.cfg.domain, s.n, to, local)
	l.send(l.caller, withBody(b, l.cfg.caller.Addr().String()))
}

// within sends a request of the caller's within the dialog.
func (l *load) within(s *slot, id int, method string, after time.Duration) {
	b := l.head(make([]byte, 0, 1500), method, string(s.target), l.cfg.caller.String(), s, id)
	b = append(b, s.route...)
	b = fmt.Appendf(b, "From: <sip:load@%s>;tag=c%d\r\nTo: %s\r\nContent-Length: 0\r\n\r\n",
		l.cfg.domain, s.n, s.to)
	l.later(after, l.caller, b)
}

// atCaller is the caller's side of a call.
func (l *load) atCaller(m message) {
	s, id := l.slotOf(&m)
	switch {
	case s == nil || m.code < 180:
	case m.code >= 300:
		l.refused[m.code]++
	case m.of("BYE"):
		if m.code == 200 {
			l.finish(id)
		}
	case !m.of("INVITE"):
	case m.code == 180 && !s.rang:
		s.rang = true
		l.setUp = append(l.setUp, time.Since(s.began))
	case m.code == 200 && s.cseq == 1:
		s.target = append(s.target[:0], m.contact...)
		s.to = append(s.to[:0], m.to...)
		s.route = s.route[:0]
		for i := len(m.routes) - 1; i >= 0; i-- { // RFC 3261 §12.1.2
			s.route = append(append(s.route, "Route: "...), m.routes[i]...)
			s.route = append(s.route, "\r\n"...)
		}
		l.within(s, id, "ACK", 0)
		s.cseq++
		l.within(s, id, "BYE", l.cfg.hold)
	}
}

// atCallee is the callee's side, and that of registrations.
func (l *load) atCallee(m message) {
	local := l.cfg.callee.String()
	contact := "Contact: <sip:callee@" + local + ">\r\n"
	switch {
	case m.code != 0:
		l.registered(&m)
	case string(m.method) == "INVITE":
		tag := "e" + string(m.callID[:min(len(m.callID), 12)])
		l.send(l.callee, m.respond(make([]byte, 0, 1500), "180 Ringing", tag, contact, ""))
		l.later(l.cfg.ring, l.callee, m.respond(make([]byte, 0, 2500), "200 OK", tag,
			contact+"Content-Type: application/sdp\r\n", sdp(l.cfg.callee.Addr().String())))
	case string(m.method) != "ACK":
		l.send(l.callee, m.respond(make([]byte, 0, 1500), "200 OK", "late", "", ""))
	}
}

// register begins a registration; its answer to the challenge follows.
func (l *load) register(s *slot, id int) {
	local, aor := l.cfg.callee.String(), "sip:"+userName(s.user)+"@"+l.cfg.domain
	b := l.head(make([]byte, 0, 1500), "REGISTER", "sip:"+l.cfg.domain, local, s, id)
	b = fmt.Appendf(b, "From: <%s>;tag=r%d\r\nTo: <%s>\r\nContact: <sip:callee@%s>\r\nExpires: 3600\r\n",
		aor, s.n, aor, local)
	if s.auth != "" {
		b = append(append(append(b, "Authorization: "...), s.auth...), "\r\n"...)
	}
	l.send(l.callee, append(b, "Content-Length: 0\r\n\r\n"...))
}

// registered takes the response to a REGISTER.
func (l *load) registered(m *message) {
	s, id := l.slotOf(m)
	switch {
	case s == nil || !m.of("REGISTER"):
	case m.code == 200:
		l.finish(id)
	case m.code == 401 && s.cseq == 1 && m.auth != nil:
		answer, err := l.answer(m.auth, s.user)
		if err != nil {
			return // the registration fails
		}
		s.cseq, s.auth = 2, answer
		l.register(s, id)
	case m.code >= 300:
		l.refused[m.code]++
	}
}

// answer answers the first challenge of a 401.
func (l *load) answer(challenge []byte, user int) (string, error) {
	c, err := digest.ParseChallenge(string(bytes.TrimSpace(challenge)))
	if err != nil {
		return "", err
	}
	a, err := digest.Digest(c, digest.Options{
		Method: "REGISTER", URI: "sip:" + l.cfg.domain, Username: userName(user), Password: passwordOf(user), Count: 1,
	})
	if err != nil {
		return "", err
	}
	return a.String(), nil
}
