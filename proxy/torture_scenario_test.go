package proxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sotto/configs"
	"sotto/internal/torture"
	"sotto/proxy/proxytest"
)

// tortured is one message of RFC 4475 or RFC 5118, and the codes that a trunk hears
// that sends it over UDP, and over TCP.
type tortured struct {
	section, name    string
	datagram, stream string
}

// The table of both, which also has what the RFC expects, and why an answer is another.
const tortureTable = "testdata/torture.txt"

// readTorture reads the table, by the file of each message.
func readTorture(t *testing.T) map[string]tortured {
	t.Helper()
	text, err := os.ReadFile(tortureTable)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]tortured{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 7 {
			t.Fatalf("%s: %q has %d columns; want 7", tortureTable, line, len(f))
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		all[filepath.Join("rfc"+f[0], f[2])] = tortured{f[1], f[2], f[4], f[5]}
	}
	return all
}

// torturedDomains makes the server one of the domains that the messages are for,
// and eve's address that of a trunk: none of them is challenged for being in
// the name of a user, and each goes as far as it can.
func torturedDomains(c *configs.Config) {
	c.Peers = []configs.Peer{{Name: "trunk", Trusted: true, Addresses: prefixes(eve.Addr().String())}}
	c.Domains = append(c.Domains, "example.com", "example.org", "example.net", "company.com",
		"chair-dnrc.example.com", "registrar.example.com", "host.example.net")
}

// TestTortureOfTheServer sends each message of RFC 4475 (§3) and RFC 5118 (§4) to the
// whole server, in a datagram and over a connection. It is answered as the table
// says, nothing reaches a user's phone, and a user's call is set up afterwards. No
// message is left out: the table has a line for each.
func TestTortureOfTheServer(t *testing.T) {
	table, files := readTorture(t), tortureFiles(t)
	if len(files) != 49+12 || len(table) != len(files) {
		t.Errorf("%d files and %d lines in %s; the RFCs have 49 and 12 messages", len(files), len(table), tortureTable)
	}
	for _, file := range files {
		key := strings.TrimSuffix(strings.TrimPrefix(file, "wire/testdata/"), ".txt")
		m, ok := table[key]
		if !ok {
			t.Errorf("%s is not in %s", key, tortureTable)
			continue
		}
		for transport, want := range map[string]string{"UDP": m.datagram, "TCP": m.stream} {
			t.Run(m.section+" "+m.name+" "+transport, func(t *testing.T) {
				proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
					tortures(t, s, transport, string(torture.Read(t, file)), want)
				}, torturedDomains, proxytest.Colleagues)
			})
		}
	}
}

// tortureFiles are the messages of both RFCs.
func tortureFiles(t *testing.T) (files []string) {
	t.Helper()
	for _, rfc := range []string{"rfc4475", "rfc5118"} {
		some, err := filepath.Glob("wire/testdata/" + rfc + "/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	return files
}

// tortures sends one message and compares what is heard.
func tortures(t *testing.T, s *proxytest.Stage, transport, message, want string) {
	t.Helper()
	s.Alice.Registers()
	s.Bob.Registers()
	s.Bob.Forget()
	var codes []string
	note := func(text string) {
		if code, ok := strings.CutPrefix(text, "SIP/2.0 "); ok && !slices.Contains(codes, code[:3]) {
			codes = append(codes, code[:3])
		}
	}
	s.Net.Watch(func(from, to string, b []byte) {
		if from == "server" && to == "" { // eve, whatever the Via says of her port
			note(string(b))
		}
	})
	text, shut := answers(t, s, transport, message, len(message))
	s.Net.Watch(nil)
	for line := range strings.SplitSeq(text, "\r\n") {
		note(line)
	}
	if shut { // whether an answer was still out is a matter of luck
		codes = []string{"closed"}
	}
	if len(codes) == 0 {
		codes = []string{"-"}
	}
	if got := strings.Join(codes, " "); got != want {
		t.Errorf("heard %s; want %s", got, want)
	}
	s.Bob.HearsNothing()
	s.Alice.Registers()
	completes(t, s)
	s.Wait(settled) // a call that its connection has left goes on
}
