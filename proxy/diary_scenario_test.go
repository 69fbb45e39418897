package proxy_test

import (
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
	"sotto/tokens"
)

// What the disk does after a stranger's call comes well behind the INVITE, and is
// as much whatever becomes of the call: else what is asked right behind it, or a
// look at how busy the machine is, would tell who silences.
func TestStrangersCallsCostTheDiskAlike(t *testing.T) {
	var alike int64
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				state.make(s)
				s.Mallory.Registers()
				tries(s.Mallory, "bob")
				s.Wait(2 * time.Minute) // she is remembered, and the notice is out
				began := s.Written()
				out := s.Mallory.Invites("bob")
				out.HearsProgress(100)
				s.Wait(200 * time.Millisecond)
				soon := s.Written() - began
				if soon != 0 && state.quiet {
					t.Errorf("%d bytes are written within 200 ms", soon)
				}
				s.Wait(time.Second)
				took := s.Written() - began
				out.GivesUp()
				t.Logf("%d bytes", took)
				switch {
				case !state.quiet: // a relay may be kept as well
				case alike == 0 && took > 0:
					alike = took
				case took != alike:
					t.Errorf("%d bytes are written; in another state %d", took, alike)
				}
			})
		})
	}
}

// A server that is killed a second after a silenced call tells of it all the same.
func TestSilencedCallsAreKeptWithinASecond(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		for _, p := range []*proxytest.Phone{s.Carol, s.Mallory} {
			out := p.Invites("bob")
			out.HearsProgress(100)
			defer out.GivesUp()
		}
		s.Wait(time.Second)
		kept, err := s.Store.ListSilenced(proxytest.AOR("bob"), 10)
		if err != nil || len(kept) != 2 {
			t.Errorf("after a second the store has %+v, %v", kept, err)
		}
	})
}

// While the disk takes nothing calls are answered, and in the end all are kept.
func TestSilencedCallsWaitForTheDisk(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		s.Bob.Forget()
		unlock := s.LockStore()
		for range 3 {
			tries(s.Mallory, "bob")
			s.Wait(2 * time.Second)
		}
		unlock()
		s.Wait(time.Minute)
		if n := counted(t, notices(s, s.Bob)); n != 3 {
			t.Errorf("bob was told of %d calls; want 3", n)
		}
	})
}

// A disk that takes nothing for longer than a call with a token lasts: the token
// does not count, and what is written in the end is of a call that is over.
func TestTokenIsWrittenDownAfterItsCall(t *testing.T) {
	screened(t, func(t *testing.T, s *proxytest.Stage) {
		tok := s.Bob.Token(proxytest.Grant{Bind: tokens.Open})
		unlock := s.LockStore()
		tries(s.Mallory, "bob") // what is kept of that is tried until it is taken
		s.Wait(2 * time.Second)
		silent(t, s, s.Carol, "bob", phone.Header("Privacy-Token", tok.String()))
		unlock()
		s.Wait(time.Minute)
		if n := counted(t, notices(s, s.Bob)); n != 2 {
			t.Errorf("bob was told of %d calls; want 2", n)
		}
	})
}
