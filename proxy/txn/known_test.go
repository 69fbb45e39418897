package txn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/memnet"
	"sotto/proxy/flow"
	"sotto/proxy/guard"
	"sotto/proxy/wire"
)

// notes is a transaction user that notes who asks.
type notes struct{ all []string }

func (n *notes) Request(s *Server)             { n.all = append(n.all, s.CallID()); s.Drop() }
func (*notes) Cancel(*Server)                  {}
func (*notes) Ack(*flow.Flow, *sip.Request)    {}
func (*notes) Stray(*flow.Flow, *sip.Response) {}

// Whatever waits for a worker, who is known comes first: before all strangers,
// and before all timers that are due but some; and nothing is forgotten.
func TestKnownBeforeStrangersAndTimers(t *testing.T) {
	const strangers, timers = 200, 10 * turn
	synctest.Test(t, func(t *testing.T) {
		n, net := &notes{}, memnet.New()
		l := New(Config{Handler: n, Workers: 1})
		known := netip.MustParseAddr("198.51.100.7")
		m := flow.New(flow.Config{
			Network: net.Host(ours.Addr()), Handler: messages{l},
			Guard: guard.New(guard.Config{Exempt: []netip.Prefix{netip.PrefixFrom(known, 32)}}),
		})
		defer m.Close()
		defer l.Close()
		if _, err := m.Listen("udp", ours); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		l.After("", 0, func() { <-hold })
		for i := range timers {
			l.After("", 0, func() { n.all = append(n.all, fmt.Sprint("timer ", i)) })
		}
		time.Sleep(time.Second) // now the worker is held, and all timers are due
		for i := range strangers {
			options(t, net, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), fmt.Sprint("stranger", i))
		}
		time.Sleep(time.Second)
		options(t, net, known, "known")
		time.Sleep(time.Second)
		close(hold)
		time.Sleep(time.Second)
		synctest.Wait()
		at := slices.Index(n.all, "known")
		if at < 0 || at > turn || len(n.all) != 1+strangers+timers {
			t.Fatalf("of %d the known one is in place %d", len(n.all), at)
		}
		if slices.ContainsFunc(n.all[:at], func(id string) bool { return !strings.HasPrefix(id, "timer") }) {
			t.Errorf("before the known one come %q", n.all[:at])
		}
	})
}

// options has somebody send an OPTIONS with a Call-ID.
func options(t *testing.T, net *memnet.Net, from netip.Addr, id string) {
	t.Helper()
	c, err := net.Host(from).ListenPacket(netip.AddrPortFrom(from, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // a socket in memory
	b := wire.Bytes(request("OPTIONS", "Call-ID: call", "Call-ID: "+id, "z9hG4bKone", "z9hG4bK"+id))
	if _, err := c.WriteToUDPAddrPort(b, ours); err != nil {
		t.Fatal(err)
	}
}

// messages hands up what comes in.
type messages struct{ l *Layer }

func (h messages) Message(f *flow.Flow, m sip.Message) { h.l.Message(f, m) }
func (messages) Closed(*flow.Flow)                     {}
