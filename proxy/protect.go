package proxy

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
	"sotto/store"
)

// wishes are what decides whether a call is protected (design §4).
type wishes struct {
	forced       bool // the operator protects every call
	stranger     bool // the caller meets the facade, whose 2xx is always sealed
	asked        bool // Privacy: header or session in this request (RFC 3323)
	caller       store.Protect
	callee       store.Protect
	callerKnows  bool // the callee is known to the caller
	calleeKnows  bool // the caller is known to the callee
	callerIsOurs bool // the caller is a user of this server, with settings
	calleeIsOurs bool
}

// protect decides whether a call is protected and says why, for its owners.
// Either party's wish is enough; where nothing is known the answer is yes.
func protect(w wishes) (bool, string) {
	switch {
	case w.forced:
		return true, "protected: the operator protects every call"
	case w.asked:
		return true, "protected: the caller asked for privacy in this call (RFC 3323)"
	case w.stranger:
		return true, "protected: the caller is a stranger to the recipient"
	case w.callerIsOurs && wants(w.caller, w.callerKnows):
		return true, "protected: by the caller's setting protect_ip"
	case w.calleeIsOurs && wants(w.callee, w.calleeKnows):
		return true, "protected: by the recipient's setting protect_ip"
	case !w.callerIsOurs && !w.calleeIsOurs:
		return true, "protected: neither party is a user of this server"
	}
	return false, "not protected: both parties know each other and neither asked for it"
}

// wants1 is one party's wish about a party that it knows or does not.
func wants(s store.Protect, knows bool) bool {
	switch s {
	case store.Never:
		return false
	case store.Strangers:
		return !knows
	}
	return true
}

// asksPrivacy says that a request carries Privacy: header or session (RFC 3323 §4.2).
func asksPrivacy(req *sip.Request) bool { return hasPrivacy(req, "header", "session") }

// hasPrivacy says that a request asks for one of these kinds of privacy.
func hasPrivacy(req *sip.Request, kinds ...string) bool {
	for _, v := range wire.All(req, "Privacy") {
		for tag := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' }) {
			if slices.Contains(kinds, strings.ToLower(strings.TrimSpace(tag))) {
				return true
			}
		}
	}
	return false
}
