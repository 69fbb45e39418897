package e2e

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// domain of all users.
const domain = "sotto.test"

// password of all users.
const password = "Correct-Horse-7"

// sottoBinary is built once for all tests.
var sottoBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sotto-e2e-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sotto")
	args := []string{"build", "-o", bin}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "sotto/cmd/sotto")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// labs at a time: most of a call is waiting, whatever the number of processors.
const labsAtATime = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", labsAtATime) // a number
	code := m.Run()
	if bin, err := sottoBinary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// A server is `sotto serve` on a host of its own.
type server struct {
	*host
	bin    string
	config string
	pins   string // a BPF file system
	proc   *program
}

// serve starts a server with users alice, bob, carol and mallory. extra is
// further configuration.
func (l *lab) serve(extra string) *server {
	l.t.Helper()
	bin, err := sottoBinary()
	if l.mutant != "" {
		bin, err = l.mutant, nil
	}
	if err != nil {
		l.t.Fatal(err)
	}
	s := &server{host: l.host("server"), bin: bin}
	s.pins = filepath.Join(s.dir, "bpf")
	if l.installed {
		s.bin = filepath.Join(s.dir, "sotto")
		s.install(bin)
	}
	text := fmt.Sprintf(`domains: [%s]
listen: ["udp:%[2]s", "tcp:%[2]s", "tls:%[3]s"]
data_dir: %[4]s
notice: {min_delay: 1s, max_delay: 2s}
log: {level: info}
media: {plane: %[5]s, pin: %[6]q%[7]s}
%[8]s`, domain, s.at(5060), s.at(5061), s.data(), l.plane, s.pinDir(), l.media, extra)
	s.config = s.write("sotto.yaml", []byte(text))
	s.start()
	for _, u := range []string{"alice", "bob", "carol", "mallory"} {
		s.addUser(u)
	}
	return s
}

// data is the server's data directory.
func (s *server) data() string { return filepath.Join(s.dir, "data") }

// start starts the server, at first and after kill.
func (s *server) start() {
	s.lab.t.Helper()
	s.proc = s.host.start(s.bin, "serve", "--config", s.config)
	eventually(s.lab.t, "the server answers on its control socket", func() bool {
		if _, err := s.try("status"); err == nil {
			return true
		}
		select {
		case <-s.proc.ended:
			s.lab.t.Fatalf("the server ended:\n%s", s.proc.text(0))
		default:
		}
		return false
	})
}

// kill ends the server as a power failure would.
func (s *server) kill() {
	_ = s.proc.cmd.Process.Signal(syscall.SIGKILL)
	<-s.proc.ended
}

// try carries out a verb.
func (s *server) try(args ...string) (string, error) {
	c := exec.Command(s.bin, append(args, "--data", s.data())...)
	c.Stdin = strings.NewReader(password + "\n")
	out, err := c.CombinedOutput()
	return string(out), err
}

// sotto carries out a verb, which must succeed.
func (s *server) sotto(args ...string) string {
	s.lab.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.lab.t.Fatalf("sotto %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *server) addUser(name string) { s.sotto("user", "add", name+"@"+domain) }

// set changes a user's setting.
func (s *server) set(user, name, value string) {
	s.lab.t.Helper()
	s.sotto("setting", "set", user+"@"+domain, name, value)
}

// status is one number of `sotto status`.
func (s *server) status(name string) int {
	s.lab.t.Helper()
	for _, l := range lines([]byte(s.sotto("status"))) {
		if rest, ok := strings.CutPrefix(l, name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				s.lab.t.Fatal(err)
			}
			return n
		}
	}
	s.lab.t.Fatalf("sotto status has no %q", name)
	return 0
}

// idle waits until nothing of any call is left but transactions, which the
// RFC keeps for 32 s.
func (s *server) idle() {
	s.lab.t.Helper()
	for _, what := range []string{"calls", "facades", "media sessions", "media ports"} {
		eventually(s.lab.t, "no "+what+" are left", func() bool { return s.status(what) == 0 })
	}
}

// A keyring is a recipient's own: it makes tokens without the server.
type keyring struct {
	s    *server
	user string
	file string
}

// keys makes a recipient's key and gives its public half to the server.
func (s *server) keys(user string) *keyring {
	s.lab.t.Helper()
	k := &keyring{s, user + "@" + domain, filepath.Join(s.lab.dir, user+".key")}
	for _, l := range lines([]byte(k.token("keygen"))) {
		if public, ok := strings.CutPrefix(l, "public key:"); ok {
			s.sotto("key", "add", k.user, strings.TrimSpace(public))
			return k
		}
	}
	s.lab.t.Fatal("sotto token keygen prints no public key")
	return nil
}

// token carries out one of the recipient's own verbs.
func (k *keyring) token(args ...string) string {
	k.s.lab.t.Helper()
	c := exec.Command(k.s.bin, append(append([]string{"token"}, args...), "--file", k.file)...)
	out, err := c.CombinedOutput()
	if err != nil {
		k.s.lab.t.Fatalf("sotto token %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// issue makes a token for a caller and returns its text.
func (k *keyring) issue(caller string, more ...string) string {
	k.s.lab.t.Helper()
	args := append([]string{"issue", "--no-qr", "--as", k.user, "--for", caller + "@" + domain}, more...)
	for _, l := range lines([]byte(k.token(args...))) {
		if tok, ok := strings.CutPrefix(l, "token:"); ok {
			return strings.TrimSpace(tok)
		}
	}
	k.s.lab.t.Fatal("sotto token issue prints no token")
	return ""
}

// transports of a phone, and the port that the server has for each.
func (s *server) port(transport string) netip.AddrPort {
	if transport == "tls" {
		return netip.AddrPortFrom(s.ip, 5061)
	}
	return netip.AddrPortFrom(s.ip, 5060)
}
