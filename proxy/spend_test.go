package proxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sotto/internal/aor"
)

// spends takes one after the other at one moment and returns how many were given.
func spends(s *spending, key string, own rate, known bool, now time.Time) (n int) {
	for s.takeFor(key, own, known, 1, now) {
		n++
	}
	return n
}

func TestSpendingOfOneAndOfAll(t *testing.T) {
	s, now := newSpending(), time.Unix(1_800_000_000, 0)
	if n := spends(s, "192.0.2.1", rateAddress, false, now); n != rateAddress.burst {
		t.Errorf("an address has %d tokens checked at once; want %d", n, rateAddress.burst)
	}
	all := rateAddress.burst
	for i := range 100 {
		all += spends(s, fmt.Sprint(i), rateAddress, false, now)
	}
	if all != rateNobody.burst {
		t.Errorf("all strangers have %d tokens checked at once; want %d", all, rateNobody.burst)
	}
	if n := spends(s, "carol@sotto.example", rateUser, true, now); n != rateUser.burst {
		t.Errorf("a user has %d tokens checked beside a flood; want %d", n, rateUser.burst)
	}
	now = now.Add(rateAddress.every)
	if n := spends(s, "192.0.2.1", rateAddress, false, now); n != 1 {
		t.Errorf("%d are given back after %v; want 1", n, rateAddress.every)
	}
	s.forget(now.Add(time.Minute))
	if len(s.until) != 0 {
		t.Errorf("%d are remembered who owe nothing", len(s.until))
	}
}

func TestSpenders(t *testing.T) {
	carol, err := aor.New("carol", "sotto.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who  identity
		from string
		want string
	}{
		{identity{}, "192.0.2.1", "192.0.2.1/32"},
		{identity{}, "::ffff:192.0.2.1", "192.0.2.1/32"},
		{identity{}, "2001:db8::1", "2001:db8::/64"},
		{identity{}, "2001:db8::2:0:0:1", "2001:db8::/64"},
		{identity{kind: digestUser, aor: carol}, "192.0.2.1", "carol@sotto.example"},
	} {
		if got := spender(c.who, netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("%v pays as %q; want %q", c.from, got, c.want)
		}
	}
}
