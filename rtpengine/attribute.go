package rtpengine

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Attributes that may leave, each with the form that its value must have. A
// line that is not here does not leave: ICE lines, ssrc, msid, label, tool,
// extmap, rtcp-xr, candidate and whatever anybody will invent.
var (
	// RFC 4585 §4.2, RFC 5104 §7.1.
	rtcpFB = regexp.MustCompile(`^(\d{1,3}|\*) (ack|nack|ccm|trr-int|goog-remb|transport-cc)` +
		`( (pli|sli|rpsi|fir|tmmbr|tstr|vbcm|\d{1,5})){0,2}$`)
	// RFC 4568 §9.1; the key is for the other party, and never logged.
	crypto = regexp.MustCompile(`^\d{1,9} (AES|AEAD|F8|SEED|ARIA)[A-Z0-9_]{1,36} inline:[A-Za-z0-9+/=]{1,200}` +
		`(\|[0-9^]{1,20})?(\|\d{1,10}:\d{1,3})?( (KDR=\d{1,2}|UNENCRYPTED_SRTC?P|UNAUTHENTICATED_SRTP|` +
		`FEC_ORDER=(FEC_SRTP|SRTP_FEC)|WSH=\d{1,4})){0,4}$`)
	fingerprint = regexp.MustCompile(`^(?i)(sha-(1|224|256|384|512)|md[25]) [0-9A-F:]{1,200}$`) // RFC 8122 §5
	setup       = regexp.MustCompile(`^(active|passive|actpass|holdconn)$`)                     // RFC 4145 §4
	tlsID       = regexp.MustCompile(`^[A-Za-z0-9+/_-]{20,255}$`)                               // RFC 8842 §4
	zrtpHash    = regexp.MustCompile(`^[0-9.]{1,8} [0-9a-fA-F]{64}$`)                           // RFC 6189 §8
	decimal     = regexp.MustCompile(`^\d{1,6}(\.\d{1,3})?$`)
	nothing     = regexp.MustCompile(`^$`)
	t38Word     = regexp.MustCompile(`^(?i)(\d{0,6}|transferredTCF|localTCF|t38UDP(Redundancy|FEC|NoEC))$`)
)

// mediaAttributes are the ones inside an m= section.
var mediaAttributes = map[string]*regexp.Regexp{
	"rtpmap": rtpmap, "ptime": decimal, "maxptime": decimal, "framerate": decimal,
	"rtcp-fb": rtcpFB, "rtcp-mux": nothing, "rtcp-rsize": nothing,
	"sendrecv": nothing, "sendonly": nothing, "recvonly": nothing, "inactive": nothing,
	"crypto": crypto, "fingerprint": fingerprint, "setup": setup, "tls-id": tlsID, "zrtp-hash": zrtpHash,
}

// t38Attributes are T.38's (ITU-T T.38 Annex D).
var t38Attributes = map[string]*regexp.Regexp{
	"T38FaxVersion": t38Word, "T38MaxBitRate": t38Word, "T38FaxRateManagement": t38Word,
	"T38FaxMaxBuffer": t38Word, "T38FaxMaxDatagram": t38Word, "T38FaxUdpEC": t38Word,
	"T38FaxFillBitRemoval": t38Word, "T38FaxTranscodingMMR": t38Word, "T38FaxTranscodingJBIG": t38Word,
}

// sessionAttributes are the ones above all m= sections.
var sessionAttributes = map[string]*regexp.Regexp{
	"sendrecv": nothing, "sendonly": nothing, "recvonly": nothing, "inactive": nothing,
	"fingerprint": fingerprint, "setup": setup, "tls-id": tlsID, "zrtp-hash": zrtpHash,
}

// directions say who sends.
var directions = map[string]bool{"sendrecv": true, "sendonly": true, "recvonly": true, "inactive": true}

// securing are the attributes that make a stream encrypted end to end.
var securing = map[string]bool{"crypto": true, "fingerprint": true}

// bandwidth are the b= types that leave.
var bandwidth = map[string]bool{"AS": true, "TIAS": true, "RS": true, "RR": true}

// sessionAttribute is an attribute of the session as it leaves.
func sessionAttribute(a sdp.Attribute) (string, bool) { return allowed(sessionAttributes, a) }

// attribute is an attribute of an m= section as it leaves.
func (l *mediaLine) attribute(a sdp.Attribute) (string, bool) {
	switch {
	case l.udptl:
		if line, ok := allowed(t38Attributes, a); ok {
			return line, true
		}
	case a.Key == "rtpmap" && !known(a.Value), a.Key == "fmtp" && !l.carries(a.Value):
		return "", false
	case a.Key == "fmtp":
		return formatParameters(a.Value)
	}
	return allowed(mediaAttributes, a)
}

// carries says that an attribute's payload type is one of the section's.
func (l *mediaLine) carries(value string) bool {
	pt, _, _ := strings.Cut(value, " ")
	return slices.Contains(l.formats, pt)
}

// allowed writes an attribute that is on a list with a value of the right form.
func allowed(list map[string]*regexp.Regexp, a sdp.Attribute) (string, bool) {
	form, ok := list[a.Key]
	if !ok || !form.MatchString(a.Value) {
		return "", false
	}
	if a.Value == "" {
		return a.Key, true
	}
	return a.Key + ":" + a.Value, true
}

// format says that an m= line's format may leave: a payload type, or t38.
func format(f string, udptl bool) bool {
	if udptl {
		return strings.EqualFold(f, "t38")
	}
	return number(f, 127)
}

// number says that s is a decimal number of at most most.
func number(s string, most uint64) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n <= most && (s == "0" || s[0] != '0')
}
