package proxy

import (
	"errors"
	"net/url"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// What leaves with a message of a protected call. A message for the other leg
// is built anew from an allow-list; nothing of the old one is edited
// (leaks.md: "rebuild, never edit"). These are pure functions: message in,
// message out. Who calls them adds Via, Route and the session description.

// errHeader is the error of a message that cannot cross: a header that must be
// there and cannot be mapped, or a transfer that would leave the domain. It becomes a 403.
var errHeader = errors.New("header cannot be mapped to the other leg")

// errMediaType is the error of a MESSAGE whose body may not cross. It becomes a 415.
var errMediaType = errors.New("body of this type does not cross")

// errMethod is the error of a method that we do not know: its name is free
// text. It becomes a 405.
var errMethod = errors.New("method does not cross")

// A hide carries messages of one dialog from one leg to the other.
type hide struct {
	seal *sealer // with the key of the dialog: sealer.at(box.key)
	from leg     // whose message it is; it goes to the other leg
	mark mark    // of the caller's Call-ID; zero: not checked (no box yet)

	// ownTag is the answering device's tag and shownTag the one that the
	// caller knows instead, where a facade has answered first.
	ownTag, shownTag string

	// sender and receiver are how each is named in From and To; without a
	// host, what the message says is made fit. reader is the receiver of a
	// request, as far as dialogs are concerned that it names.
	sender, receiver sip.Uri
	reader           reader
	anonymous        bool // the sender's name and URI stay hidden (RFC 3323 §4.1.1.3)
	assert           bool // the receiver is a trusted peer: who the sender is, is asserted

	domain  string                 // stands for the host of a party that is an address of ours
	ours    func(host string) bool // says that a host is served here
	contact *sip.ContactHeader     // the sealed Contact for the receiver; nil: none
}

// hideFrom makes the hide for a request that came to the Contact with b. The
// caller of it sets parties, domain and contact.
func hideFrom(s *sealer, b box) hide {
	return hide{
		seal: s.at(b.key), from: b.leg, mark: b.mark, ownTag: b.ownTag, shownTag: b.shownTag,
		anonymous: b.anonymous && b.leg == callerLeg,
	}
}

// request builds the request that takes in to the other leg, with the
// Request-URI to. It fails with errForged when an identifier of the dialog
// does not open or belongs to another dialog, with errHeader, errMediaType or errMethod.
// An SDP body does not cross here: the engine re-writes it.
func (h hide) request(in *sip.Request, to sip.Uri) (*sip.Request, error) {
	if !crossing[in.Method] {
		return nil, errMethod
	}
	callID, err := h.callID(in)
	if err != nil {
		return nil, err
	}
	from := h.fromHeader(in)
	toHeader, err := h.toHeader(in)
	if err != nil {
		return nil, err
	}
	out := sip.NewRequest(in.Method, to)
	out.AppendHeader(h.maxForwards(in))
	out.AppendHeader(from)
	out.AppendHeader(toHeader)
	out.AppendHeader(&callID)
	out.AppendHeader(&sip.CSeqHeader{SeqNo: in.CSeq().SeqNo, MethodName: in.Method})
	if h.contact != nil && refreshes(in.Method) {
		out.AppendHeader(h.contact.Clone())
	}
	h.identity(out, from.Address)
	return out, h.rest(out, in, in.Method)
}

// response builds the response that takes in, which answers our copy of up,
// to the sender of up. Via, From, To, Call-ID and CSeq are those of up; the To tag
// is the answering party's, as the receiver may know it.
func (h hide) response(in *sip.Response, up *sip.Request) (*sip.Response, error) {
	out := sip.NewResponse(in.StatusCode, reasonPhrase(in.StatusCode))
	for _, via := range up.GetHeaders("Via") {
		out.AppendHeader(sip.HeaderClone(via))
	}
	if up.From() == nil || up.To() == nil || up.CallID() == nil || up.CSeq() == nil {
		return nil, errHeader
	}
	out.AppendHeader(sip.HeaderClone(up.From()))
	to := &sip.ToHeader{
		DisplayName: up.To().DisplayName, Address: *up.To().Address.Clone(),
		Params: up.To().Params.Clone(),
	}
	out.AppendHeader(to)
	h.answerTag(to, in)
	callID := *up.CallID()
	out.AppendHeader(&callID)
	out.AppendHeader(&sip.CSeqHeader{SeqNo: up.CSeq().SeqNo, MethodName: up.CSeq().MethodName})
	if h.contact != nil && refreshes(up.Method) && in.StatusCode > 100 && in.StatusCode < 300 {
		out.AppendHeader(h.contact.Clone())
	}
	return out, h.rest(out, in, up.Method)
}

// answerTag gives a response the tag of whoever answered, unless the request had one.
func (h hide) answerTag(to *sip.ToHeader, in *sip.Response) {
	if t, ok := tagOf(to.Params); ok && t != "" || in.To() == nil {
		return
	}
	if tag, ok := tagOf(in.To().Params); ok && tag != "" {
		to.Params.Add("tag", h.tagOut(tag))
	}
}

// rest copies what else may cross: the headers of the table, and a body.
func (h hide) rest(out, in sip.Message, method sip.RequestMethod) error {
	if err := h.treat(out, in, method, treatments[:crossingHeaders]); err != nil {
		return err
	}
	kind, body, err := h.bodyFor(in, method)
	if err != nil {
		return err
	}
	if kind != "" {
		out.AppendHeader(sip.NewHeader("Content-Type", kind))
	}
	out.SetBody(body)
	return nil
}

// treat copies the headers for which the table, the first of treatments, makes something.
func (h hide) treat(out, in sip.Message, method sip.RequestMethod, table []headerTreatment) error {
	values := valuesToTreat(in)
	for i, t := range table {
		v, err := t.make(h, headerSet{in, method, values[i]})
		if err != nil {
			return err
		}
		if v != "" {
			out.AppendHeader(sip.NewHeader(t.name, v))
		}
	}
	return nil
}

// valuesToTreat are the values of in for each treatment that makes something of them.
func valuesToTreat(in sip.Message) [][]string {
	values := make([][]string, crossingHeaders)
	for _, x := range headersOf(in) {
		if i, ok := treatmentOf[longName(x.Name())]; ok && i < crossingHeaders {
			values[i] = append(values[i], x.Value())
		}
	}
	return values
}

// crossing has the methods that cross.
var crossing = map[sip.RequestMethod]bool{
	sip.INVITE: true, sip.ACK: true, sip.BYE: true, sip.CANCEL: true, sip.OPTIONS: true,
	sip.INFO: true, sip.PRACK: true, sip.UPDATE: true, sip.REFER: true, sip.NOTIFY: true,
	sip.SUBSCRIBE: true, sip.MESSAGE: true,
}

// refreshes says that a request and its 2xx carry a Contact (RFC 3261 §12.2,
// RFC 3311 §5.1, RFC 6665 §4.1.2.1, RFC 3515 §2.1).
func refreshes(m sip.RequestMethod) bool {
	switch m {
	case sip.INVITE, sip.UPDATE, sip.SUBSCRIBE, sip.REFER, sip.NOTIFY:
		return true
	}
	return false
}

// callID is the Call-ID on the other leg. This is the leg check, too: what
// comes from the callee's leg has a Call-ID that we sealed.
func (h hide) callID(in *sip.Request) (sip.CallIDHeader, error) {
	if in.CallID() == nil || in.CSeq() == nil || in.From() == nil || in.To() == nil {
		return "", errHeader
	}
	here := in.CallID().Value()
	callers, there := here, ""
	if h.from == calleeLeg {
		var ok bool
		if callers, ok = h.seal.openCallID(here); !ok {
			return "", errForged
		}
		there = callers
	} else {
		there = h.seal.callID(here)
	}
	if h.mark != (mark{}) && h.mark != markOf(callers) {
		return "", errForged
	}
	return sip.CallIDHeader(there), nil
}

// tagOut is the sender's tag as the receiver knows it.
func (h hide) tagOut(tag string) string {
	if h.from == calleeLeg && h.shownTag != "" && (h.ownTag == "" || tag == h.ownTag) {
		return h.shownTag
	}
	return h.seal.tag(tag)
}

// tagBack is the receiver's own tag, from what the sender knows of it.
func (h hide) tagBack(tag string) (string, error) {
	if h.from == callerLeg && h.shownTag != "" && tag == h.shownTag && h.ownTag != "" {
		return h.ownTag, nil
	}
	own, ok := h.seal.openTag(tag)
	if !ok {
		return "", errForged
	}
	return own, nil
}

// fromHeader names the sender.
func (h hide) fromHeader(in *sip.Request) *sip.FromHeader {
	f := &sip.FromHeader{Address: h.sender, Params: sip.NewParams()}
	if f.Address.Host == "" {
		f.Address = h.fit(in.From().Address, anonymousHost)
	}
	if f.DisplayName = displayName(in.From().DisplayName); h.anonymous {
		f.DisplayName = "Anonymous"
		f.Address = nobodyURI()
	}
	if tag, ok := tagOf(in.From().Params); ok && tag != "" {
		f.Params.Add("tag", h.tagOut(tag))
	}
	return f
}

// toHeader names the receiver. There is no display name: it is what the
// sender's address book calls the receiver, which is none of the receiver's business.
func (h hide) toHeader(in *sip.Request) (*sip.ToHeader, error) {
	t := &sip.ToHeader{Address: h.receiver, Params: sip.NewParams()}
	if t.Address.Host == "" {
		t.Address = h.fit(in.To().Address, h.domain)
	}
	if tag, ok := tagOf(in.To().Params); ok && tag != "" {
		own, err := h.tagBack(tag)
		if err != nil {
			return nil, err
		}
		t.Params.Add("tag", own)
	}
	return t, nil
}

// The URI of nobody (RFC 3323 §4.1.1.3).
const (
	anonymousUser = "anonymous"
	anonymousHost = "anonymous.invalid"
)

func nobodyURI() sip.Uri { return sip.Uri{Scheme: "sip", User: anonymousUser, Host: anonymousHost} }

// mostForwards is the Max-Forwards of RFC 3261 §8.1.1.6. Loops through sealed
// legs are ended by it alone, since no Via crosses; so it counts down like
// any other, but by tens: it tells nothing of a phone that starts elsewhere
// (JsSIP at 69), and little of the hops before.
const mostForwards = 70

// maxForwards counts down (RFC 3261 §16.6 step 3).
func (h hide) maxForwards(in *sip.Request) *sip.MaxForwardsHeader {
	n := sip.MaxForwardsHeader(mostForwards)
	if mf := in.MaxForwards(); mf != nil && mf.Val() < mostForwards {
		n = *mf
	}
	if n > 0 {
		n--
	}
	if n >= 10 {
		n -= n % 10
	}
	return &n
}

// identity asserts the sender to a trusted peer (RFC 3325 §5), and asks it to
// keep the identity to itself where the sender is anonymous (§9.3).
func (h hide) identity(out *sip.Request, from sip.Uri) {
	if !h.assert || h.sender.Host == "" {
		return
	}
	out.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<"+h.sender.String()+">"))
	if h.anonymous || from.Host == anonymousHost {
		out.AppendHeader(sip.NewHeader("Privacy", "id"))
	}
}

// fit makes a URI that names a party: scheme, user and a domain name, no
// address, port, password, parameter or header. nowhere stands for a host
// that is an address of somebody else's.
func (h hide) fit(u sip.Uri, nowhere string) sip.Uri {
	out := sip.Uri{Scheme: "sip", User: userName(u.User), Host: canonical(u.Host)}
	switch {
	case u.Scheme == "tel":
		out.User, out.Host = userName(telNumber(u.Raw())), h.domain
	case h.ours != nil && h.ours(out.Host):
		if isAddress(out.Host) {
			out.Host = h.domain
		}
	case out.Host == "" || isAddress(out.Host) || !isName(out.Host):
		out.Host = nowhere
	}
	if out.Host == anonymousHost || hidesAddress(out.User) {
		out.User = anonymousUser
	}
	return out
}

// hidesAddress says that a user part is an address, escaped or not. Hyphens
// do not count: telephone numbers have them.
func hidesAddress(user string) bool {
	plain, err := url.PathUnescape(user)
	return err != nil || containsAddress(strings.ReplaceAll(plain, "-", ""))
}

// telNumber is the number of a tel URI without its parameters and visual
// separators (RFC 3966 §3).
func telNumber(raw string) string {
	number, _, _ := strings.Cut(raw, ";")
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, number)
}
