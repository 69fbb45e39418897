package proxy

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// consumed has the headers that are meant for this server and end here, also
// where a call is not protected.
var consumed = []string{"privacy-token", "x-privacy-token", "privacy-token-offer"}

// asserting has what only neighbours that trust each other may tell (RFC 3325
// §5, RFC 7315 §4, the network's headers of leaks.md §1). Privacy is granted here.
var asserting = []string{
	"p-asserted-identity", "p-preferred-identity", "remote-party-id", "p-associated-uri",
	"p-served-user", "p-access-network-info", "p-visited-network-id", "cellular-network-info",
	"p-charging-vector", "p-charging-function-addresses", "privacy",
}

// strip takes off a message of an unprotected call what must not leave even
// then: tokens; credentials for a realm that is ours; and, unless the message
// comes from a trusted peer and goes to one, whatever asserts who somebody is.
// The message must be a copy that nobody else holds.
func strip(out *sip.Request, ours func(realm string) bool, trusted bool) {
	var kept []sip.Header
	for _, h := range out.CloneHeaders() {
		name := longName(h.Name())
		switch {
		case slices.Contains(consumed, name):
		case !trusted && slices.Contains(asserting, name):
		case isCredentials(name) && forRealm(h.Value(), ours):
		default:
			kept = append(kept, h)
		}
	}
	rebuild(out, kept)
}

// stripResponse is strip for what comes back.
func stripResponse(out *sip.Response, trusted bool) {
	var kept []sip.Header
	for _, h := range out.CloneHeaders() {
		name := longName(h.Name())
		if !slices.Contains(consumed, name) && (trusted || !slices.Contains(asserting, name)) {
			kept = append(kept, h)
		}
	}
	rebuild(out, kept)
}

// message is what requests and responses have in common here.
type message interface {
	Headers() []sip.Header
	RemoveHeader(name string) bool
	AppendHeader(h sip.Header)
}

// rebuild gives a message these headers and no others. RemoveHeader takes one
// header of exactly that name, hence by each header's own name.
func rebuild(m message, headers []sip.Header) {
	for _, h := range slices.Clone(m.Headers()) {
		m.RemoveHeader(h.Name())
	}
	for _, h := range headers {
		m.AppendHeader(h)
	}
}

// isCredentials says that a header holds credentials.
func isCredentials(name string) bool {
	return name == "authorization" || name == "proxy-authorization"
}

// forRealm says that credentials are for us. What cannot be read is: it is
// better lost than shown to the next hop.
func forRealm(value string, ours func(realm string) bool) bool {
	c, err := digest.ParseCredentials(value)
	return err != nil || ours(c.Realm)
}

// mapDialogs maps Replaces, Join and Target-Dialog of a request of an
// unprotected call, where they name a dialog that is protected or that crossed
// somebody in a Refer-To, for whom it is sent to. It fails with errHeader or errForged.
func (s *sealer) mapDialogs(out *sip.Request, r reader) error {
	headers := out.CloneHeaders()
	for i, h := range headers {
		switch longName(h.Name()) {
		case "replaces", "join", "target-dialog":
		default:
			continue
		}
		d, ok := parseDialog(h.Value())
		if !ok {
			continue
		}
		named, met, err := s.read(d, r)
		if err != nil {
			return err
		}
		if !met {
			continue // an unprotected dialog: both ends know it by the same names
		}
		headers[i] = sip.NewHeader(h.Name(), named.String())
	}
	rebuild(out, headers)
	return nil
}

// tokenless is a URI's user part without a privacy token that was appended to
// it or written as a URI header into it (token-spec.md, carriers 2 and 3).
func tokenless(user string) string {
	lower := strings.ToLower(user)
	for _, mark := range []string{
		"?", "%3f", "+pt1.", "+pt2.", "+pt3.", "%2bpt1.", "%2bpt2.", "%2bpt3.",
	} {
		if i := strings.Index(lower, mark); i >= 0 {
			user, lower = user[:i], lower[:i]
		}
	}
	return user
}
