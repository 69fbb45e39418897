package leak

import (
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestEveryFormOfAnAddressIsFound(t *testing.T) {
	const marker = "192.168.77.23"
	raw := netip.MustParseAddr(marker).AsSlice()
	b64 := base64.StdEncoding.EncodeToString
	for form, text := range map[string]string{
		"text":             "Via: SIP/2.0/UDP 192.168.77.23:5060",
		"percent, all":     "x=%31%39%32%2E%31%36%38%2E%37%37%2E%32%33",
		"octets":           "\x00" + string(raw) + "\x01",
		"reversed octets":  string([]byte{23, 77, 168, 192}),
		"octets, hex":      "a=candidate:HC0A84D17 1 udp",
		"text, reversed":   "23.77.168.192.in-addr.arpa",
		"decimal":          "id=3232255255",
		"STUN, xor-mapped": string([]byte{192 ^ 0x21, 168 ^ 0x12, 77 ^ 0xa4, 23 ^ 0x42}),
		"dashes":           "ip-192-168-77-23.local",
		"hex":              hex.EncodeToString([]byte(marker)),
	} {
		if !foundAs(Find([]byte("junk "+text+" junk"), marker), form) {
			t.Errorf("%s: not found in %q", form, text)
		}
	}
	for shift, before := range []string{"abc", "a", "ab"} {
		for _, inner := range []string{marker, string(raw)} {
			text := b64([]byte(before + inner + "zz"))
			if len(Find([]byte(text), marker)) == 0 && len(inner) > 5 {
				t.Errorf("base64 at alignment %d: not found in %q", shift, text)
			}
		}
	}
}

func foundAs(leaks []Leak, form string) bool {
	return slices.ContainsFunc(leaks, func(l Leak) bool { return l.Form == form })
}

func TestNoMarkerNoLeak(t *testing.T) {
	text := strings.Repeat("INVITE sip:bob@example.com SIP/2.0\r\nVia: 192.0.2.1\r\n", 20)
	if l := Find([]byte(text), "192.168.77.23", "alices-laptop", "2001:db8::77"); len(l) > 0 {
		t.Errorf("found %v", l)
	}
}

func TestMarkerInOtherCase(t *testing.T) {
	if len(Find([]byte("urn:uuid:DEAD-BEEF"), "dead-beef")) == 0 {
		t.Error("a marker in capitals is not found")
	}
}

// TestBase64OfAnAddressBesideItsOctets tries every octet before and after an address: all the
// places where one is, and none where only the middle of one is.
func TestBase64OfAnAddressBesideItsOctets(t *testing.T) {
	const marker = "192.168.77.23"
	raw := netip.MustParseAddr(marker).AsSlice()
	near := slices.Clone(raw)
	near[3] ^= 1 // the last bit is in a letter that holds others, too
	for shift := range 3 {
		for other := range 256 {
			beside := slices.Repeat([]byte{byte(other)}, 3)
			there := slices.Concat(beside[:shift], raw, beside)
			text := base64.StdEncoding.EncodeToString(there)
			if len(Find([]byte(text), marker)) == 0 {
				t.Errorf("octet %d, alignment %d: not found in %q", other, shift, text)
			}
			text = base64.StdEncoding.EncodeToString(slices.Concat(beside[:shift], near, beside))
			if l := Find([]byte(text), marker); len(l) > 0 {
				t.Errorf("octet %d, alignment %d: %v found in %q, where another address is", other, shift, l, text)
			}
		}
	}
}

// What may be chance is no alarm: the digits of an address within longer ones.
func TestCertainSearchKeepsChanceOut(t *testing.T) {
	const marker = "192.168.77.23"
	s := NewCertain(marker)
	for text, want := range map[string]string{
		"a=candidate:HC0A84D17 1 udp":                    "octets, hex",
		"o=- 3232255255 1":                               "decimal",
		"received=192.168.77.23":                         "text",
		"received=192.168.77.23;rport":                   "text",
		"received=192.168.77.231":                        "",
		"sip:bob@192.168.77.234:5060, sip:192.168.77.23": "text",
		"c=IN IP4 12.192.168.77.23 x":                    "text",
		"branch=z9hG4bK11c0a84d1722":                     "",
		"o=- 132322552551 1":                             "",
		"s1-" + base64.RawURLEncoding.EncodeToString([]byte("abc\xc0\xa8\x4d\x17abc")): "",
		"\x00\xc0\xa8\x4d\x17\x00": "",
	} {
		got := s.Find([]byte(text))
		if want == "" && len(got) > 0 || want != "" && !foundAs(got, want) {
			t.Errorf("%q: %v found, not %q", text, got, want)
		}
	}
}

// What noise can be is marked, and what it cannot be is not.
func TestLeaksThatNoiseCanBe(t *testing.T) {
	for text, noise := range map[string]bool{
		"\x00\xc0\xa8\x4d\x17\x00": true, "c=IN IP4 192.168.77.23": false, "o=- 3232255255 1": false, "HC0A84D17": false,
		base64.StdEncoding.EncodeToString([]byte("abc\xc0\xa8\x4d\x17abc")): true,
		base64.StdEncoding.EncodeToString([]byte("abc192.168.77.23abc")):    false,
	} {
		for _, l := range append(Find([]byte(text), "192.168.77.23"), Leak{Noise: noise}) {
			if l.Noise != noise {
				t.Errorf("%q: %v, noise %v", text, l, l.Noise)
			}
		}
		if len(Find([]byte(text), "192.168.77.23")) == 0 {
			t.Errorf("%q: nothing is found", text)
		}
	}
}

// The last 64 bits of an address are found where they are no number that is in any packet.
func TestInterfaceIdentifiers(t *testing.T) {
	for _, c := range []struct {
		address        string
		found, certain bool
	}{
		{"2001:db8:77::f", false, false},
		{"2001:db8:77::f:1:0:1", false, false},
		{"2001:db8:77::c633:641f", true, false},
		{"2001:db8:77::1:c633:641f", true, true},
		{"2001:db8:77:5a:91c3:7e4d:a6f2:b0c", true, true},
	} {
		id := netip.MustParseAddr(c.address).AsSlice()[8:]
		packet := slices.Concat([]byte{0x80, 0xc8, 0, 6}, id, []byte{0, 0})
		if got := foundAs(Find(packet, c.address), "last 64 bits"); got != c.found {
			t.Errorf("%s: found %v", c.address, got)
		}
		if got := len(NewCertain(c.address).Find(packet)) > 0; got != c.certain {
			t.Errorf("%s: found for certain %v", c.address, got)
		}
	}
}

func TestSearchFindsWhereItBegins(t *testing.T) {
	l := Find([]byte("Ünïcode, then ALICES-laptop"), "alices-laptop")
	if len(l) != 1 || l[0].At != strings.Index("Ünïcode, then ALICES-laptop", "ALICES") {
		t.Errorf("found %v", l)
	}
}

func BenchmarkSearch(b *testing.B) {
	s := NewSearch("192.168.77.23", "203.0.113.9", "alices-laptop", "Linphone/5.2", "z9hG4bK-marker", "a-tag-of-alice")
	text := []byte(strings.Repeat("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef\r\n", 20))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Find(text)
	}
}
