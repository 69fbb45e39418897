package txn

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/memnet"
	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

// A far end is a layer that answers what comes as a phone does.
type far struct {
	refuse map[sip.RequestMethod]int // the final for each method
	heard  []string
}

func (u *far) Request(s *Server) {
	u.heard = append(u.heard, string(s.Req.Method))
	if s.Req.Method == sip.INVITE {
		_ = s.Reply(response(s.Req, 100))
		s.After(time.Second, func() { _ = s.Reply(response(s.Req, 180)) })
	}
	s.After(10*time.Second, func() { _ = s.Reply(response(s.Req, u.refuse[s.Req.Method])) })
}

func (u *far) Cancel(s *Server) {
	u.heard = append(u.heard, "cancel")
	_ = s.Reply(response(s.Req, 487))
}

func (u *far) Ack(*flow.Flow, *sip.Request)    { u.heard = append(u.heard, "ack") }
func (u *far) Stray(*flow.Flow, *sip.Response) { u.heard = append(u.heard, "stray") }

// near hears finals.
type near struct{ finals []int }

func (n *near) Response(_ *Client, res *sip.Response) {
	if res.StatusCode >= 200 {
		n.finals = append(n.finals, res.StatusCode)
	}
}

func (n *near) Failed(_ *Client, err error) { n.finals = append(n.finals, 408) }

// The loss ladder: each exchange goes well when any one of its datagrams is
// lost, and any two that follow each other. Everybody hears of everything once.
func TestLossLadder(t *testing.T) {
	for _, c := range []struct {
		name   string
		method sip.RequestMethod
		cancel time.Duration
		final  int
		heard  []string
	}{
		{"refused INVITE", sip.INVITE, 0, 486, []string{"INVITE"}},
		{"cancelled INVITE", sip.INVITE, 5 * time.Second, 487, []string{"INVITE", "cancel"}},
		{"answered MESSAGE", sip.MESSAGE, 0, 202, []string{"MESSAGE"}},
	} {
		for first := range 12 {
			for _, lost := range [][]int{{first}, {first, first + 1}} {
				t.Run(fmt.Sprintf("%s, %v lost", c.name, lost), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n, f := exchange(t, c.method, c.cancel, lost)
						if !slices.Equal(n.finals, []int{c.final}) || !slices.Equal(f.heard, c.heard) {
							t.Errorf("caller heard %v, far end %v", n.finals, f.heard)
						}
					})
				})
			}
		}
	}
}

// exchange is one transaction between two layers.
func exchange(t *testing.T, method sip.RequestMethod, cancel time.Duration, lost []int) (*near, *far) {
	t.Helper()
	net := memnet.New()
	net.Delay(20 * time.Millisecond)
	net.Lose(lost...)
	n, f := &near{}, &far{refuse: map[sip.RequestMethod]int{sip.INVITE: 486, sip.MESSAGE: 202}}
	one, two := New(Config{Handler: f, Workers: 1}), New(Config{Handler: f, Workers: 1})
	a := flow.New(flow.Config{Network: net.Host(ours.Addr()), Handler: one})
	b := flow.New(flow.Config{Network: net.Host(theirs.Addr()), Handler: two})
	_, err1 := a.Listen("udp", ours)
	_, err2 := b.Listen("udp", theirs)
	fl, err3 := a.To("udp", theirs, "")
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	err := one.Do("call", func() {
		c, err := one.Start("call", request(string(method)), fl, n)
		if err != nil {
			t.Error(err)
			return
		}
		if cancel > 0 {
			one.After("call", cancel, func() { c.Cancel() })
		}
	})
	if err != nil {
		t.Error(err)
	}
	time.Sleep(2 * time.Minute)
	if one.Transactions() != 0 || two.Transactions() != 0 {
		t.Errorf("%d and %d transactions left", one.Transactions(), two.Transactions())
	}
	for _, l := range []*Layer{one, two} {
		l.Close()
	}
	a.Close()
	b.Close()
	return n, f
}

// Branches are what transactions are known by: never the same twice.
func TestNewBranch(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		b := NewBranch()
		if seen[b] || len(b) != len(magicCookie)+24 || b[:7] != "z9hG4bK" {
			t.Fatal(b)
		}
		seen[b] = true
	}
}

func TestClosedLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Handler: &far{}})
		l.Close()
		l.Close()
		if err := l.Do("call", func() {}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// FuzzKeys checks that no request that the gate lets through breaks the keys.
func FuzzKeys(f *testing.F) {
	f.Add(wire.Bytes(request("INVITE")))
	f.Add(wire.Bytes(request("ACK", ";branch=z9hG4bKone", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Parse(b)
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *sip.Request:
			if serverKey(m) == "" || inviteKey(m) == "" || m.IsInvite() && serverKey(m) != inviteKey(m) {
				t.Errorf("%q, %q", serverKey(m), inviteKey(m))
			}
			_ = mergeKey(m)
			busy := response(m, 503)
			setTag(busy, "x")
			if clientKey(busy) == "" {
				t.Error("no client key")
			}
		case *sip.Response:
			_ = clientKey(m)
		}
	})
}
