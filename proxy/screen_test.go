package proxy

import (
	"strings"
	"testing"
)

// rules are those of design §5 in its order: the first fact that holds decides.
var rules = []struct {
	set     func(*facts)
	verdict verdict
	reason  reason
	known   bool // the caller is no stranger by this fact
}{
	{func(f *facts) { f.blocked = true }, silence, blockedByRecipient, false},
	{func(f *facts) { f.ringStranger = true }, ring, notSilencing, false},
	{func(f *facts) { f.token = true }, ring, validToken, true},
	{func(f *facts) { f.recent = true }, ring, recentContact, true},
	{func(f *facts) { f.organisation = true }, ring, sameOrganisation, true},
	{func(f *facts) { f.psap = true }, ring, emergencyCallback, true},
	{func(f *facts) { f.window = true }, ring, openWindow, false},
}

// Every combination of facts is tried: 128.
func TestScreen(t *testing.T) {
	for mask := range 1 << len(rules) {
		var f facts
		verdict, reason, known := silence, unknownCaller, false
		for i := len(rules) - 1; i >= 0; i-- {
			if mask>>i&1 == 1 {
				rules[i].set(&f)
				verdict, reason = rules[i].verdict, rules[i].reason
				known = known || rules[i].known
			}
		}
		known = known && !f.blocked
		if v, r := screen(f); v != verdict || r != reason {
			t.Errorf("%+v: %v, %v; want %v, %v", f, v, r, verdict, reason)
		}
		if f.known() != known {
			t.Errorf("%+v: known %v", f, f.known())
		}
	}
}

func TestZeroIsStrict(t *testing.T) {
	var (
		f facts
		v verdict
	)
	if v != silence || f.known() {
		t.Error("the zero value lets somebody ring")
	}
	if got, _ := screen(f); got != silence {
		t.Errorf("no facts: %v", got)
	}
}

// The owner must be able to read why; the text must say what happened.
func TestReasonsAreReadable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(rules, rules[0]) {
		want := map[verdict]string{ring: "rang: ", silence: "silenced: "}[r.verdict]
		if !strings.HasPrefix(r.reason.String(), want) {
			t.Errorf("%v is not said in %q", r.verdict, r.reason)
		}
		seen[r.reason.String()] = true
	}
	if len(seen) != len(rules) {
		t.Errorf("%d texts for %d reasons", len(seen), len(rules))
	}
	if got := reason(200).String(); got != unknownCaller.String() {
		t.Errorf("unknown reason: %q", got)
	}
	if ring.String() != "ring" || silence.String() != "silence" {
		t.Error(ring, silence)
	}
}
