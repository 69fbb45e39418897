package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// What SIPVicious looks for: the users 1000 to 1199, and the password of one.
const (
	firstUser, lastUser = 1000, 1199
	weakPassword        = "7042"
)

// tools are the searches of SIPVicious, for a server and its domain.
func tools(server, domain string) [][]string {
	users := strconv.Itoa(firstUser) + "-" + strconv.Itoa(lastUser)
	war := []string{"svwar", "--force", "--domain", domain, "--maximumtime", "30", "-e" + users, "-m"}
	return [][]string{
		{"svmap", server},
		{"svmap", "-m", "INVITE", server},
		append(war[:len(war):len(war)], "REGISTER", server),
		append(war[:len(war):len(war)], "OPTIONS", server),
		append(war[:len(war):len(war)], "INVITE", server),
		{"svcrack", "--domain", domain, "-u" + strconv.Itoa(firstUser), "-r7000-7099", server},
	}
}

// SIPVicious finds none of 200 users and no password; and where a server
// tells who exists, it does find them.
func TestSIPVicious(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	if _, err := exec.LookPath("svwar"); err != nil {
		t.Skip("SIPVicious is not installed")
	}
	at := netip.AddrFrom4([4]byte{127, byte(1 + rand.N(250)), byte(rand.N(250)), 1})
	g := &siege{t: t, server: netip.AddrPortFrom(at, 5060), ended: make(chan struct{}), over: make(chan struct{})}
	g.open("")
	for i := firstUser; i <= lastUser; i++ {
		pw := password + strconv.Itoa(i)
		if i == firstUser {
			pw = weakPassword
		}
		g.add(strconv.Itoa(i)+"@"+domain, pw)
	}
	for _, c := range tools(at.String(), domain) {
		if out := search(t, c); !strings.Contains(out, "found nothing") || strings.Contains(out, "reqauth") {
			t.Errorf("%v found something:\n%s", c, out)
		}
	}
	leaky := openLeaky(t, netip.AddrPortFrom(at.Next(), 5060))
	for _, c := range tools(leaky.String(), domain)[2:5] {
		out := search(t, c)
		for i := firstUser; i <= lastUser; i++ {
			if found := strings.Contains(out, " "+strconv.Itoa(i)+" "); found != exists(strconv.Itoa(i)) {
				t.Errorf("%v, of a server that tells, found %d: %v\n%s", c, i, found, out)
				break
			}
		}
	}
}

// search runs a tool and returns what it said, which is the transcript in
// docs/strangers.md.
func search(t *testing.T, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%v does not end: %v", args, err)
	}
	t.Logf("$ %s\n%s", strings.Join(args, " "), out)
	return string(out)
}

// add adds a user over the control socket: quicker than a program for each.
func (g *siege) add(user, password string) {
	g.t.Helper()
	body, err := json.Marshal(map[string]any{"verb": "user add", "args": []string{user, password}})
	if err != nil {
		g.t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.dir, "ctl.sock"))
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}}
	defer client.CloseIdleConnections()
	res, err := client.Post("http://sotto/", "application/json", bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var reply struct{ Error string }
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil || reply.Error != "" {
		g.t.Fatalf("adding %s: %v %s", user, err, reply.Error)
	}
}

// exists says who is a user of the server that tells: two of those searched,
// and no number of 32 bits, with which svwar learns what a server says of nobody.
func exists(user string) bool { return len(user) == 4 && strings.HasSuffix(user, "50") }

// openLeaky starts a server that does what others do: it challenges who
// exists, and knows nobody else.
func openLeaky(t *testing.T, at netip.AddrPort) netip.Addr {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m, err := wire.Parse(buf[:n])
			req, ok := m.(*sip.Request)
			if err != nil || !ok || req.IsAck() {
				continue
			}
			res := wire.NewResponse(req, 404, "Not Found")
			if exists(req.To().Address.User) {
				res = wire.NewResponse(req, 401, "Unauthorized")
				res.AppendHeader(sip.NewHeader("WWW-Authenticate", `Digest realm="x", nonce="1", algorithm=MD5`))
			}
			_, _ = c.WriteToUDPAddrPort(wire.Bytes(res), from) // a tool that is gone asks no more
		}
	}()
	return at.Addr()
}
