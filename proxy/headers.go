package proxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// A headerSet is what a message has under one name.
type headerSet struct {
	in     sip.Message
	method sip.RequestMethod // of the request, or of the one that is answered
	values []string          // one a header line, topmost first
}

// A treatment of a header makes the value for the other leg from those of the
// message; "" means that the header does not leave. nil: it never does.
type headerTreatment struct {
	name string
	make func(h hide, s headerSet) (string, error)
	why  string
}

// Why a header does not cross.
const (
	whyAddress  = "names addresses or hosts of the sender"
	whyDevice   = "names the device, its software or its owner"
	whyIdentity = "says who is who; only the proxy asserts that"
	whyPlace    = "says where the sender is"
	whyFetch    = "makes the receiver's phone contact an address of the sender's choice"
	whyHop      = "is between the sender and this proxy"
	whyText     = "free text that software fills in"
)

// treatments lists what becomes of each header, in the order in which they
// leave: the sender's order would tell its make. From, To, Call-ID, CSeq,
// Max-Forwards and Contact are built by hide.request. What is not here does not leave.
var treatments = []headerTreatment{
	{"Event", event, "needed for subscriptions; a known package and a number"},
	{"Subscription-State", subscriptionState, "needed for subscriptions; known words and numbers"},
	{"Refer-To", referTo, "a transfer; a user of a domain of ours, a dialog that is mapped"},
	{"Refer-Sub", refersub, "true or false (RFC 4488)"},
	{"Replaces", dialogHeader, "names a dialog; mapped (RFC 3891)"},
	{"Join", dialogHeader, "names a dialog; mapped (RFC 3911)"},
	{"Target-Dialog", dialogHeader, "names a dialog; mapped (RFC 4538)"},
	{"Reason", reasonValue, "protocol and cause: phones show an answer elsewhere by it"},
	{"Require", optionTags, "extensions that both ends need to agree on"},
	{"Supported", optionTags, "extensions that both ends need to agree on"},
	{"Unsupported", optionTags, "extensions that both ends need to agree on"},
	{"Allow", allow, "a constant: the methods that cross"},
	{"RAck", rack, "reliable provisionals; two numbers and a method (RFC 3262)"},
	{"RSeq", number, "reliable provisionals; a number (RFC 3262)"},
	{"Session-Expires", sessionExpires, "session timer; a number and who refreshes (RFC 4028)"},
	{"Min-SE", number, "session timer; a number (RFC 4028)"},
	{"Expires", number, "a number"},
	{"Min-Expires", number, "a number"},
	{"Retry-After", number, "a number; the comment does not leave"},
	{"Info-Package", infoPackage, "known packages (RFC 6086)"},

	{"In-Reply-To", nil, "names calls of anybody's by Call-ID; nobody needs it to call back"},
	{"Via", nil, whyAddress},
	{"Route", nil, whyAddress},
	{"Record-Route", nil, whyAddress},
	{"Path", nil, whyAddress},
	{"Service-Route", nil, whyAddress},
	{"Flow-Timer", nil, whyHop},
	{"Proxy-Require", nil, whyHop},
	{"Proxy-Authenticate", nil, whyHop},
	{"Proxy-Authorization", nil, whyHop},
	{"Authorization", nil, whyHop},
	{"WWW-Authenticate", nil, whyHop},
	{"Authentication-Info", nil, whyHop},
	{"Security-Client", nil, whyHop},
	{"Security-Server", nil, whyHop},
	{"Security-Verify", nil, whyHop},
	{"Privacy-Token", nil, whyHop},
	{"X-Privacy-Token", nil, whyHop},
	{"Privacy-Token-Offer", nil, "is checked, and written anew for whom it is meant (offer.go)"},
	{"Privacy", nil, "is asked of this proxy, which grants it (RFC 3323 §5)"},
	{"User-Agent", nil, whyDevice},
	{"Server", nil, whyDevice},
	{"Organization", nil, whyDevice},
	{"Session-ID", nil, whyDevice},
	{"Accept", nil, whyDevice},
	{"Accept-Contact", nil, whyDevice},
	{"Accept-Encoding", nil, whyDevice},
	{"Accept-Language", nil, whyDevice},
	{"Accept-Resource-Priority", nil, whyDevice},
	{"Allow-Events", nil, whyDevice},
	{"Recv-Info", nil, whyDevice},
	{"Reject-Contact", nil, whyDevice},
	{"Request-Disposition", nil, whyDevice},
	{"P-Asserted-Identity", nil, whyIdentity},
	{"P-Preferred-Identity", nil, whyIdentity},
	{"P-Associated-URI", nil, whyIdentity},
	{"P-Called-Party-ID", nil, whyIdentity},
	{"P-Served-User", nil, whyIdentity},
	{"Remote-Party-ID", nil, whyIdentity},
	{"Identity", nil, whyIdentity},
	{"Identity-Info", nil, whyFetch},
	{"History-Info", nil, whyIdentity},
	{"Diversion", nil, whyIdentity},
	{"Referred-By", nil, whyIdentity},
	{"P-Access-Network-Info", nil, whyPlace},
	{"P-Visited-Network-ID", nil, whyPlace},
	{"Cellular-Network-Info", nil, whyPlace},
	{"P-Charging-Vector", nil, whyPlace},
	{"P-Charging-Function-Addresses", nil, whyPlace},
	{"Geolocation", nil, whyPlace},
	{"Geolocation-Routing", nil, whyPlace},
	{"Geolocation-Error", nil, whyPlace},
	{"Date", nil, whyPlace},
	{"Timestamp", nil, whyAddress},
	{"Warning", nil, whyAddress},
	{"Reply-To", nil, whyFetch},
	{"Call-Info", nil, whyFetch},
	{"Alert-Info", nil, whyFetch},
	{"Error-Info", nil, whyFetch},
	{"Icon", nil, whyFetch},
	{"Answer-Mode", nil, "makes the receiver's phone answer on its own (RFC 5373)"},
	{"Priv-Answer-Mode", nil, "makes the receiver's phone answer on its own (RFC 5373)"},
	{"Subject", nil, whyText},
	{"Priority", nil, whyText},
	{"Resource-Priority", nil, whyText},
	{"User-to-User", nil, whyText},
	{"MIME-Version", nil, "the body is built anew"},
	{"Content-Disposition", nil, "the body is built anew"},
	{"Content-Encoding", nil, "the body is built anew"},
	{"Content-Language", nil, "the body is built anew"},
	{"Content-ID", nil, "the body is built anew"},
}

// crossingHeaders is how many treatments make something: the first ones of the table.
var crossingHeaders = slices.IndexFunc(treatments, func(t headerTreatment) bool { return t.make == nil })

// treatmentOf finds a treatment by the header's long name in lower case.
var treatmentOf = func() map[string]int {
	m := make(map[string]int, len(treatments))
	for i, t := range treatments {
		m[strings.ToLower(t.name)] = i
	}
	return m
}()

// compactNames has the compact forms of RFC 3261 §7.3.3 and its extensions.
var compactNames = map[string]string{
	"a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
	"e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
	"l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
	"s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires",
	"y": "identity",
}

// longName is a header's name in lower case and never in compact form.
func longName(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if long, ok := compactNames[name]; ok {
		return long
	}
	return name
}

// valuesOf lists the values of all headers of a name, in any case or compact.
func valuesOf(m sip.Message, name string) []string {
	var all []string
	for _, h := range headersOf(m) {
		if strings.EqualFold(longName(h.Name()), name) {
			all = append(all, h.Value())
		}
	}
	return all
}

// headersOf lists the headers of a message.
func headersOf(m sip.Message) []sip.Header {
	switch m := m.(type) {
	case *sip.Request:
		return m.Headers()
	case *sip.Response:
		return m.Headers()
	}
	return nil
}

// splitList splits a header value at the commas outside of <> and "".
func splitList(v string) []string {
	var (
		out           []string
		start         int
		angle, quoted bool
	)
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			out = append(out, strings.TrimSpace(v[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(v[start:]))
}

// param is a parameter of a header value that is no address: "a;name=value".
func param(value, name string) (string, bool) {
	_, params, _ := strings.Cut(value, ";")
	for p := range strings.SplitSeq(params, ";") {
		n, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// bare is a header value without its parameters.
func bare(value string) string {
	v, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(v)
}

// digits is a number as we write it, or "".
func digits(s string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// oneOf is the entry of words that s is in any case, or "".
func oneOf(s string, words ...string) string {
	for _, w := range words {
		if strings.EqualFold(strings.TrimSpace(s), w) {
			return w
		}
	}
	return ""
}

// number keeps a number; whatever follows it does not leave.
func number(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	return digits(strings.TrimSpace(strings.SplitN(bare(s.values[0]), "(", 2)[0])), nil
}

// extensions are those that work between the two ends of a protected call, in
// the order in which they leave.
var extensions = []string{
	"100rel", "timer", "replaces", "norefersub", "tdialog", "join", "nosub", "explicitsub",
}

// optionTags keeps the extensions that we know.
func optionTags(_ hide, s headerSet) (string, error) {
	named := listed(s.values)
	var kept []string
	for _, x := range extensions {
		if slices.Contains(named, x) {
			kept = append(kept, x)
		}
	}
	return strings.Join(kept, ", "), nil
}

// listed are the words of comma-separated values, in lower case.
func listed(values []string) []string {
	var words []string
	for _, v := range values {
		for w := range strings.SplitSeq(v, ",") {
			words = append(words, strings.ToLower(strings.TrimSpace(w)))
		}
	}
	return words
}

// allowConstant has the methods that every phone understands or answers 405
// or 501 without harm.
const allowConstant = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, INFO, REFER, NOTIFY, MESSAGE"

// allow is a constant with one bit: whether the other end takes UPDATE. A
// phone that is told so wrongly refreshes the session with it, and loses the call.
func allow(_ hide, s headerSet) (string, error) {
	res, isResponse := s.in.(*sip.Response)
	switch {
	case s.method != sip.INVITE && s.method != sip.UPDATE && s.method != sip.OPTIONS:
		return "", nil
	case isResponse && (res.StatusCode <= 100 || res.StatusCode >= 300) && res.StatusCode != 405:
		return "", nil
	}
	if slices.Contains(listed(s.values), "update") {
		return allowConstant + ", UPDATE", nil
	}
	return allowConstant, nil
}

// event keeps a package that we know and a number as id.
func event(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	v := oneOf(bare(s.values[0]), "refer", "message-summary", "presence", "dialog", "conference",
		"talk", "hold")
	if id, ok := param(s.values[0], "id"); ok && v != "" && digits(id) != "" {
		v += ";id=" + digits(id)
	}
	return v, nil
}

// subscriptionState keeps what RFC 6665 §4.1.3 defines.
func subscriptionState(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	v := oneOf(bare(s.values[0]), "active", "pending", "terminated")
	if v == "" {
		return "", nil
	}
	if r, ok := param(s.values[0], "reason"); ok {
		if r = oneOf(r, "deactivated", "probation", "rejected", "timeout", "giveup", "noresource",
			"invariant"); r != "" {
			v += ";reason=" + r
		}
	}
	for _, name := range []string{"expires", "retry-after"} {
		if n, ok := param(s.values[0], name); ok && digits(n) != "" {
			v += ";" + name + "=" + digits(n)
		}
	}
	return v, nil
}

// refersub is true or false (RFC 4488).
func refersub(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	return oneOf(bare(s.values[0]), "true", "false"), nil
}

// reasonValue keeps protocol and cause (RFC 3326); the text is the sender's.
func reasonValue(_ hide, s headerSet) (string, error) {
	var kept []string
	for _, v := range s.values {
		for _, one := range splitList(v) {
			protocol := oneOf(bare(one), "SIP", "Q.850")
			cause, _ := param(one, "cause")
			if cause = digits(cause); protocol != "" && cause != "" && len(cause) <= 3 {
				kept = append(kept, protocol+";cause="+cause)
			}
		}
	}
	return strings.Join(kept[:min(len(kept), 2)], ", "), nil
}

// rack keeps the two numbers and the method of RFC 3262 §7.2.
func rack(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	f := strings.Fields(s.values[0])
	if len(f) != 3 || digits(f[0]) == "" || digits(f[1]) == "" || !crossing[sip.RequestMethod(f[2])] {
		return "", nil
	}
	return digits(f[0]) + " " + digits(f[1]) + " " + f[2], nil
}

// sessionExpires keeps the interval and who refreshes (RFC 4028 §4).
func sessionExpires(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	v := digits(bare(s.values[0]))
	if r, ok := param(s.values[0], "refresher"); ok && v != "" {
		if r = oneOf(r, "uac", "uas"); r != "" {
			v += ";refresher=" + r
		}
	}
	return v, nil
}

// infoPackage keeps the packages that the bodies which cross belong to.
func infoPackage(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	return oneOf(bare(s.values[0]), "dtmf", "infoDtmf"), nil
}
