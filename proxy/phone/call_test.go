package phone

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"sotto/proxy/flow"
)

// A pair is two phones that call each other directly.
type pair struct {
	t          *testing.T
	ctx        context.Context
	alice, bob *Phone
}

// newPair opens two phones; a configuration may be changed first.
func newPair(t *testing.T, transport string, change ...func(a, b *Config)) *pair {
	t.Helper()
	a := Config{User: "alice", Domain: "a.example", Transport: transport, Local: loopback("127.0.0.1")}
	b := Config{User: "bob", Domain: "b.example", Transport: transport, Local: loopback("127.0.0.2")}
	for _, c := range change {
		c(&a, &b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return &pair{t: t, ctx: ctx, alice: open(t, a), bob: open(t, b)}
}

func loopback(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), 0) }

func open(t *testing.T, c Config) *Phone {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// to is bob's address as alice dials it.
func (w *pair) to() string {
	uri := "sip:bob@" + w.bob.Local().String()
	if t := w.bob.cfg.Transport; t != "udp" {
		uri += ";transport=" + t
	}
	return uri
}

// talk connects the two.
func (w *pair) talk(opts ...Option) (out, in *Call) {
	w.t.Helper()
	out, err := w.alice.Invite(w.to(), opts...)
	w.must(err)
	in, err = w.bob.Incoming(w.ctx)
	w.must(err)
	w.must(in.Ring(w.ctx))
	_, err = out.Progress(w.ctx, 180)
	w.must(err)
	w.must(in.Answer(w.ctx))
	w.must(out.Answered(w.ctx))
	return out, in
}

func (w *pair) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// audible checks that each hears the other.
func (w *pair) audible(out, in *Call) {
	w.t.Helper()
	out.Tone(440)
	in.Tone(880)
	w.must(in.Hears(w.ctx, 440))
	w.must(out.Hears(w.ctx, 880))
}

func TestCallOverRealSockets(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			w := newPair(t, transport)
			out, in := w.talk()
			w.audible(out, in)
			w.must(out.Bye(w.ctx))
			w.must(in.Ended(w.ctx))
			if err := out.Bye(w.ctx); !errors.Is(err, ErrEnded) {
				t.Errorf("a second BYE: %v", err)
			}
		})
	}
}

var _ flow.Network = (*tapNetwork)(nil)
