package location

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// Of TestConcurrent: few enough that everybody meets everybody.
const (
	users, flows = 8, 5
	perAOR       = 4
	total        = 20
)

// TestConcurrent: everything at once, for the race detector; afterwards the
// indexes agree, and with the connections everything is gone.
func TestConcurrent(t *testing.T) {
	tab := New(Limits{PerAOR: perAOR, Total: total})
	var wg sync.WaitGroup
	for seed := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for i := range 500 {
				disturb(t, tab, r, fmt.Sprint(seed, "-", i))
			}
		})
	}
	wg.Wait()
	consistent(t, tab)
	for n := range flows {
		tab.FlowClosed(over(n), nil)
	}
	if tab.Len() != 0 {
		t.Errorf("%d bindings are left without a connection", tab.Len())
	}
}

// disturb does one thing, by chance.
func disturb(t *testing.T, tab *Table, r *rand.Rand, callID string) {
	a, f := who(t, fmt.Sprint("u", r.IntN(users))), over(r.IntN(flows))
	switch r.IntN(8) {
	case 0:
		tab.FlowClosed(f, nil)
	case 1:
		tab.Expire(at(r.IntN(70)))
	case 2:
		_ = tab.RemoveAll(a, callID, 1, at(0))
	case 3:
		if err := New(Limits{}).Restore(tab.Snapshot(), at(0)); err != nil {
			t.Error(err)
		}
	case 4:
		if b, ok := tab.ByID(tab.ByFlow(f)); ok && b.Contact == "" {
			t.Error("half a binding")
		}
	default:
		c := bind(fmt.Sprint(r.IntN(6)), func(b *Binding) { b.Flow, b.Path = f, []string{"p"} })
		bs, err := tab.Update(a, callID, 1, []Change{c}, at(0))
		if len(bs) > perAOR || tab.Len() > total || err != nil && !errors.Is(err, ErrTooMany) {
			t.Errorf("%d bindings, %d in all, %v", len(bs), tab.Len(), err)
		}
	}
}
