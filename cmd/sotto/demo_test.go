package main

import (
	"bytes"
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"sotto/proxy/phone"
)

// newStage opens the demo's server and phones.
func newStage(t *testing.T) (*stage, *bytes.Buffer) {
	t.Helper()
	c := tryCmd{Host: "127.0.0.1", Demo: true}
	dir := t.TempDir()
	cfg, err := c.config(dir)
	must(t, err)
	s, err := openServer(cfg)
	must(t, err)
	t.Cleanup(s.close)
	d, err := furnish(s.store, filepath.Join(dir, "bob.key"))
	must(t, err)
	must(t, s.start())
	out := new(bytes.Buffer)
	g := &stage{t: &tell{out: out, err: out}, s: s, d: d}
	g.cast, err = d.assemble(t.Context(), s.bound[0].Addr)
	t.Cleanup(g.close)
	must(t, err)
	return g, out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDemoFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	g, out := newStage(t)
	must(t, g.token(t.Context()))
	must(t, g.verdict())
	g.hidden(g.carol, g.bob, sight{}) // this call hides nothing
	if err := g.verdict(); err == nil {
		t.Errorf("carol's address was not found:\n%s", out)
	}
	for _, text := range g.carol.marks() {
		if lacks(g.bob, text) == nil {
			t.Errorf("%q was not found in what bob's phone received", text)
		}
	}
	if !strings.Contains(out.String(), "\n  FAILED  nothing of carol but") {
		t.Errorf("the broken promise is not told:\n%s", out)
	}
}

func TestDemoTellsBrokenPromise(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user    func(*stage) *player
		setting [2]string
		act     func(*stage, context.Context) error
	}{
		"a stranger rings": {
			func(g *stage) *player { return g.bob },
			[2]string{"silence_strangers", "off"},
			(*stage).stranger,
		},
		"a token is not asked for": {
			func(g *stage) *player { return g.bob },
			[2]string{"silence_strangers", "off"},
			(*stage).stolen,
		},
		"no notice": {
			func(g *stage) *player { return g.bob },
			[2]string{"notices", "off"},
			(*stage).stranger,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, out := newStage(t)
			must(t, g.s.store.SetSetting(c.user(g).who, c.setting[0], c.setting[1]))
			ctx, cancel := context.WithTimeout(t.Context(), actTime/2)
			defer cancel()
			if err := c.act(g, ctx); err == nil && g.verdict() == nil {
				t.Errorf("all promises kept?\n%s", out)
			}
		})
	}
}

// A trial that keeps its data can be started again and again.
func TestTrialIsFurnishedOnce(t *testing.T) {
	t.Parallel()
	c := tryCmd{Host: "127.0.0.1", Demo: true}
	dir := t.TempDir()
	cfg, err := c.config(dir)
	must(t, err)
	s, err := openServer(cfg)
	must(t, err)
	t.Cleanup(s.close)
	for range 6 { // a user may have four keys
		d, err := furnish(s.store, filepath.Join(dir, "bob.key"))
		must(t, err)
		if n := len(s.store.Keys(d.bob)); n != 1 {
			t.Fatalf("bob has %d keys", n)
		}
	}
}

func TestSightOfAnInvite(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(`INVITE sip:bob@192.0.2.2 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1
Via: SIP/2.0/TCP 198.51.100.7:5062;branch=z9hG4bK2
From: "A" <sip:alice@example.com>;tag=123;x=y
To: <sip:bob@example.com>
Call-ID: abc@laptop
Contact: <sip:alice@198.51.100.7:5062;ob>;expires=5
User-Agent: Phone/1
X-Wifi: home

v=0
o=alice 1 1 IN IP4 198.51.100.7
i=desk
c=IN IP4 198.51.100.7
m=audio 4000 RTP/AVP 0
a=tool:x
`, "\n", "\r\n")
	at := netip.MustParseAddrPort("192.0.2.1:5060")
	got := sight{[]phone.Packet{{Kind: phone.SIP, From: at, Data: []byte(text)}}, []string{"a@b"}}.traits()
	want := []trait{
		{"SIP came from", "192.0.2.1:5060"},
		{"Via", "192.0.2.1, 198.51.100.7"},
		{"Contact", "sip:alice@198.51.100.7:5062"},
		{"Call-ID", "abc@laptop"},
		{"tag", "123"},
		{"User-Agent", "Phone/1"},
		{"X-Wifi", "home"},
		{"SDP origin", "alice 198.51.100.7"},
		{"SDP audio", "198.51.100.7:4000"},
		{"SDP info, tool", "desk, x"},
		{"audio came from", ""},
		{"RTCP name", "a@b"},
	}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("%q, not %q", got[i], w)
		}
	}
}

func TestShortenedKeepsBothEnds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      nothing,
		strings.Repeat("é", 32): strings.Repeat("é", 32),
		"sip:" + strings.Repeat("a", 40) + "@192.0.2.1:5060": "sip:aaaaaaaaaaa…a@192.0.2.1:5060",
	} {
		if got := shortened(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}

func TestOnlyNoticesAreNotices(t *testing.T) {
	t.Parallel()
	for start, want := range map[string]bool{
		"MESSAGE sip:bob@192.0.2.2 SIP/2.0\r\nFrom: <sip:silenced-calls@sotto.example>;tag=1": true,
		"MESSAGE sip:bob@192.0.2.2 SIP/2.0\r\nFrom: <sip:mallory@sotto.example>;tag=1":        false,
		"INVITE sip:bob@192.0.2.2 SIP/2.0\r\nFrom: <sip:silenced-calls@sotto.example>;tag=1":  false,
	} {
		p := phone.Packet{Kind: phone.SIP, Data: []byte(start + "\r\n\r\n")}
		if got := isNotice(p); got != want {
			t.Errorf("%q: %v", start, got)
		}
		if none(sight{packets: []phone.Packet{p}}) == nil {
			t.Errorf("%q is taken for nothing", start)
		}
	}
	if err := none(sight{}); err != nil {
		t.Error(err)
	}
}
