package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/proxy/hostile"
	"sotto/proxy/phone"
)

// A siege is a server on loopback that hostile peers act on, while users who
// know each other call. SOTTO_SIEGE says how long it lasts (30m, say).
const (
	siegeVariable = "SOTTO_SIEGE"
	siegeLasts    = 10 * time.Second
	siegePause    = 5 * time.Millisecond // between the messages of one peer
	// siegeMemory is what the server may use (ours): its limit of 200,000
	// transactions of about 3 KB each, and as much again for the collector.
	siegeMemory = 1200 << 20
	// siegeCall is how long the set-up of a call, and siegeP99 how long 99 of
	// 100 may take in a siege that was asked for: it has the machine for itself.
	siegeCall = 5 * time.Second
	siegeP99  = 500 * time.Millisecond
)

func TestSiege(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	lasts := siegeLasts
	if v := os.Getenv(siegeVariable); v != "" {
		var err error
		if lasts, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	// Addresses of its own: nothing else on this machine has a port there.
	at := netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1})
	g := &siege{t: t, server: netip.AddrPortFrom(at, 5060), ended: make(chan struct{}), over: make(chan struct{})}
	g.open("limits: {exempt: [127.0.0.0/8]}") // no budget keeps anybody from what lies behind it
	for i := range 8 {
		user := ""
		if i%2 == 1 {
			user = "carol" + strconv.Itoa(i)
		}
		g.attack(i, user, uint64(time.Now().UnixNano()))
	}
	g.calls(lasts)
	close(g.over)
	g.attackers.Wait()
	g.report(lasts)
}

// siege is what is known of one.
type siege struct {
	t         *testing.T
	server    netip.AddrPort
	level     string // of its log; "": error
	streams   bool   // it listens on TCP, and on TLS at the next port, as well
	dir       string
	proc      *exec.Cmd
	ended     chan struct{} // the server has
	over      chan struct{} // the siege is
	out       strings.Builder
	attackers sync.WaitGroup

	mu     sync.Mutex
	sent   int
	setUps []time.Duration
	most   int // memory
}

// open starts the server with its users. extra is further configuration.
func (g *siege) open(extra string) {
	g.t.Helper()
	bin, err := sottoBinary()
	if err != nil {
		g.t.Fatal(err)
	}
	g.dir = g.t.TempDir()
	config := filepath.Join(g.dir, "sotto.yaml")
	listen := fmt.Sprintf("%q", "udp:"+g.server.String())
	if g.streams {
		listen += fmt.Sprintf(", \"tcp:%s\", \"tls:%s\"", g.server, netip.AddrPortFrom(g.server.Addr(), 5061))
	}
	text := fmt.Sprintf("domains: [%s]\nknown_domains: [%s]\nlisten: [%s]\ndata_dir: %s\nlog: {level: %s}\n%s\n",
		domain, domain, listen, g.dir, cmp.Or(g.level, "error"), extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.proc = exec.Command(bin, "serve", "--config", config)
	g.proc.Stdout, g.proc.Stderr = &g.out, &g.out
	if err := g.proc.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		_ = g.proc.Wait() // it is killed in the end
		close(g.ended)
	}()
	g.t.Cleanup(func() {
		_ = g.proc.Process.Kill()
		<-g.ended
	})
	eventually(g.t, "the server answers", func() bool { return g.sotto(bin, "status") == nil })
	for _, u := range []string{"alice", "bob", "carol1", "carol3", "carol5", "carol7"} {
		if err := g.sotto(bin, "user", "add", u+"@"+domain); err != nil {
			g.t.Fatal(err)
		}
	}
}

// sotto carries out a verb.
func (g *siege) sotto(bin string, args ...string) error {
	c := exec.Command(bin, append(args, "--data", g.dir)...)
	c.Stdin = strings.NewReader(password + "\n")
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("sotto %v: %w\n%s", args, err, out)
	}
	return nil
}

// attack starts a hostile peer.
func (g *siege) attack(n int, user string, seed uint64) {
	g.t.Helper()
	local := netip.AddrPortFrom(g.host(byte(100+n)), 5060)
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		g.t.Fatal(err)
	}
	pw := ""
	if user != "" {
		pw = password
	}
	g.t.Logf("peer %d, %q: seed %d", n, user, seed)
	dice := rand.New(rand.NewPCG(seed, uint64(n)))
	p := hostile.New(hostile.Config{
		Conn: c, Local: local, Server: g.server, Domain: domain, User: user, Password: pw,
		Targets: []string{"carol1", "carol3", "carol5", "bob", "nobody"}, Choose: dice.IntN,
	})
	g.attackers.Add(1)
	go func() {
		defer g.attackers.Done()
		for {
			select {
			case <-g.over:
				p.Close()
				g.mu.Lock()
				g.sent += p.Sent()
				g.mu.Unlock()
				return
			case <-time.After(siegePause):
				p.Act()
			}
		}
	}()
}

// phone opens a phone of a user.
func (g *siege) phone(user string, last byte) *phone.Phone {
	g.t.Helper()
	return g.opens(phone.Config{User: user, Password: password}, last)
}

// opens opens and registers a phone of c.User, at the address that ends so.
func (g *siege) opens(c phone.Config, last byte) *phone.Phone {
	g.t.Helper()
	c.Domain, c.Server = domain, g.server
	c.Local = netip.AddrPortFrom(g.host(last), 5060)
	p, err := phone.New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	if _, err := p.Register(ctx); err != nil {
		g.t.Fatal(err)
	}
	return p
}

// host is an address beside the server's.
func (g *siege) host(last byte) netip.Addr {
	ip := g.server.Addr().As4()
	ip[3] = last
	return netip.AddrFrom4(ip)
}

// calls lets alice call bob again and again.
func (g *siege) calls(lasts time.Duration) {
	g.t.Helper()
	alice, bob := g.phone("alice", 10), g.phone("bob", 11)
	answered := make(chan struct{})
	ctx, cancel := context.WithCancel(g.t.Context())
	go func() {
		defer close(answered)
		g.answer(ctx, bob)
	}()
	for began := time.Now(); time.Since(began) < lasts; {
		g.call(ctx, alice)
		alice.Forget()
		bob.Forget()
		g.watch()
		time.Sleep(200 * time.Millisecond)
	}
	cancel()
	<-answered
}

// answer answers alice, and nobody else.
func (g *siege) answer(ctx context.Context, bob *phone.Phone) {
	for {
		in, err := bob.Incoming(ctx)
		switch {
		case err != nil:
			return
		case in.Invite.From().Address.User == "alice":
			_ = in.Answer(ctx) // alice's side tells
		default:
			_ = in.Reject(486) // it may have ended meanwhile
		}
	}
}

// call is one call of alice's, which must be set up and end.
func (g *siege) call(ctx context.Context, alice *phone.Phone) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	c, err := alice.Call(ctx, "sip:bob@"+domain)
	if err != nil {
		g.fatal("alice's call failed: %v", err)
	}
	g.setUps = append(g.setUps, time.Since(began))
	if err := c.Bye(ctx); err != nil {
		g.fatal("alice cannot hang up: %v", err)
	}
}

// watch looks after the server: that it runs, and what it uses.
func (g *siege) watch() {
	g.t.Helper()
	select {
	case <-g.ended:
		g.fatal("the server has ended")
	default:
	}
	used := g.memory()
	if g.most = max(g.most, used); used > siegeMemory {
		g.fatal("the server uses %d MB", used>>20)
	}
}

// memory is what the server has in memory.
func (g *siege) memory() int {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.proc.Process.Pid))
	if err != nil {
		g.fatal("the server has ended: %v", err)
	}
	f := strings.Fields(string(text))
	pages, err := strconv.Atoi(f[1])
	if err != nil {
		g.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// fatal ends the siege with what the server said.
func (g *siege) fatal(format string, args ...any) {
	g.t.Helper()
	_ = g.proc.Process.Kill()
	<-g.ended
	g.t.Fatalf(format+"\n%s", append(args, tail(g.out.String(), 6000))...)
}

// report tells what happened, and judges the times if the siege was asked for.
func (g *siege) report(lasts time.Duration) {
	g.t.Helper()
	slices.Sort(g.setUps)
	n := len(g.setUps)
	p99 := g.setUps[n*99/100]
	g.t.Logf("%v: %d hostile messages; %d calls of known users, all set up, in %v (median), %v (p99) and %v (most); "+
		"%d MB at most", lasts, g.sent, n, g.setUps[n/2], p99, g.setUps[n-1], g.most>>20)
	if most := g.setUps[n-1]; os.Getenv(siegeVariable) != "" && (p99 > siegeP99 || most > siegeCall) {
		g.t.Errorf("99 of 100 calls are set up within %v, not %v, and all within %v, not %v", p99, siegeP99, most, siegeCall)
	}
}
