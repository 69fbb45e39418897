package proxy

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// guess tries wrong passwords and returns how many were looked at.
func guess(g *guesses, from string, account string, times int) (looked int) {
	for range times {
		if a := netip.MustParseAddr(from); g.may(a, account, time.Now()) {
			g.wrong(a, account, time.Now())
			looked++
		}
	}
	return looked
}

func TestGuessesOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for from, beside := range map[string]string{
			"192.0.2.1": "192.0.2.2", "2001:db8:0:1::1": "2001:db8:0:2::1",
		} {
			g := newGuesses()
			n := 0
			for i := range 1000 { // each at another account
				n += guess(g, from, fmt.Sprint(i), 1)
			}
			if n != ofAddress.free {
				t.Errorf("%s: %d passwords were looked at", from, n)
			}
			if n := guess(g, beside, "bob", 1); n != 1 {
				t.Errorf("%s pays for %s", beside, from)
			}
			time.Sleep(time.Hour)
			if n := guess(g, from, "carol", 1); n != 1 {
				t.Errorf("%s is held back for ever", from)
			}
		}
	})
}

// A party's IPv6 addresses are one.
func TestGuessesOfANetwork(t *testing.T) {
	g := newGuesses()
	if n := guess(g, "2001:db8::1", "a", 15) + guess(g, "2001:db8::ffff:1", "b", 20); n != ofAddress.free {
		t.Errorf("%d passwords were looked at", n)
	}
}

func TestGuessesOfAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, n := newGuesses(), 0
		for i := range 1000 { // each from another address
			n += guess(g, fmt.Sprintf("198.51.%d.%d", i/250, i%250), "bob", 1)
		}
		if n != ofAccount.free {
			t.Errorf("%d passwords were looked at", n)
		}
		if n := guess(g, "192.0.2.1", "carol", 1); n != 1 {
			t.Error("carol pays for bob")
		}
		for range 24 * 60 { // a day of it
			time.Sleep(time.Minute)
			n += guess(g, "192.0.2.9", "bob", 100)
		}
		if n > 24*60*6+ofAccount.free {
			t.Errorf("%d passwords were looked at in a day", n)
		}
	})
}

// Who has proved itself is not kept out by others' guesses, and has no more
// than an allowance for wrong ones either.
func TestGuessesLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, at := newGuesses(), netip.MustParseAddr("192.0.2.1")
		g.right(at, "bob", time.Now())
		guess(g, "198.51.100.1", "bob", 1000)
		guess(g, "192.0.2.1", "carol", 1000) // behind the same NAT
		if guess(g, "192.0.2.2", "bob", 1) != 0 || !g.may(at, "bob", time.Now()) {
			t.Error("bob is locked out at home")
		}
		if n := guess(g, "192.0.2.1", "bob", 1000); n != atHome.free {
			t.Errorf("%d passwords were looked at from bob's home", n)
		}
		for range 4 { // he registers now and then
			time.Sleep(20 * time.Hour)
			if !g.may(at, "bob", time.Now()) {
				t.Fatal("bob is locked out later")
			}
			g.right(at, "bob", time.Now())
			guess(g, "198.51.100.1", "bob", 1000)
		}
	})
}

// The table of acquaintances is bounded, and they are forgotten with it.
func TestAcquaintancesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, at := newGuesses(), netip.MustParseAddr("192.0.2.1")
		g.right(at, "bob", time.Now())
		time.Sleep(knownLife)
		for i := range 2 * maxKnown { // many others
			g.right(at, fmt.Sprint(i), time.Now())
		}
		if len(g.known)+len(g.before) > 2*maxKnown {
			t.Errorf("%d acquaintances are kept", len(g.known)+len(g.before))
		}
		guess(g, "198.51.100.1", "bob", 1000)
		if guess(g, "192.0.2.1", "bob", 1) != 0 {
			t.Error("an acquaintance outlasts its table")
		}
	})
}

// A password is not looked at, not even the right one, once the allowance is
// spent; the way in which the name is written makes no difference.
func TestCheckIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, req := testAuthenticator(t), requestTo("sip:alice@example.com")
		try := func(name, password string, from netip.Addr) authResult {
			x := attempt{user: name, password: password, uri: "sip:alice@example.com", count: 1}
			_, got := a.check(x.answer(t, a.challenges(testRealm, from, false)), testRealm, req, from, bobOnly)
			return got
		}
		if got := try("bob", testPassword, home); got != authOK {
			t.Fatal(got)
		}
		for i := range ofAccount.free {
			name := []string{"bob", "%62ob", "bob+pt1.x"}[i%3]
			try(name, "guess", netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
		}
		elsewhere := netip.MustParseAddr("203.0.113.1")
		if got := try("bob", testPassword, elsewhere); got != authWrong {
			t.Errorf("after %d wrong passwords: %v", ofAccount.free, got)
		}
		if got := try("bob", testPassword, home); got != authOK {
			t.Errorf("from home: %v", got)
		}
		time.Sleep(ofAccount.every)
		if got := try("bob", testPassword, elsewhere); got != authOK {
			t.Errorf("a while later: %v", got)
		}
	})
}

// Who writes bob's address as his own, and so hears nothing, uses up nothing
// of what may be tried from there.
func TestGuessesFromABorrowedAddress(t *testing.T) {
	a, req := testAuthenticator(t), requestTo("sip:alice@example.com")
	eve := netip.MustParseAddr("198.51.100.1")
	for _, password := range []string{"guess", testPassword} {
		for range 2 * atHome.free {
			x := attempt{user: "bob", password: password, uri: "sip:alice@example.com", count: 1}
			value := x.answer(t, a.challenges(testRealm, eve, false))
			if _, got := a.check(value, testRealm, req, home, bobOnly); got != authStale {
				t.Fatalf("a nonce that was given to another address, with %q: %v", password, got)
			}
		}
	}
	x := attempt{user: "bob", password: testPassword, uri: "sip:alice@example.com", count: 1}
	if _, got := a.check(x.answer(t, a.challenges(testRealm, home, false)), testRealm, req, home, bobOnly); got != authOK {
		t.Errorf("bob himself: %v", got)
	}
}
