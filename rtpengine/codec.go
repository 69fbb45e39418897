package rtpengine

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"strings"
)

// Codecs and their parameters that may leave. A name or a value of a phone's own
// choice would be a text like any other (leaks.md §2: the list is normalised).

// codecs are the encoding names of the payload formats that phones use, in
// lower case (IANA, RTP Payload Format Media Types).
var codecs = words(`pcmu pcma g722 g7221 g723 g728 g729 g729d g729e g726-16 g726-24 g726-32 g726-40
	aal2-g726-16 aal2-g726-24 aal2-g726-32 aal2-g726-40 g711-0 g719 gsm gsm-efr gsm-hr-08 dvi4 lpc
	qcelp evrc evrc0 evrc1 evrcb evrcwb evs amr amr-wb amr-wb+ ilbc isac silk speex opus bv16 bv32
	codec2 l8 l16 l20 l24 mpa mp4a-latm mpeg4-generic ac3 vorbis lyra cn telephone-event tone red rtx ulpfec
	flexfec flexfec-03 x-ulpfecuc vp8 vp9 av1 h261 h263 h263-1998 h263-2000 h264 h264-svc h265 h266
	jpeg jpeg2000 mp4v-es mpv theora t140 t140c t38 smpte291`)

// codecParameters are the format parameters that leave: those of the payload
// formats that phones use (RFC 4733, 3952, 4867, 5574, 6184, 6716/7587, 7741,
// 7798, 4103, 2190, 4629, 3016, 4588).
var codecParameters = words(`mode annexb octet-align mode-set mode-change-capability
	mode-change-period mode-change-neighbor crc robust-sorting interleaving max-red channels dtx
	dtx-recv vbr cng bitrate mode-switch br bw ch-aw-recv hf-only evs-mode-switch maxplaybackrate
	maxaveragebitrate minptime ptime maxptime stereo sprop-stereo cbr useinbandfec usedtx
	sprop-maxcapturerate packetization-mode profile-level-id level-asymmetry-allowed max-mbps max-fs
	max-cpb max-dpb max-br max-fr sprop-parameter-sets profile-id level-id tier-flag sprop-vps
	sprop-sps sprop-pps tx-mode cps cif qcif sqcif cif4 cif16 f i j t k custom profile level
	streamtype config apt rtx-time object version sampling events redundant`)

// words is the set of the words of a text.
func words(text string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(text) {
		m[w] = true
	}
	return m
}

var (
	rtpmap = regexp.MustCompile(`^\d{1,3} ([A-Za-z0-9_.+-]{1,40})/\d{1,6}(/\d{1,2})?$`)
	fmtp   = regexp.MustCompile(`^(\d{1,3}) (.{1,1000})$`)

	// parameterValue is the form of most parameters: numbers, lists and ranges of
	// them, a profile, or one of the words that their definitions have.
	parameterValue = regexp.MustCompile(`^(\d{1,9}(\.\d{1,4})?([,-]\d{1,6}(\.\d{1,4})?){0,15}|[0-9A-Fa-f]{6}|` +
		`(?i)(yes|no|on|off|vad|any|srst|mrst|mrmt)|(nb|wb|swb|fb)([,-](nb|wb|swb|fb)){0,3}|` +
		`YCbCr-4:[24]:[024]|RGB|CMYK|GRAYSCALE)$`)
	// visual is the configuration of MPEG-4 video: start codes (RFC 6416 §7.1).
	visual = regexp.MustCompile(`^000001[Bb][0-9A-Fa-f]{1,200}$`)
	// eventList is RFC 4733's list of events, and RFC 2198's list of formats.
	eventList = regexp.MustCompile(`^[0-9]{1,3}([-,/][0-9]{1,3}){0,40}$`)
)

// known says that an rtpmap line names a codec that may leave.
func known(value string) bool {
	m := rtpmap.FindStringSubmatch(value)
	return m != nil && codecs[strings.ToLower(m[1])]
}

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
		case has && codecParameters[strings.ToLower(name)] && harmless(strings.ToLower(name), value):
			kept = append(kept, name+"="+value)
		}
	}
	if len(kept) == 0 {
		return "", false
	}
	return "fmtp:" + parts[1] + " " + strings.Join(kept, ";"), true
}

// harmless says that a parameter's value is of the kind that its name stands for.
func harmless(name, value string) bool {
	switch name {
	case "sprop-parameter-sets":
		return parameterSets(value, func(b byte) bool {
			t := b & 31
			return t == 7 || t == 8 || t == 13 || t == 15 // RFC 6184 §1.3, §8.1
		})
	case "sprop-vps", "sprop-sps", "sprop-pps":
		return parameterSets(value, func(b byte) bool { return b>>1 >= 32 && b>>1 <= 34 }) // RFC 7798 §1.1.4
	case "config":
		return visual.MatchString(value)
	}
	return parameterValue.MatchString(value) && !namesHost(value)
}

// maxSets bounds parameter sets, in characters (ours: those of a large picture have a fifth).
const maxSets = 1000

// parameterSets says that a value is a list of parameter sets of video in
// Base64, each of which begins as one does.
func parameterSets(value string, begins func(byte) bool) bool {
	if len(value) > maxSets {
		return false
	}
	for one := range strings.SplitSeq(value, ",") {
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(one, "="))
		if err != nil || len(b) < 2 || b[0]&128 != 0 || !begins(b[0]) {
			return false
		}
	}
	return true
}

// namesHost says that a value is, or contains, an IP address.
func namesHost(v string) bool {
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '-' }) {
		if _, err := netip.ParseAddr(part); err == nil {
			return true
		}
	}
	return false
}
