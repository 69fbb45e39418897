package proxy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sotto/proxy"
	"sotto/proxy/proxytest"
)

// sealedCall is a stage with a protected call of alice's to bob, and with what
// each was given as the other's contact.
func sealedCall(t *testing.T, script func(t *testing.T, s *proxytest.Stage, alice, bob string)) {
	t.Helper()
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		s.Bob.Registers()
		s.Mallory.Registers()
		out, in := s.Alice.Connect(s.Bob)
		bob, _ := out.Dialog()
		alice, _ := in.Dialog()
		script(t, s, alice, bob)
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}

func TestSealedContactIsGoodInItsDialogOnly(t *testing.T) {
	sealedCall(t, func(t *testing.T, s *proxytest.Stage, alice, bob string) {
		s.Alice.Forget()
		s.Bob.Forget()
		for _, to := range []string{alice, bob} {
			for _, method := range []string{"INFO", "BYE", "MESSAGE", "OPTIONS", "REFER", "NOTIFY"} {
				if code := s.Mallory.Asks(method, to); code != 481 {
					t.Errorf("mallory's %s to a stolen contact was answered %d; want 481", method, code)
				}
			}
			s.Mallory.Invites(to).IsRefused(481)
		}
		for _, p := range []*proxytest.Phone{s.Alice, s.Bob} {
			if heard := p.Heard(); len(heard) > 0 {
				t.Errorf("%s heard %q", p.User, heard)
			}
		}
	})
}

func TestSealedContactThatWasAlteredIsWorthless(t *testing.T) {
	sealedCall(t, func(t *testing.T, s *proxytest.Stage, alice, _ string) {
		user, host, _ := strings.Cut(strings.TrimPrefix(alice, "sip:"), "@")
		for i := range user {
			if i%7 != 0 {
				continue
			}
			other := byte('A')
			if user[i] == other {
				other = 'B'
			}
			uri := "sip:" + user[:i] + string(other) + user[i+1:] + "@" + host
			if code := s.Mallory.Asks("INFO", uri); code/100 == 2 {
				t.Errorf("letter %d of the seal can be altered", i)
			}
		}
	})
}

func TestNothingOfOneCallTellsOfAnother(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Alice.Registers()
		s.Bob.Registers()
		seen := map[string]bool{}
		for range 3 {
			out, in := s.Alice.Connect(s.Bob)
			contact, _ := in.Dialog()
			for _, id := range []string{in.ID(), contact, in.Remote().String()} {
				if seen[id] {
					t.Errorf("%s was used twice", id)
				}
				seen[id] = true
			}
			out.HangsUp()
			in.IsHungUp()
		}
	}, proxytest.Colleagues)
}

// A week after it was made the sealing key is replaced. A call that began
// before goes on, in both directions and also after a restart.
func TestSealingKeyIsReplacedUnderACall(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Set("alice", "protect_ip", "always")
		s.Wait(7*24*time.Hour - 15*time.Second)
		first := sealKeyMade(t, s)
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		bothAsk := func(when string) {
			for _, end := range []*proxytest.Call{out, in} {
				if code := end.Asks("INFO"); code != 200 {
					t.Errorf("INFO %s: %d", when, code)
				}
			}
		}
		bothAsk("before the key was replaced")
		s.Wait(30 * time.Second)
		if made := sealKeyMade(t, s); !made.After(first) {
			t.Errorf("the key is still the one of %s", first)
		}
		bothAsk("after the key was replaced")
		if err := s.Proxy.RotateKeys(); !errors.Is(err, proxy.ErrTooSoon) {
			t.Errorf("another rotation on the same day would cut the call: %v", err)
		}
		s.Restart()
		bothAsk("after the restart")
		in.HangsUp()
		out.IsHungUp()
		s.Bob.KnowsNothingOf(s.Alice)
	}, proxytest.Colleagues)
}

func sealKeyMade(t *testing.T, s *proxytest.Stage) time.Time {
	t.Helper()
	made, err := s.Store.SecretMade("seal")
	if err != nil {
		t.Fatal(err)
	}
	return made
}
