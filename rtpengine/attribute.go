package rtpengine

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Attributes that may leave, each with the form that its value must have. A
// line that is not here does not leave: ICE lines, ssrc, msid, label, tool,
// extmap, rtcp-xr, candidate and whatever anybody will invent.
var (
	rtpmap = regexp.MustCompile(`^\d{1,3} [A-Za-z0-9_.-]{1,40}/\d{1,6}(/\d{1,2})?$`)
	fmtp   = regexp.MustCompile(`^(\d{1,3}) (.{1,1000})$`)
	rtcpFB = regexp.MustCompile(`^(\d{1,3}|\*) (ack|nack|ccm|trr-int|goog-remb|transport-cc)( [a-z0-9-]{1,20}){0,2}$`)
	// RFC 4568 §9.1; the key is for the other party, and never logged.
	crypto = regexp.MustCompile(`^\d{1,9} [A-Z0-9_]{1,40} inline:[A-Za-z0-9+/=]{1,200}` +
		`(\|[0-9^]{1,20})?(\|\d{1,10}:\d{1,3})?( [A-Z_]{1,40}(=[A-Z0-9:]{1,20})?){0,4}$`)
	fingerprint = regexp.MustCompile(`^[A-Za-z0-9-]{1,20} [0-9A-Fa-f:]{1,200}$`) // RFC 8122 §5
	setup       = regexp.MustCompile(`^(active|passive|actpass|holdconn)$`)      // RFC 4145 §4
	tlsID       = regexp.MustCompile(`^[A-Za-z0-9+/_-]{20,255}$`)                // RFC 8842 §4
	zrtpHash    = regexp.MustCompile(`^[0-9.]{1,8} [0-9a-fA-F]{64}$`)            // RFC 6189 §8
	decimal     = regexp.MustCompile(`^\d{1,6}(\.\d{1,3})?$`)
	nothing     = regexp.MustCompile(`^$`)
	t38Word     = regexp.MustCompile(`^[A-Za-z0-9]{0,30}$`)
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
	case a.Key == "fmtp":
		return formatParameters(a.Value)
	}
	return allowed(mediaAttributes, a)
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

// codecParameters are the format parameters that leave: those of the payload
// formats that phones use (RFC 4733, 3952, 4867, 5574, 6184, 6716/7587, 7741,
// 7798, 4103, 2190, 4629, 3016, 4588).
var codecParameters = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`mode annexb octet-align mode-set mode-change-capability
		mode-change-period mode-change-neighbor crc robust-sorting interleaving max-red channels dtx
		dtx-recv vbr cng bitrate mode-switch br bw ch-aw-recv hf-only evs-mode-switch maxplaybackrate
		maxaveragebitrate minptime ptime maxptime stereo sprop-stereo cbr useinbandfec usedtx
		sprop-maxcapturerate packetization-mode profile-level-id level-asymmetry-allowed max-mbps max-fs
		max-cpb max-dpb max-br max-fr sprop-parameter-sets profile-id level-id tier-flag sprop-vps
		sprop-sps sprop-pps tx-mode cps cif qcif sqcif cif4 cif16 f i j t k custom profile level
		streamtype config apt rtx-time object version bitrate sampling events redundant`) {
		m[name] = true
	}
	return m
}()

// parameterValue is the form of any of them.
var parameterValue = regexp.MustCompile(`^[A-Za-z0-9+/=,.:_-]{0,400}$`)

// eventList is RFC 4733's list of events, and RFC 2198's list of formats.
var eventList = regexp.MustCompile(`^[0-9]{1,3}([-,/][0-9]{1,3}){0,40}$`)

// formatParameters writes an fmtp line with the parameters that are known.
func formatParameters(v string) (string, bool) {
	parts := fmtp.FindStringSubmatch(v)
	if parts == nil {
		return "", false
	}
	var kept []string
	for one := range strings.SplitSeq(parts[2], ";") {
		one = strings.TrimSpace(one)
		name, value, has := strings.Cut(one, "=")
		switch {
		case eventList.MatchString(one):
			kept = append(kept, one)
		case has && codecParameters[strings.ToLower(name)] && parameterValue.MatchString(value) && !namesHost(value):
			kept = append(kept, name+"="+value)
		}
	}
	if len(kept) == 0 {
		return "", false
	}
	return "fmtp:" + parts[1] + " " + strings.Join(kept, ";"), true
}

// namesHost says that a value is, or contains, an IP address.
func namesHost(v string) bool {
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '=' || r == '/' }) {
		if _, err := netip.ParseAddr(part); err == nil {
			return true
		}
	}
	return false
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

// plainWord is a token without anything that could hold an address.
var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9*-]{0,30}$`)

func word(s string) bool { return plainWord.MatchString(s) }
