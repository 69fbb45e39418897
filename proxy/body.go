package proxy

import (
	"bytes"
	"mime"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Types of bodies that cross beside the session description, which the media
// engine re-writes.
const (
	typeText    = "text/plain"
	typeFrag    = "message/sipfrag"
	typeRelay   = "application/dtmf-relay"
	typeDTMF    = "application/dtmf"
	typeControl = "application/media_control+xml"
)

// mediaType is the type of a message's body in lower case, "" if it says none.
func mediaType(m sip.Message) string {
	values := valuesOf(m, "Content-Type")
	if len(values) != 1 {
		return ""
	}
	kind, _, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	return kind
}

// encoded says that a body is compressed or the like.
func encoded(m sip.Message) bool {
	for _, v := range valuesOf(m, "Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(v), "identity") {
			return true
		}
	}
	return false
}

// bodyFor makes the body for the other leg, and its type. What is no session
// description is rebuilt from what it says; what we do not know does not
// leave. Only a MESSAGE is nothing without its body, and fails.
func (h hide) bodyFor(in sip.Message, method sip.RequestMethod) (kind string, body []byte, err error) {
	raw := in.Body()
	if len(raw) == 0 {
		return "", nil, nil
	}
	kind = mediaType(in)
	if encoded(in) {
		kind = ""
	}
	switch {
	case kind == typeText && method == sip.MESSAGE:
		return typeText + ";charset=UTF-8", bytes.ToValidUTF8(raw, []byte("?")), nil
	case kind == typeFrag && method == sip.NOTIFY:
		body = sipfrag(raw)
	case kind == typeDialogInfo && method == sip.NOTIFY:
		body = h.seal.watch(raw, h.watched(in))
	case method == sip.INFO && kind == typeRelay:
		body = dtmfRelay(raw)
	case method == sip.INFO && kind == typeDTMF:
		body = dtmf(raw)
	case method == sip.INFO && kind == typeControl:
		body = mediaControl(raw)
	}
	if _, request := in.(*sip.Request); body == nil && request && method == sip.MESSAGE {
		return "", nil, errMediaType
	}
	if body == nil {
		return "", nil, nil
	}
	return kind, body, nil
}

// watched is the address of record of who tells of its calls.
func (h hide) watched(in sip.Message) sip.Uri {
	req, ok := in.(*sip.Request)
	if !ok {
		return sip.Uri{Host: anonymousHost} // a response tells nobody
	}
	return h.fit(req.From().Address, anonymousHost)
}

// sipfrag keeps the status of a transfer (RFC 3515 §2.4.5).
func sipfrag(raw []byte) []byte {
	line, _, _ := strings.Cut(string(raw), "\n")
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "SIP/2.0" {
		return nil
	}
	code, err := strconv.Atoi(f[1])
	if err != nil || code < 100 || code > 699 {
		return nil
	}
	return []byte("SIP/2.0 " + strconv.Itoa(code) + " " + reasonPhrase(code) + "\r\n")
}

// dtmfRelay keeps the key and how long it was held.
func dtmfRelay(raw []byte) []byte {
	signal, duration := "", ""
	for line := range strings.Lines(string(raw)) {
		name, v, _ := strings.Cut(line, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "signal":
			signal = dtmfKey(v)
		case "duration":
			duration = digits(v)
		}
	}
	switch {
	case signal == "":
		return nil
	case duration == "":
		return []byte("Signal=" + signal + "\r\n")
	}
	return []byte("Signal=" + signal + "\r\nDuration=" + duration + "\r\n")
}

// dtmf keeps the key.
func dtmf(raw []byte) []byte {
	if k := dtmfKey(string(raw)); k != "" {
		return []byte(k)
	}
	return nil
}

// dtmfKey is one key of a telephone, or "".
func dtmfKey(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n <= 16 {
		return strconv.FormatUint(n, 10) // 10 to 16 are the events of RFC 4733 §3.2
	}
	if len(s) == 1 && strings.Contains("*#ABCD!", s) {
		return s
	}
	return ""
}

// mediaControl keeps the one thing that RFC 5168 is used for.
func mediaControl(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("picture_fast_update")) {
		return nil
	}
	return []byte(`<?xml version="1.0" encoding="utf-8"?>` + "\r\n" +
		`<media_control><vc_primitive><to_encoder><picture_fast_update/>` +
		`</to_encoder></vc_primitive></media_control>` + "\r\n")
}
