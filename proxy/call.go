package proxy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/flow"
	"sotto/proxy/receipt"
	"sotto/rtpengine"
)

// A callKey names a call from the caller's side: its Call-ID and the caller's tag.
type callKey struct{ callID, tag string }

// keyOf is the key of the call that an initial INVITE of the caller starts.
func keyOf(req *sip.Request) callKey {
	tag, _ := req.From().Params.Get("tag")
	return callKey{req.CallID().Value(), tag}
}

// A record is what the proxy notes of a call: for the operator's list, for
// the owner's explanation, and to end the call when its media has died. No
// message is routed by it (the dialog is sealed into the messages): losing
// all records in a restart costs no call.
type record struct {
	CallInfo
	key       callKey
	caller    aor.AOR
	callee    aor.AOR
	sessions  []rtpengine.ID
	touched   time.Time               // the last request that kept the dialog's boxes fresh
	media     []rtpengine.Report      // of the sessions that have ended, the first keptMedia
	receipt   *receipt.Receipt        // nil unless protected
	forgotten bool                    // the receipt knows no fact any more
	anonymous bool                    // the caller asked to be nobody
	unnamed   bool                    // so has the callee, of a call that this one takes over
	from      dialogEnd               // the caller while it rings: where, and no more
	shownTag  string                  // of the facade; "" without
	ends      map[string][2]dialogEnd // by the answering device's tag: caller's, callee's end
}

// named is how the call's other party knows a party; zero where that is no user.
func (r *record) named(l leg) sip.Uri {
	who := r.caller
	if l == calleeLeg {
		who = r.callee
	}
	switch {
	case l == callerLeg && r.anonymous, l == calleeLeg && r.unnamed:
		return nobodyURI()
	case who.IsZero():
		return sip.Uri{}
	}
	return uriOf(who)
}

// CallInfo is a call as the operator and its owners see it.
type CallInfo struct {
	Ref       string    `json:"ref"`
	Caller    string    `json:"caller"`
	Callee    string    `json:"callee"`
	State     string    `json:"state"` // ringing, talking, silenced, ended
	Started   time.Time `json:"started"`
	Answered  time.Time `json:"answered,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Protected bool      `json:"protected"`
	Relayed   bool      `json:"relayed"`
	Code      int       `json:"code,omitempty"` // final response of the INVITE, 0 while pending
	How       string    `json:"how,omitempty"`  // how it ended
	Verdict   string    `json:"verdict"`
	Why       []string  `json:"why"` // for the owners: why it rang, was silenced, was protected
}

// States of a call.
const (
	stateRinging  = "ringing"
	stateTalking  = "talking"
	stateSilenced = "silenced"
	stateEnded    = "ended"
)

// A dialogEnd is one party's end of a dialog: what a request toward it needs
// that looks as if it came from the other party.
type dialogEnd struct {
	target  sip.Uri
	routes  []sip.Uri
	flow    flow.Ref
	binding uint64
	callID  string
	from    *sip.FromHeader // the other party, as this one knows it
	to      *sip.ToHeader
	cseq    uint32  // highest that this party has seen
	aor     aor.AOR // of the device that answered, also where it was redirected to; zero: elsewhere, or the caller
}

// A callTable holds the records. Safe for concurrent use.
type callTable struct {
	mu       sync.Mutex
	byKey    map[callKey]*record
	sessions map[rtpengine.ID]callKey
	ended    []*record // newest last
}

// Limits of the table (ours): what an owner may look back at.
const (
	keptEnded = 1000
	keptFor   = 24 * time.Hour
	keptMedia = 4 // a call that forked, or was transferred, has more than one session
	// lastWords is how long messages may follow the end of a call: longer than any
	// transaction (RFC 3261 §17: 64*T1).
	lastWords = 40 * time.Second
)

func newCallTable() *callTable {
	return &callTable{byKey: map[callKey]*record{}, sessions: map[rtpengine.ID]callKey{}}
}

// begin notes a new call. One that has its identifiers already, as only who breaks
// RFC 3261 §8.1.1.4 makes it, is noted as over: what it holds is freed with its BYE,
// or when its media is dead.
func (t *callTable) begin(r *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(r.key, "another call took its identifiers", r.Started)
	r.ends, r.touched = map[string][2]dialogEnd{}, r.Started
	t.byKey[r.key] = r
}

// change lets do change the record of key, if there is one.
func (t *callTable) change(key callKey, do func(*record)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byKey[key]; r != nil {
		do(r)
	}
}

// anchored notes that session carries media of the call.
func (t *callTable) anchored(key callKey, session rtpengine.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byKey[key]; r != nil {
		r.sessions = append(r.sessions, session)
		t.sessions[session] = key
	}
}

// end notes how a call ended; the record stays readable for a while.
func (t *callTable) end(key callKey, how string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(key, how, now)
}

// over is end. The caller holds mu.
func (t *callTable) over(key callKey, how string, now time.Time) {
	r := t.byKey[key]
	if r == nil {
		return
	}
	delete(t.byKey, key)
	for _, s := range r.sessions {
		delete(t.sessions, s)
	}
	if r.State != stateSilenced {
		r.State = stateEnded
	}
	r.How, r.Ended, r.ends = how, now, nil
	if t.ended = append(t.ended, r); len(t.ended) > keptEnded {
		t.ended = slices.Delete(t.ended, 0, len(t.ended)-keptEnded)
	}
}

// bySession finds the call that a media session belongs to.
func (t *callTable) bySession(id rtpengine.ID) (callKey, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.sessions[id]
	return k, ok
}

// answered says that the call has been answered.
func (t *callTable) answered(key callKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byKey[key]
	return r != nil && !r.Answered.IsZero()
}

// dialogs returns both ends of each answered dialog.
func (t *callTable) dialogs(key callKey) [][2]dialogEnd {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byKey[key]
	if r == nil {
		return nil
	}
	all := make([][2]dialogEnd, 0, len(r.ends))
	for _, e := range r.ends {
		all = append(all, e)
	}
	return all
}

// receiptFor is the receipt of a call, nil without.
func (t *callTable) receiptFor(key callKey) *receipt.Receipt {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byKey[key]; r != nil {
		return r.receipt
	}
	return nil
}

// receiptOf is the receipt of the call that a media session belongs to, nil without.
func (t *callTable) receiptOf(id rtpengine.ID) *receipt.Receipt {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byKey[t.sessions[id]]; r != nil {
		return r.receipt
	}
	return nil
}

// live is the number of calls that have not ended.
func (t *callTable) live() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
}

// list returns all calls, live ones and those that ended lately, oldest first.
func (t *callTable) list() []CallInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]CallInfo, 0, len(t.byKey)+len(t.ended))
	for _, r := range t.ended {
		all = append(all, r.CallInfo)
	}
	for _, r := range t.byKey {
		all = append(all, r.CallInfo)
	}
	slices.SortFunc(all, func(a, b CallInfo) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Ref, b.Ref))
	})
	return all
}

// record finds the record of a call by its Ref. It is called under the lock.
func (t *callTable) record(ref string) *record {
	for _, r := range t.ended {
		if r.Ref == ref {
			return r
		}
	}
	for _, r := range t.byKey {
		if r.Ref == ref {
			return r
		}
	}
	return nil
}

// find finds a call by its Ref, and its receipt, which may be nil.
func (t *callTable) find(ref string) (CallInfo, *receipt.Receipt, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(ref)
	if r == nil {
		return CallInfo{}, nil, false
	}
	return r.CallInfo, r.receipt, true
}

// sessionsOf lists the media sessions of a call that is under way.
func (t *callTable) sessionsOf(ref string) (all []rtpengine.ID, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.byKey {
		if r.Ref == ref {
			return slices.Clone(r.sessions), true
		}
	}
	return nil, false
}

// forget drops records that nobody needs: ended ones after a day, and live
// ones that never said BYE and whose boxes have expired. It returns the media
// sessions of these.
func (t *callTable) forget(now time.Time) []rtpengine.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := now.Add(-keptFor)
	t.ended = slices.DeleteFunc(t.ended, func(r *record) bool { return r.Ended.Before(old) })
	for _, r := range t.ended {
		if r.receipt != nil && !r.forgotten && now.Sub(r.Ended) > lastWords {
			r.forgotten = r.receipt.Finish()
		}
	}
	var orphans []rtpengine.ID
	for k, r := range t.byKey {
		if now.Sub(r.touched) <= boxLife {
			continue
		}
		delete(t.byKey, k)
		for _, s := range r.sessions {
			delete(t.sessions, s)
			orphans = append(orphans, s)
		}
	}
	return orphans
}

// Calls returns the calls under way and those that ended lately, oldest first.
func (p *Proxy) Calls() []CallInfo { return p.calls.list() }

// Explain says, for the owners of a call, why it rang or was silenced and
// what was done to protect it. ref is CallInfo.Ref.
func (p *Proxy) Explain(ref string) ([]string, bool) {
	c, r, ok := p.calls.find(ref)
	if !ok {
		return nil, false
	}
	return explain(c, p.seen(r)), true
}
