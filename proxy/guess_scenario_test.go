package proxy_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// enrols has a phone register and returns the code of the refusal, 200 without.
func enrols(p *proxytest.Phone) (code int) {
	p.Does(func(ctx context.Context) error {
		_, err := p.Register(ctx)
		code = phone.Status(err)
		return nil
	})
	return code
}

// Guessing bob's password is slowed down, and bob, who is at home, does not
// notice: neither now nor after a restart.
func TestGuessingLocksNobodyOut(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Registers()
		eve := s.Phone("bob", func(c *phone.Config) { c.Password = "guess" })
		for range 2 {
			for range 15 { // two passwords each
				if code := enrols(eve); code != 401 {
					t.Fatalf("a guess is answered %d", code)
				}
			}
			away := s.Phone("bob")
			if code := enrols(away); code != 401 {
				t.Errorf("from elsewhere the right password is looked at: %d", code)
			}
			s.Bob.Registers()
			s.Bob.Invites("nobody").IsRefused(404)
			s.Wait(time.Minute)
			if code := enrols(away); code != 200 {
				t.Errorf("a minute after the guesses: %d", code)
			}
			s.Restart()
		}
	}, proxytest.Colleagues)
}

// Behind a peer there are many users: what one of them guesses is not put
// down to all of them. Elsewhere it is put down to the address.
func TestGuessingBehindAPeer(t *testing.T) {
	for peers, want := range map[string]int{"203.0.113.1": 401, "198.51.100.0/24": 200} {
		t.Run(peers, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				var edge phone.Config
				guesser := s.Phone("nobody", func(c *phone.Config) { c.Password, edge = "guess", *c })
				beside := func(port uint16, password string) func(*phone.Config) {
					return func(c *phone.Config) {
						c.Network, c.Local = edge.Network, netip.AddrPortFrom(edge.Local.Addr(), port)
						c.Password = password
					}
				}
				another := s.Phone("nobody2", beside(5070, "guess"))
				for range 10 { // two passwords each, less than may be guessed of an account
					enrols(guesser)
					enrols(another)
				}
				alice := s.Phone("alice", beside(5072, proxytest.Password))
				if code := enrols(alice); code != want {
					t.Errorf("alice, at the same address, is answered %d", code)
				}
			}, func(c *configs.Config) {
				c.Peers = []configs.Peer{{Name: "edge", Addresses: prefixes(peers)}}
			})
		})
	}
}
