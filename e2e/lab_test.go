package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait: far more than anything takes, since a loaded
// machine is no failure.
const patience = 60 * time.Second

// A lab is a small network: a router with a link to each host, and hosts that
// know nothing of one another's links. A packet is on a host's link only if
// it is from or to that host.
//
//	server ─┐
//	alice ──┤ router
//	bob ────┘
type lab struct {
	t      *testing.T
	prefix string
	dir    string
	router string // network namespace
	six    bool   // IPv6 instead of IPv4
	plane  string // by what the server relays media
	mutant string // the server's binary, if it is not the product; "" elsewhere
	media  string // more for the server's media section

	installed  bool // the server has a binary of its own, which may be replaced
	uncaptured bool // no captures, for very many packets
	hosts      map[string]*host
}

// A host has a namespace, an address and a captured link.
type host struct {
	lab     *lab
	name    string
	ns      string
	ip      netip.Addr
	public  netip.Addr // as others see it: the NAT's, or its own
	dir     string
	capture *capture
}

var labs atomic.Int32

// newLab makes the network; what the machine lacks skips the test.
func newLab(t *testing.T, six bool) *lab {
	t.Helper()
	needs(t, "ip", "tcpdump")
	l := &lab{
		t: t, prefix: fmt.Sprintf("so%d-%d", os.Getpid(), labs.Add(1)),
		dir: t.TempDir(), six: six, plane: chosenPlane(), hosts: map[string]*host{},
	}
	l.router = l.prefix + "-r"
	t.Cleanup(func() {
		if keep := os.Getenv("E2E_KEEP"); keep != "" && t.Failed() { // captures, logs, recordings
			_ = os.CopyFS(filepath.Join(keep, l.prefix), os.DirFS(l.dir))
		}
	})
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.router).Run() })
	l.ip("netns", "add", l.router)
	l.in(l.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	return l
}

// needs skips the test unless it runs as root and has the programs.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("real phones take their time; -short leaves them out")
	}
	var missing []string
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		missing = append(missing, "root on Linux")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CI") != "":
		t.Fatalf("needs %s", strings.Join(missing, ", "))
	default:
		t.Skipf("needs %s", strings.Join(missing, ", "))
	}
}

// numbers are the last parts of the hosts' addresses. They are such that no
// form of an address is found in a packet by chance.
var numbers = map[string]int{
	"server": 147, "alice": 211, "bob": 223, "carol": 227, "mallory": 229, "tablet": 233, "pbx": 239,
	"alice-nat": 241, "bob-nat": 251, "carol-nat": 197, "mallory-nat": 199, "tablet-nat": 193,
}

// host adds a host and starts the capture of its link.
func (l *lab) host(name string) *host {
	l.t.Helper()
	text := fmt.Sprintf("10.77.143.%d", numbers[name])
	if l.six {
		text = fmt.Sprintf("fd77:5ca1:ab1e:7:91c3:7e4d:a6f2:b%d", numbers[name])
	}
	h := l.newHost(name, text)
	h.plug(l.router, "169.254.1.1")
	return h
}

// newHost is a host without a link.
func (l *lab) newHost(name, ip string) *host {
	l.t.Helper()
	h := &host{lab: l, name: name, ns: l.prefix + "-" + name, dir: filepath.Join(l.dir, name)}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	h.ip = netip.MustParseAddr(ip)
	h.public = h.ip
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.ns).Run() })
	l.ip("netns", "add", h.ns)
	l.hosts[name] = h
	return h
}

// plug makes the host's link to a router, which has the address gateway on
// it, and captures it there.
func (h *host) plug(router, gateway string) {
	l, port := h.lab, "p-"+h.name
	l.t.Helper()
	l.ip("link", "add", port, "netns", router, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	for ns, dev := range map[string]string{router: port, h.ns: "eth0"} {
		l.in(ns, "ip", "link", "set", "lo", "up")
		l.in(ns, "sysctl", "-qw", "net.ipv6.conf."+dev+".accept_dad=0", "net.ipv6.conf."+dev+".accept_ra=0")
		l.in(ns, "ip", "link", "set", dev, "up")
	}
	only := netip.PrefixFrom(h.ip, h.ip.BitLen()).String()
	if l.six {
		l.in(h.ns, "ip", "addr", "add", only, "dev", "eth0", "nodad") // a tentative one is no route's source
		l.in(router, "ip", "addr", "add", "fe80::1/64", "dev", port, "nodad")
		l.in(h.ns, "ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "src", h.ip.String())
	} else {
		l.in(h.ns, "ip", "addr", "add", only, "dev", "eth0")
		l.in(router, "ip", "addr", "add", gateway+"/32", "dev", port)
		l.in(h.ns, "ip", "route", "add", gateway, "dev", "eth0", "scope", "link")
		l.in(h.ns, "ip", "route", "add", "default", "via", gateway, "dev", "eth0", "src", h.ip.String())
	}
	l.in(router, "ip", "route", "add", only, "dev", port)
	if !l.uncaptured {
		h.capture = startCapture(l, router, port, filepath.Join(l.dir, h.name+".pcap"))
	}
}

// ip runs iproute2.
func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// in runs a program in a namespace.
func (l *lab) in(ns string, args ...string) {
	l.t.Helper()
	l.ip(append([]string{"netns", "exec", ns}, args...)...)
}

// command is a program that will run on a host.
func (h *host) command(name string, args ...string) *exec.Cmd {
	c := exec.Command("ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
	c.Dir = h.dir
	c.Env = append(os.Environ(), "HOME="+h.dir)
	return c
}

// within runs f on a thread that is in the host's namespace: sockets that it
// opens are the host's.
func (h *host) within(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		file, err := os.Open("/run/netns/" + h.ns)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			_ = file.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// write makes a file in the host's directory.
func (h *host) write(name string, text []byte) string {
	h.lab.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.lab.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		h.lab.t.Fatal(err)
	}
	return path
}

// at is an address and port as it stands in a URI.
func (h *host) at(port int) string {
	return netip.AddrPortFrom(h.ip, uint16(port)).String()
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lines are the non-empty lines of a text.
func lines(text []byte) []string {
	var all []string
	for _, l := range bytes.Split(text, []byte("\n")) {
		if s := strings.TrimSpace(string(l)); s != "" {
			all = append(all, s)
		}
	}
	return all
}
