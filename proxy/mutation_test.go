package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// A search that finds nothing proves nothing until it is seen to find. Each
// treatment of a header that crosses is replaced, in a copy of the table, by one that
// lets the header pass as it is; the markers must then be found, and with the
// table as it is they must not.
func TestEveryRemovedTreatmentIsCaught(t *testing.T) {
	whole := treatments[:crossingHeaders]
	for i, lost := range whole {
		t.Run(lost.name, func(t *testing.T) {
			mutant := slices.Clone(whole)
			mutant[i].make = asItIs
			if found := leakThrough(t, lost.name, mutant); found == "" {
				t.Errorf("without the treatment of %s no marker is found", lost.name)
			}
			if found := leakThrough(t, lost.name, whole); found != "" {
				t.Errorf("%s lets %s pass", lost.name, found)
			}
		})
	}
}

// The same for each header that never leaves: a table with one line more, by
// which it leaves as it came, is caught.
func TestEveryHeaderThatStaysIsMissed(t *testing.T) {
	whole := treatments[:crossingHeaders]
	stays := treatments[crossingHeaders:]
	for _, one := range append(stays[:len(stays):len(stays)], headerTreatment{name: "X-Unknown"}) {
		mutant := slices.Clone(whole)
		mutant[0] = headerTreatment{name: one.name, make: func(_ hide, s headerSet) (string, error) {
			return strings.Join(valuesOf(s.in, one.name), ", "), nil
		}}
		if leakThrough(t, one.name, mutant) == "" {
			t.Errorf("%s leaves, and no marker is found", one.name)
		}
		if found := leakThrough(t, one.name, whole); found != "" {
			t.Errorf("%s lets %s pass", one.name, found)
		}
	}
}

// asItIs is no treatment at all.
func asItIs(_ hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	return s.values[0], nil
}

// leakThrough is a marker that crosses in a header of that name, "" for none.
func leakThrough(t *testing.T, name string, table []headerTreatment) string {
	t.Helper()
	for _, v := range dirty(name) {
		m, err := sip.NewParser().ParseSIP([]byte(invite(name + ": " + v)))
		if err != nil {
			continue // the gate's business
		}
		out := sip.NewRequest(sip.INVITE, bobsContact)
		if err := aliceSends(t).treat(out, m, sip.INVITE, table); err != nil {
			continue // it does not cross at all
		}
		if found := leak(out.String()); found != "" {
			return found
		}
	}
	return ""
}
