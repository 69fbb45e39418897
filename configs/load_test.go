package configs

import (
	"encoding"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// manyForms has values in the forms that there are.
const manyForms = `
domains: [Example.COM., "bücher.example"] # two
listen:
  - udp:0.0.0.0:5060
  - tls:[::]:5061
  - "tcp:[::ffff:192.0.2.1]:5060"
media:
  addresses: [192.0.2.1, 10.0.0.5=192.0.2.2, 10.0.0.5 for 10.1.0.0/8]
  ports: 30000-30003
  max_sessions: 5
register: {min: 10s, max: 1h30m, default: 10s}
shutdown: 0s
peers:
  - name: 5
    addresses: [192.0.2.9, 198.51.100.77/24, "::ffff:192.0.2.8"]
    target: sip:user@192.0.2.9:5060;transport=tcp
    trusted: true
    psap: false
default_route: "5"
foreign: allow
foreign_domains:
- example.ORG
tls:
`

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(file, []byte(manyForms), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Domains = []string{"example.com", "xn--bcher-kva.example"}
	want.Listen = []Listen{
		{"udp", netip.MustParseAddrPort("0.0.0.0:5060")},
		{"tls", netip.MustParseAddrPort("[::]:5061")},
		{"tcp", netip.MustParseAddrPort("192.0.2.1:5060")},
	}
	one, two, inner := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("10.0.0.5")
	want.Media.Addresses = []MediaAddress{
		{Local: one, Advertised: one},
		{Local: inner, Advertised: two},
		{Local: inner, Advertised: inner, For: netip.MustParsePrefix("10.0.0.0/8")},
	}
	want.Media.Ports, want.Media.MaxSessions = Ports{30000, 30003}, 5
	want.Register.Min, want.Register.Max, want.Register.Default = 10*time.Second, 90*time.Minute, 10*time.Second
	want.Shutdown = 0
	want.Peers = []Peer{{
		Name: "5", Target: "sip:user@192.0.2.9:5060;transport=tcp", Trusted: true,
		Addresses: []Prefix{
			{netip.MustParsePrefix("192.0.2.9/32")},
			{netip.MustParsePrefix("198.51.100.0/24")},
			{netip.MustParsePrefix("192.0.2.8/32")},
		},
	}}
	want.DefaultRoute, want.Foreign, want.ForeignDomains = "5", "allow", []string{"example.org"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n%+v\nwant\n%+v", c, want)
	}
}

func TestNoFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestDefaults: a file that says nothing is none.
func TestDefaults(t *testing.T) {
	for _, text := range []string{
		"", "\n\n", "# a comment\n", "---\n", "---\n# x\n---\n", "limits:\n  # nothing\ntls:\n",
	} {
		if c, err := parse("x.yaml", []byte(text)); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// good is the file that each case of TestErrors spoils.
const good = `domains: [example.com]
media:
  ports: 20000-29999
  rest: 10s
register:
  min: 60s
  max: 2h
peers:
  - name: pbx
    addresses: [192.0.2.9]
  - name: trunk
    target: sip:192.0.2.10
`

// TestErrors has every mistake that is found: each names file, line and key,
// and says what to do.
func TestErrors(t *testing.T) {
	if _, err := parse("x.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range mistakes() {
		text := good + c.add
		if c.old != "" {
			if strings.Count(good, c.old) != 1 {
				t.Fatalf("%q is not in the file once", c.old)
			}
			text = strings.Replace(good, c.old, c.add, 1)
		}
		_, err := parse("x.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q: no error, want %s", c.add, c.want)
			continue
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q:\n     %v\nwant %s", c.add, err, c.want)
		}
	}
}

// TestRemedy: no mistake is reported without what to do: a verb that tells
// the operator, or the names to choose from.
func TestRemedy(t *testing.T) {
	remedy := regexp.MustCompile(`^x\.yaml:\d+: .*\b(` +
		`write|name|give|there are|takes|must|needs?|leave|YAML|holds|already|peers has)\b`)
	for _, c := range mistakes() {
		text := good + c.add
		if c.old != "" {
			text = strings.Replace(good, c.old, c.add, 1)
		}
		if _, err := parse("x.yaml", []byte(text)); err == nil || !remedy.MatchString(err.Error()) {
			t.Errorf("%q: %v", c.add, err)
		}
	}
}

// TestText: what a value is written as reads back.
func TestText(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
	}
	for _, c := range []struct {
		into     text
		in, want string
	}{
		{new(Listen), "udp:127.0.0.1:5060", "udp:127.0.0.1:5060"},
		{new(Listen), "tls:[::1]:5061", "tls:[::1]:5061"},
		{new(MediaAddress), "192.0.2.1", "192.0.2.1"},
		{new(MediaAddress), "10.0.0.5 = 192.0.2.1", "10.0.0.5=192.0.2.1"},
		{new(Ports), "20000 - 30000", "20000-30000"},
		{new(Prefix), "192.0.2.7/24", "192.0.2.0/24"},
	} {
		if err := c.into.UnmarshalText([]byte(c.in)); err != nil {
			t.Error(err)
		}
		if out, err := c.into.MarshalText(); err != nil || string(out) != c.want {
			t.Errorf("%s is written as %s (%v)", c.in, out, err)
		}
	}
}

// FuzzParse: no file stops the server in another way than with a line.
func FuzzParse(f *testing.F) {
	f.Add(good)
	for _, c := range mistakes() {
		f.Add(c.add)
	}
	form := regexp.MustCompile(`^x\.yaml:\d+: `)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("x.yaml", []byte(text))
		if err != nil && !form.MatchString(err.Error()) {
			t.Error(err)
		}
		if err == nil && c.check() != nil {
			t.Error("a good configuration is bad when it is checked again")
		}
	})
}
