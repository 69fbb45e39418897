package proxy

// facts are what screening knows about a caller and a local recipient. The
// zero value is a caller of whom nothing speaks, and a recipient who silences.
type facts struct {
	blocked      bool // the recipient blocked this caller
	ringStranger bool // the recipient does not silence strangers
	handed       bool // the caller takes over a call of the recipient's, which its other party hands on
	token        bool // the caller showed a token that is valid for both of them
	recent       bool // the recipient called or messaged the caller lately
	organisation bool // the operator says that they belong together
	psap         bool // a call back from an emergency centre, over a trusted trunk (RFC 7090)
	window       bool // the recipient expects a call now
}

// A verdict says what happens to a call. Its zero value is the strict one.
type verdict uint8

const (
	silence verdict = iota // the recipient's devices receive nothing of it
	ring                   // the recipient's devices ring
)

// String is "silence" or "ring".
func (v verdict) String() string {
	if v == ring {
		return "ring"
	}
	return "silence"
}

// A reason says why, to the owner of a call and to nobody else.
type reason uint8

const (
	unknownCaller      reason = iota // nothing speaks for the caller
	blockedByRecipient               // silenced without notice
	notSilencing                     // the recipient lets strangers ring
	validToken                       // the caller showed a token of the recipient's
	recentContact                    // the recipient turned to the caller first
	sameOrganisation                 // the operator's word
	emergencyCallback                // RFC 7090
	openWindow                       // the recipient is expecting a call
	handedOn                         // the other party of a call has handed it on
	ownDevices                       // caller and recipient are one user
)

// reasons says each reason in a sentence that an owner understands.
var reasons = [...]string{
	unknownCaller:      "silenced: nothing says that the recipient knows the caller",
	blockedByRecipient: "silenced: the recipient has blocked the caller",
	notSilencing:       "rang: the recipient does not silence strangers",
	validToken:         "rang: the caller showed a valid privacy token of the recipient",
	recentContact:      "rang: the recipient called or messaged the caller lately",
	sameOrganisation:   "rang: the operator lists the caller's domain as known",
	emergencyCallback:  "rang: an emergency centre calls back",
	openWindow:         "rang: the recipient was expecting a call",
	ownDevices:         "rang: the user's own other devices",
	handedOn:           "rang: the caller takes over a call of the recipient, whose other party handed it on",
}

// String explains the reason to the owner of the call.
func (r reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return reasons[unknownCaller]
}

// screen decides whether a call may ring. The rules and their order are those
// of design §5; the first that applies decides.
func screen(f facts) (verdict, reason) {
	switch {
	case f.blocked:
		return silence, blockedByRecipient
	case f.handed:
		return ring, handedOn
	case f.ringStranger:
		return ring, notSilencing
	case f.token:
		return ring, validToken
	case f.recent:
		return ring, recentContact
	case f.organisation:
		return ring, sameOrganisation
	case f.psap:
		return ring, emergencyCallback
	case f.window:
		return ring, openWindow
	default:
		return silence, unknownCaller
	}
}

// known says that the caller is no stranger to the recipient. It is asked
// beside screen, not of its reason: a recipient who lets strangers ring still
// knows the holder of a token. A window lets a stranger ring, but makes
// nobody known: the stranger meets the facade and the call is protected.
func (f facts) known() bool {
	return !f.blocked && (f.token || f.recent || f.organisation || f.psap)
}
