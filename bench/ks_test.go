package bench

import (
	"context"
	"flag"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sotto/configs"
	"sotto/internal/aor"
	"sotto/internal/ks"
	"sotto/location"
	"sotto/proxy"
	softphone "sotto/proxy/phone"
	"sotto/rtpengine"
	"sotto/store"
)

var ksRun = flag.Bool("ks", false, "measure over sockets whether times tell a recipient's state; two minutes")

// ksCalls is how often each recipient is called (facade.md).
const ksCalls = 200

// recipients are users in one state each; "ghost" does not exist.
var recipients = []string{"rings", "silences", "blocked", "offline", "ghost"}

// A sample is the times of one kind of answer, by recipient.
type sample map[string][]time.Duration

// TestKS has a stranger call five recipients 200 times each, in random order, over
// UDP sockets of loopback, and ask them what else there is to ask. The kernel says
// when an answer is on the wire. It reports D and
// p of Kolmogorov's and Smirnov's test for each answer and pair of recipients. What
// fails it is a difference that chance makes once in ten thousand times.
func TestKS(t *testing.T) {
	if !*ksRun {
		t.Skip("with -ks only: it takes two minutes, and a machine without much else to do")
	}
	server := strangersServer(t)
	wire := newStamps()
	open := func(user string) *softphone.Phone {
		p, err := softphone.New(softphone.Config{
			User: user, Domain: domain, Password: password, Server: server, Local: netip.AddrPortFrom(loopback, 0),
			Network: wire,
		})
		must(t, err)
		t.Cleanup(p.Close)
		return p
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	quiet := []*softphone.Phone{open("silences"), open("blocked")}
	for _, p := range append(quiet, open("rings")) {
		_, err := p.Register(ctx)
		must(t, err)
	}
	mallory := open("mallory")
	_, err := mallory.Register(ctx)
	must(t, err)
	for _, p := range quiet {
		p.Forget()
	}
	for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE", "REGISTER"} {
		compare(t, method, asked(ctx, t, mallory, wire, method))
	}
	answers := called(ctx, t, mallory, wire)
	for _, what := range []string{"INVITE 100", "INVITE 180", "INVITE 480", "OPTIONS behind"} {
		compare(t, what, answers[what])
	}
	for _, p := range quiet {
		for _, k := range p.Received() {
			if !strings.HasPrefix(string(k.Data), "MESSAGE ") {
				t.Errorf("a silenced call reached a phone:\n%s", k.Data)
			}
		}
	}
}

// inTurn are the recipients so often, in random order: what else the machine does
// meets all alike.
func inTurn() []string {
	var all []string
	for range ksCalls {
		for _, i := range rand.Perm(len(recipients)) {
			all = append(all, recipients[i])
		}
	}
	return all
}

// asked are the times from a request to its answer.
func asked(ctx context.Context, t *testing.T, from *softphone.Phone, wire *stamps, method string) sample {
	t.Helper()
	s := sample{}
	for _, to := range inTurn() {
		res, err := from.Request(ctx, method, "sip:"+to+"@"+domain, softphone.Header("Event", "presence"))
		if res == nil {
			t.Fatal(err)
		}
		if d, ok := wire.of(res.CallID().Value(), strconv.Itoa(res.StatusCode)); ok {
			s[to] = append(s[to], d)
		}
	}
	return s
}

// called are the times from an INVITE to each of its answers, and from an OPTIONS
// that is sent right behind it: whatever the server does for the call is in its way.
func called(ctx context.Context, t *testing.T, from *softphone.Phone, wire *stamps) map[string]sample {
	t.Helper()
	calls, order := map[string][]*softphone.Call{}, inTurn()
	all := map[string]sample{"INVITE 100": {}, "INVITE 180": {}, "INVITE 480": {}, "OPTIONS behind": {}}
	for _, to := range order {
		c, err := from.Invite("sip:" + to + "@" + domain)
		must(t, err)
		calls[to] = append(calls[to], c)
		res, err := from.Request(ctx, "OPTIONS", "sip:"+to+"@"+domain)
		must(t, err)
		if d, ok := wire.of(res.CallID().Value(), "200"); ok {
			all["OPTIONS behind"][to] = append(all["OPTIONS behind"][to], d)
		}
		time.Sleep(25*time.Millisecond + rand.N(10*time.Millisecond)) // of no tick's length
	}
	for to, some := range calls {
		for _, c := range some {
			if code := softphone.Status(c.Answered(ctx)); code != 480 {
				t.Errorf("%s was answered %d", to, code)
			}
			heard(all, to, wire, c.ID())
		}
	}
	return all
}

// heard adds the times of the answers to one INVITE.
func heard(all map[string]sample, to string, wire *stamps, callID string) {
	for _, code := range []string{"100", "180", "480"} {
		if d, ok := wire.of(callID, code); ok {
			s := all["INVITE "+code]
			s[to] = append(s[to], d)
		}
	}
}

// compare reports how the times of each two recipients differ.
func compare(t *testing.T, what string, s sample) {
	t.Helper()
	for i, a := range recipients {
		for _, b := range recipients[:i] {
			d, p := ks.Test(s[a], s[b])
			t.Logf("%-14s %-9s %-9s n = %d, %d  D = %.3f  p = %.3f", what, b, a, len(s[b]), len(s[a]), d, p)
			if p < 1e-4 || len(s[a]) < ksCalls || len(s[b]) < ksCalls {
				t.Errorf("%s tells %s from %s: p = %.2g", what, b, a, p)
			}
		}
	}
}

// strangersServer runs a server whose users are strangers to each other.
func strangersServer(t *testing.T) netip.AddrPort {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c := configs.Default()
	c.Domains = []string{domain}
	c.Listen = []configs.Listen{{Transport: "udp", Addr: netip.AddrPortFrom(loopback, 0)}}
	c.Limits.RequestsPerUser = 100_000 // one stranger is all
	c.Limits.Exempt = []configs.Prefix{{Prefix: netip.PrefixFrom(loopback, 32)}}
	st, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "sotto.db"), log)
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	for _, name := range append([]string{"mallory"}, recipients...) {
		a, err := aor.New(name, domain)
		must(t, err)
		switch name {
		case "ghost":
			continue
		case "silences":
			must(t, st.AddUser(a, password))
			must(t, st.SetSetting(a, "silence_strangers", "on"))
		case "blocked":
			must(t, st.AddUser(a, password))
			must(t, st.Block(a, "mallory@"+domain))
		default:
			must(t, st.AddUser(a, password))
		}
	}
	engine, err := rtpengine.New(rtpengine.Config{
		Addresses: []rtpengine.Address{{Local: loopback, Advertised: loopback}},
		PortMin:   2768, PortMax: 32767, Keep: st.KeepMedia, Log: log,
	})
	must(t, err)
	t.Cleanup(engine.Close)
	p, err := proxy.New(proxy.Options{
		Config: c, Store: st, Location: location.New(location.Limits{PerAOR: 10}), Engine: engine, Log: log,
	})
	must(t, err)
	bound, err := p.Start()
	must(t, err)
	t.Cleanup(p.Close)
	return bound[0].Addr
}
