package proxy_test

import (
	"testing"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/tokens"
)

// Who shows one bogus token after the other soon shows none at all: not even a
// good one is looked at. It costs nobody else anything, and passes.
func TestBogusTokensAreCheckedOnlySoOften(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		eve := s.Phone("eve", func(c *phone.Config) { c.Domain = "evil.example" })
		open := s.Bob.Token(proxytest.Grant{Bind: tokens.Open})
		with := phone.Header("Privacy-Token", open.String())
		rings(t, s, eve, "bob", open, with)
		for range 20 {
			bogus := s.Bob.Forged(proxytest.Grant{Bind: tokens.Open})
			if code := eve.Asks("MESSAGE", "bob", phone.Header("Privacy-Token", bogus.String())); code != 202 {
				t.Fatalf("a stranger's MESSAGE is answered %d", code)
			}
		}
		silent(t, s, eve, "bob", with) // which takes half a minute: the budget is whole again
		rings(t, s, s.Carol, "bob", open, with)
		rings(t, s, eve, "bob", open, with)
	})
}
