package proxy_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"sotto/configs"
	"sotto/internal/memnet"
	"sotto/proxy/proxytest"
)

// A call whose media dies, of both parties or of one, is ended toward both, and
// both are told why, though not by whose silence. Once it is over it is over.
func TestMediaThatDiesEndsTheCall(t *testing.T) {
	timeouts := func(c *configs.Config) {
		c.Media.SilenceTimeout, c.Media.HalfTimeout = 30*time.Second, 2*time.Minute
	}
	for name, c := range map[string]struct {
		silent []string
		after  time.Duration
	}{
		"both":       {[]string{"alice", "bob"}, 30 * time.Second},
		"the caller": {[]string{"alice"}, 2 * time.Minute},
		"the callee": {[]string{"bob"}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
				diesFor(t, s, c.silent, c.after)
			}, proxytest.Colleagues, proxytest.Protect("always"), timeouts)
		})
	}
}

// diesFor has media of these parties lost in the middle of a call, which then
// is ended after so long.
func diesFor(t *testing.T, s *proxytest.Stage, silent []string, after time.Duration) {
	t.Helper()
	phones := map[string]*proxytest.Phone{"alice": s.Alice, "bob": s.Bob}
	s.Alice.Registers()
	s.Bob.Registers()
	out, in := s.Alice.Connect(s.Bob)
	out.Does(out.Hold) // numbers that a BYE has to be above
	out.Does(out.Resume)
	s.Wait(time.Second)
	s.Net.Decide(func(d memnet.Datagram) memnet.Fate {
		cut := slices.ContainsFunc(silent, func(who string) bool { return d.From.Addr() == phones[who].Local().Addr() })
		return memnet.Fate{Lost: cut && !bytes.Contains(d.Data, []byte("SIP/2.0"))}
	})
	cut := time.Now()
	for _, c := range []*proxytest.Call{out, in} {
		c.IsHungUp()
		if got := c.Gets("BYE").GetHeader("Reason"); got == nil || got.Value() != `SIP;cause=503;text="No media"` {
			t.Errorf("%s is told %v", c.Phone.User, got)
		}
	}
	if took := time.Since(cut); took < after || took > after+5*time.Second {
		t.Errorf("ended after %v, want %v", took, after)
	}
	calls := s.Proxy.Calls()
	if last := calls[len(calls)-1]; last.State != "ended" || last.How != "no media" {
		t.Errorf("the call is %s: %s", last.State, last.How)
	}
	s.Bob.KnowsNothingOf(s.Alice)
	s.Alice.KnowsNothingOf(s.Bob)
}
