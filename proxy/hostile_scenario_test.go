package proxy_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sotto/configs"
	"sotto/proxy/hostile"
	"sotto/proxy/proxytest"
)

// maxActs bounds a hostile script: no state needs more messages to be reached.
const maxActs = 60

// choices are the bytes of a fuzz input, one for each decision; when they are
// used up, every decision is for the first.
type choices struct{ left []byte }

func (c *choices) choose(n int) int {
	v := 0
	for m := n; m > 1; m >>= 8 {
		v <<= 8
		if len(c.left) > 0 {
			v |= int(c.left[0])
			c.left = c.left[1:]
		}
	}
	return v % n
}

// FuzzHostile lets two hostile peers act on a whole server, a stranger and a
// user whom everybody knows. Whatever they send, others' calls must complete
// in time while they do, what the server holds must be bounded, and nothing
// may be left of them in the end.
func FuzzHostile(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	for seed := range 6 {
		long := make([]byte, 400)
		x := uint32(seed + 1)
		for i := range long {
			x = x*1664525 + 1013904223
			long[i] = byte(x >> 24)
		}
		f.Add(long)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		protect := "strangers"
		if len(script)%2 == 1 {
			protect = "always"
		}
		synctest.Test(t, func(t *testing.T) { besiege(t, script, protect) })
	})
}

// besiege is one script, from the first registration to the last timer.
func besiege(t *testing.T, script []byte, protect string) {
	s := proxytest.New(t, proxytest.Colleagues, func(c *configs.Config) {
		c.Register.PerUser = 3
		if len(script)%4 < 2 { // no budget keeps the two from what lies behind it
			c.Limits.Exempt = prefixes("198.51.100.200/31")
		}
	})
	s.Set("bob", "protect_ip", protect)
	s.Alice.Registers()
	s.Bob.Registers()
	c := &choices{script}
	peers := []*hostile.Peer{
		peer(t, s, "198.51.100.200", "", c),
		peer(t, s, "198.51.100.201", "carol", c),
	}
	for range 2 { // carol registers
		peers[1].Act()
		s.Wait(20 * time.Millisecond)
	}
	for acts := 0; acts < maxActs && len(c.left) > 0; acts++ {
		peers[c.choose(len(peers))].Act()
		waits := []time.Duration{time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond, 5 * time.Second}
		s.Wait(waits[c.choose(len(waits))])
		if now := s.Proxy.Totals(); now.Calls > maxActs || now.Transactions > 20*maxActs || now.Sessions > 5*maxActs {
			t.Fatalf("%d messages made the server hold %+v", acts, now)
		}
	}
	completes(t, s)
	for _, p := range peers {
		p.Close()
	}
	if s.Wait(5 * time.Minute); s.Proxy.Totals().Calls > 0 {
		s.Wait(25 * time.Hour) // what was never hung up ends with its boxes
	}
}

// peer places a hostile peer on the stage's network.
func peer(t *testing.T, s *proxytest.Stage, at, user string, c *choices) *hostile.Peer {
	t.Helper()
	local := netip.AddrPortFrom(netip.MustParseAddr(at), 5060)
	conn, err := s.Net.Host(local.Addr()).ListenPacket(local)
	if err != nil {
		t.Fatal(err)
	}
	password := ""
	if user != "" {
		password = proxytest.Password
	}
	return hostile.New(hostile.Config{
		Conn: conn, Local: local, Server: proxytest.Server, Domain: proxytest.Domain,
		User: user, Password: password, Targets: []string{"carol", "bob", "alice", "nobody"}, Choose: c.choose,
	})
}

// completes checks that alice reaches bob, and how soon. What else rang at
// bob's is refused.
func completes(t *testing.T, s *proxytest.Stage) {
	t.Helper()
	began := time.Now()
	out := s.Alice.Invites("bob")
	var in *proxytest.Call
	for {
		if in = s.Bob.IsCalled(); in.Invite.From().Address.User == "alice" {
			break
		}
		if in.Why() == nil {
			_ = in.Reject(486) // it may have ended meanwhile
		}
	}
	in.Rings()
	in.Answers()
	out.IsAnswered()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("alice's call to bob took %v", took)
	}
	proxytest.Talk(out, in)
	out.HangsUp()
	in.IsHungUp()
}
