package proxytest

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// maxRungs bounds a ladder: no script sends so many datagrams.
const maxRungs = 500

// Ladder plays a script again and again: with no datagram of SIP lost, then
// with the first, the second, the third lost, to the last that it sends. Each
// must end in the same way; only it may take longer. What before does, the
// registrations, is not disturbed.
func Ladder(t *testing.T, before, script func(*testing.T, *Stage), opts ...Option) {
	t.Helper()
	for n := range maxRungs {
		lost := 0
		t.Run(fmt.Sprintf("datagram %d lost", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(t, opts...)
				before(t, s)
				s.Net.Lose(n)
				script(t, s)
				lost = s.Net.Lost()
			})
		})
		if n > 0 && lost == 0 {
			return
		}
	}
	t.Errorf("a script of more than %d datagrams", maxRungs)
}
