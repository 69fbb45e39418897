package proxy

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/location"
	"sotto/proxy/flow"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// register is the registrar (RFC 3261 §10.3). There is no open one: who
// registers an address of record has proved to be its user.
func (p *Proxy) register(s *txn.Server) error {
	a, ok := p.localAOR(s.Req.To().Address)
	if !ok {
		return refuse(sip.StatusForbidden, whyNotServed) // the same for every user part
	}
	who, err := p.authenticate(s, sip.StatusUnauthorized, a.Host())
	if err != nil {
		return err
	}
	if who != a {
		return refuse(sip.StatusForbidden, whyNotYours) // §10.3 step 4
	}
	bindings, err := p.bind(s, a)
	if err != nil {
		return err
	}
	if s.Flow.Transport() != "udp" && p.mux.Find(s.Flow.Ref()) == nil {
		p.loc.FlowClosed(location.Flow(s.Flow.Ref()), p.byPath) // it ended meanwhile: Closed found nothing to remove yet
	}
	res := p.respond(s.Req, sip.StatusOK)
	for _, b := range bindings {
		res.AppendHeader(contactOf(b))
	}
	p.outbound5626(s.Req, res)
	if err := s.Reply(res); err != nil {
		return err
	}
	for _, b := range bindings {
		p.guard.Proved(b.Flow.Peer, b.Expires.Add(registerGrace), time.Now())
	}
	if len(bindings) > 0 {
		p.notices.look(p, a)
	}
	return nil
}

// registerGrace is how long a flow is known after its binding has expired
// (ours): a phone that comes back late is no stranger.
const registerGrace = 5 * time.Minute

// bind carries out what the Contact headers ask for (§10.3 steps 6 to 8).
func (p *Proxy) bind(s *txn.Server, a aor.AOR) ([]location.Binding, error) {
	req, at := s.Req, time.Now()
	callID, cseq := req.CallID().Value(), req.CSeq().SeqNo
	values, err := contactsOf(req)
	if err != nil {
		return nil, refuse(sip.StatusBadRequest, whyBadContact)
	}
	if len(values) == 1 && values[0] == "*" {
		if expires, ok := expiresHeader(req); !ok || expires != 0 {
			return nil, refuse(sip.StatusBadRequest, whyBadContact) // §10.3 step 6
		}
		return nil, bindError(p.loc.RemoveAll(a, callID, cseq, at))
	}
	changes := make([]location.Change, 0, len(values))
	for _, v := range values {
		c, err := p.change(s, a, v, at)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return p.loc.Bindings(a, at), nil // §10.3 step 8: a query
	}
	bindings, err := p.loc.Update(a, callID, cseq, changes, at)
	return bindings, bindError(err)
}

// bindError turns what the table refuses into a response.
func bindError(err error) error {
	switch {
	case errors.Is(err, location.ErrOutOfOrder):
		return refuse(sip.StatusInternalServerError, whyOutOfOrder)
	case errors.Is(err, location.ErrTooMany):
		return refuse(sip.StatusForbidden, whyTooMany)
	}
	return err
}

// maxContacts bounds the Contact values of one REGISTER (ours).
const maxContacts = 10

// What a REGISTER may not ask for.
var (
	errTooManyContacts = errors.New("too many contacts")
	errStarNotAlone    = errors.New("* beside another contact")
)

// contactsOf lists the Contact values of a request.
func contactsOf(req *sip.Request) ([]string, error) {
	var all []string
	for _, v := range wire.All(req, "Contact") {
		all = append(all, splitList(v)...)
	}
	if len(all) > maxContacts {
		return nil, errTooManyContacts
	}
	for _, v := range all {
		if v == "*" && len(all) > 1 {
			return nil, errStarNotAlone
		}
	}
	return all, nil
}

// change is what one Contact value asks for.
func (p *Proxy) change(s *txn.Server, a aor.AOR, value string, at time.Time) (location.Change, error) {
	var u sip.Uri
	params := sip.NewParams()
	if _, err := sip.ParseAddressValue(value, &u, &params); err != nil || !sipURI(u) {
		return location.Change{}, refuse(sip.StatusBadRequest, whyBadContact)
	}
	expires, err := p.expiry(s.Req, params)
	if err != nil {
		return location.Change{}, err
	}
	instance, _ := wire.Param(params, "+sip.instance")
	b := location.Binding{
		AOR: a, Contact: u.String(), Instance: strings.Trim(instance, `"<>`), Q: qOf(params),
		CallID: s.Req.CallID().Value(), CSeq: s.Req.CSeq().SeqNo, Expires: at.Add(expires),
		Flow: location.Flow(s.Flow.Ref()), RegID: regID(params), NAT: natted(s),
	}
	for _, v := range wire.All(s.Req, "Path") {
		b.Path = append(b.Path, splitList(v)...) // RFC 3327 §5.3
	}
	return location.Change{Binding: b, Remove: expires == 0}, nil
}

// expiry is how long a contact asks to be bound (§10.3 step 7, 423 below the minimum).
func (p *Proxy) expiry(req *sip.Request, params sip.HeaderParams) (time.Duration, error) {
	r := p.cfg.Register
	asked := r.Default
	if n, ok := expiresHeader(req); ok {
		asked = time.Duration(n) * time.Second
	}
	if v, ok := wire.Param(params, "expires"); ok {
		if n, err := strconv.ParseUint(v, 10, 32); err == nil {
			asked = time.Duration(n) * time.Second
		}
	}
	switch {
	case asked == 0:
		return 0, nil
	case asked < r.Min:
		return 0, refuse(sip.StatusIntervalToBrief, whyBrief,
			sip.NewHeader("Min-Expires", strconv.Itoa(int(r.Min/time.Second))))
	case asked > r.Max:
		return r.Max, nil
	}
	return asked, nil
}

// expiresHeader is the Expires header in seconds.
func expiresHeader(req *sip.Request) (uint64, bool) {
	v := wire.All(req, "Expires")
	if len(v) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(v[0]), 10, 32)
	return n, err == nil
}

// qOf is the preference of a contact, 1 without (RFC 3261 §20.10).
func qOf(params sip.HeaderParams) float32 {
	v, ok := wire.Param(params, "q")
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(v, 32)
	if err != nil || math.IsNaN(q) || q < 0 || q > 1 {
		return 1
	}
	return float32(q)
}

// regID is RFC 5626's reg-id, 0 without.
func regID(params sip.HeaderParams) int {
	v, _ := wire.Param(params, "reg-id")
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// sipURI says that a contact can be reached by SIP.
func sipURI(u sip.Uri) bool {
	return (u.Scheme == "sip" || u.Scheme == "sips") && u.Host != "" && u.Headers.Length() == 0
}

// contactOf is a binding as the 200 lists it (§10.3 step 8).
func contactOf(b location.Binding) sip.Header {
	v := "<" + b.Contact + ">;expires=" +
		strconv.FormatInt(int64(math.Ceil(time.Until(b.Expires).Seconds())), 10)
	if b.Q != 1 {
		v += ";q=" + strconv.FormatFloat(float64(b.Q), 'f', -1, 32)
	}
	if b.Instance != "" {
		v += `;+sip.instance="<` + b.Instance + `>"`
	}
	if b.RegID != 0 {
		v += ";reg-id=" + strconv.Itoa(b.RegID)
	}
	return sip.NewHeader("Contact", v)
}

// outbound5626 tells a phone that its flow is kept (RFC 5626 §6, §4.4.1) and
// echoes Path (RFC 3327 §5.3).
func (p *Proxy) outbound5626(req *sip.Request, res *sip.Response) {
	for _, v := range wire.All(req, "Path") {
		res.AppendHeader(sip.NewHeader("Path", v))
	}
	if lists(req, "Supported", "outbound") {
		res.AppendHeader(sip.NewHeader("Require", "outbound"))
		res.AppendHeader(sip.NewHeader("Flow-Timer", strconv.Itoa(int(flow.KeepAlive/time.Second))))
	}
}
