package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	secretA = []byte("0123456789abcdef0123456789abcdef")
	secretB = []byte("fedcba9876543210fedcba9876543210")
	testNow = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
)

func sealerOf(t testing.TB, current, previous []byte) *sealer {
	t.Helper()
	s, err := newSealer(current, previous)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// typicalBox is the Contact of a softphone behind NAT, on UDP.
func typicalBox() box {
	return box{
		leg: calleeLeg, mark: markOf("f81d4fae@192.168.77.23"), session: 1<<63 + 5, binding: 1<<62 + 7,
		salt: 7, expires: testNow.Add(24 * time.Hour), aor: "alice@example.com",
		target: "sip:alice@192.168.77.23:40312;transport=udp",
		flow: flowRef{
			Transport: "udp", Local: netip.MustParseAddrPort("198.51.100.1:5060"),
			Peer: netip.MustParseAddrPort("203.0.113.9:40312"),
		},
	}
}

func boxes() map[string]box {
	linphone := typicalBox()
	baresip := typicalBox()
	baresip.target = "sip:alice-0x55882bfa95c0@192.168.77.23:49712;transport=tcp"
	baresip.flow.Transport, baresip.flow.ID = "tcp", 4711
	six := typicalBox()
	six.target = "sip:alice@[2001:db8:1:2:3:4:5:6]:5061;transport=tls"
	six.flow = flowRef{
		Transport: "tls", ID: 1<<64 - 1,
		Local: netip.MustParseAddrPort("[2001:db8::1]:5061"),
		Peer:  netip.MustParseAddrPort("[fe80::1%eth0]:50000"),
	}
	tags := typicalBox()
	tags.ownTag, tags.shownTag = "CMJ~XXz", "t1-0123456789abcdef"
	tags.late = true
	trunk := typicalBox()
	trunk.flow, trunk.binding, trunk.aor = flowRef{}, 0, ""
	trunk.routes = []string{"sip:10.0.0.5;lr", "sip:[2001:db8::9]:5080;transport=tcp;lr;ftag=x"}
	return map[string]box{
		"linphone": linphone, "baresip": baresip, "six": six, "tags": tags, "trunk": trunk,
		"route":  {kind: boxRoute, expires: testNow.Add(time.Second), flow: linphone.flow},
		"facade": {kind: boxFacade, expires: testNow.Add(time.Minute)},
		"widows": {kind: boxContact, expires: testNow.Add(time.Minute), ownTag: "only one"},
	}
}

func TestBoxRoundTrip(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	for name, b := range boxes() {
		text, err := s.seal(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !sealedUser(text) {
			t.Errorf("%s: %q is not recognised", name, text)
		}
		got, err := s.open(text, testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.key = s.keys()[0].id
		if !reflect.DeepEqual(got, b) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, b)
		}
	}
}

// A typical box must leave room for the rest of an INVITE in one datagram.
func TestTypicalBoxIsShort(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	for _, name := range []string{"linphone", "baresip"} {
		text, err := s.seal(boxes()[name])
		if err != nil {
			t.Fatal(err)
		}
		if len(text) >= 200 {
			t.Errorf("%s: %d characters", name, len(text))
		}
	}
}

// The length of what is sealed must not tell one phone's Contact from another's.
func TestLengthTellsLittle(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	short, long := typicalBox(), typicalBox()
	short.target, long.target = "sip:a@10.0.0.1", "sip:alice@[2001:db8:1:2:3:4:5:6]:5061;transport=tls"
	short.flow, long.flow = boxes()["linphone"].flow, boxes()["baresip"].flow
	a, err1 := s.seal(short)
	b, err2 := s.seal(long)
	if err1 != nil || err2 != nil || len(a) != len(b) {
		t.Errorf("boxes: %d and %d characters (%v, %v)", len(a), len(b), err1, err2)
	}
	if a, b := s.callID("x"), s.callID(strings.Repeat("x", callIDBlock-1)); len(a) != len(b) {
		t.Errorf("Call-IDs: %d and %d characters", len(a), len(b))
	}
	if a, b := s.tag("x"), s.tag("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"); len(a) != len(b) {
		t.Errorf("tags: %d and %d characters", len(a), len(b))
	}
}

func TestSealedTextIsAToken(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	text, err := s.seal(typicalBox())
	if err != nil {
		t.Fatal(err)
	}
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	for _, v := range []string{text, s.callID("a@b"), s.tag("x"), s.digest("p", "x")} {
		if strings.Trim(v, token) != "" || v == "" {
			t.Errorf("%q has more than token characters", v)
		}
	}
}

func TestForgedBoxes(t *testing.T) {
	s := sealerOf(t, secretA, secretB)
	good, err := s.seal(typicalBox())
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := sealerOf(t, []byte(strings.Repeat("k", 32)), nil).seal(typicalBox())
	forged := map[string]string{
		"empty": "", "prefix alone": sealPrefix, "plain user": "alice", "other key": stranger,
		"cut": good[:len(good)-4], "longer": good + "AAAA", "line end": good[:20] + "\n" + good[20:],
		"a Call-ID": s.callID(strings.Repeat("x", 100)), "a tag": s.tag("x"),
		"huge":            sealPrefix + strings.Repeat("A", 1<<20),
		"other base64":    good[:len(good)-1] + "=",
		"without prefix":  strings.TrimPrefix(good, sealPrefix),
		"prefix in caps":  strings.ToUpper(sealPrefix) + strings.TrimPrefix(good, sealPrefix),
		"percent escaped": strings.Replace(good, "s", "%73", 1),
	}
	for i := len(sealPrefix); i < len(good); i += 7 {
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		forged["altered at "+string(rune('0'+i%10))+good[i:i+1]] = good[:i] + string(other) + good[i+1:]
	}
	for name, text := range forged {
		if _, err := s.open(text, testNow); !errors.Is(err, errForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBoxExpires(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	b := typicalBox()
	text, err := s.seal(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(text, b.expires.Add(-time.Second)); err != nil {
		t.Errorf("a second before: %v", err)
	}
	if _, err := s.open(text, b.expires); !errors.Is(err, errExpired) {
		t.Errorf("at its time: %v", err)
	}
}

func TestBoxThatCannotBeWritten(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	for name, change := range map[string]func(*box){
		"no expiry":         func(b *box) { b.expires = time.Time{} },
		"expiry after 2156": func(b *box) { b.expires = testNow.AddDate(200, 0, 0) },
		"control character": func(b *box) { b.target = "sip:a\x01@b" },
		"line end":          func(b *box) { b.routes = []string{"sip:a\r\nb"} },
		"unknown transport": func(b *box) { b.flow.Transport = "sctp" },
		"too long":          func(b *box) { b.target = strings.Repeat("x", maxBox) },
		"unknown kind":      func(b *box) { b.kind = boxFacade + 1 },
	} {
		b := typicalBox()
		change(&b)
		if text, err := s.seal(b); err == nil {
			t.Errorf("%s: sealed as %q", name, text)
		}
	}
}

func TestIdentifiersMapBothWays(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	for _, id := range []string{"", "a", "3848276298@192.168.77.23", strings.Repeat("y", 300)} {
		sealed := s.callID(id)
		if sealed != s.callID(id) {
			t.Errorf("%q: sealing is not deterministic", id)
		}
		if got, ok := s.openCallID(sealed); !ok || got != id {
			t.Errorf("%q opens to %q, %v", id, got, ok)
		}
		if got, ok := s.openTag(s.tag(id)); !ok || got != id {
			t.Errorf("tag %q opens to %q, %v", id, got, ok)
		}
		if _, ok := s.openTag(sealed); ok {
			t.Errorf("%q: a Call-ID opens as a tag", id)
		}
		if twice, ok := s.openCallID(s.callID(sealed)); !ok || twice != sealed {
			t.Errorf("%q: sealed twice, it opens to %q", id, twice)
		}
	}
}

func TestRotation(t *testing.T) {
	before := sealerOf(t, secretA, nil)
	after := sealerOf(t, secretB, secretA)
	text, err := before.seal(typicalBox())
	if err != nil {
		t.Fatal(err)
	}
	b, err := after.open(text, testNow)
	if err != nil {
		t.Fatalf("sealed with the previous key: %v", err)
	}
	if got, ok := after.openCallID(before.callID("x")); !ok || got != "x" {
		t.Errorf("Call-ID of the previous key opens to %q, %v", got, ok)
	}
	if after.callID("x") == before.callID("x") {
		t.Error("a new dialog is sealed with the old key")
	}
	// The dialog of the box keeps its identifiers, in this box and in the next.
	if got := after.at(b.key).callID("x"); got != before.callID("x") {
		t.Errorf("Call-ID changed within the dialog: %q", got)
	}
	again, err := after.seal(b)
	if err != nil {
		t.Fatal(err)
	}
	if b2, err := after.open(again, testNow); err != nil || b2.key != b.key {
		t.Errorf("box lost its key: %v, %d, %d", err, b2.key, b.key)
	}
	if _, err := sealerOf(t, secretB, nil).open(text, testNow); !errors.Is(err, errForged) {
		t.Errorf("sealed with a key that is gone: %v", err)
	}
	if got := after.at(b.key).at(0); got.keys()[0].id != b.key {
		t.Error("at(0) must not change the key")
	}
}

func TestSealerWantsAKey(t *testing.T) {
	for _, keys := range [][2][]byte{{nil, nil}, {secretA[:31], nil}, {secretA, secretB[:5]}} {
		if s, err := newSealer(keys[0], keys[1]); err == nil {
			t.Errorf("%d and %d bytes: %v", len(keys[0]), len(keys[1]), s)
		}
	}
}

func TestDigestSeparatesItsParts(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	seen := map[string]bool{}
	for _, parts := range [][]string{
		{"loop"}, {"loop", ""}, {"loop", "ab", "c"}, {"loop", "a", "bc"}, {"tag", "a", "bc"},
	} {
		d := s.digest(parts[0], parts[1:]...)
		if seen[d] || len(d) != digestLen {
			t.Errorf("%q: %q", parts, d)
		}
		seen[d] = true
	}
}

func TestLocalTag(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	req := parseRequest(t, invite())
	tag := s.localTag(req)
	if tag != s.localTag(parseRequest(t, invite())) {
		t.Error("a retransmission gets another tag")
	}
	if !isLocalTag(tag) || isLocalTag("CMJ~XXz") || isLocalTag(s.tag("x")) {
		t.Errorf("%q is not told from the tags of devices", tag)
	}
	for _, change := range [][2]string{
		{"Call-ID: ", "Call-ID: x"}, {"branch=", "branch=x"}, {";tag=", ";tag=x"},
	} {
		other := parseRequest(t, strings.Replace(invite(), change[0], change[1], 1))
		if s.localTag(other) == tag {
			t.Errorf("%q: same tag for another request", change[1])
		}
	}
}

// FuzzBox: nothing but what seal made opens, and whatever decodes is written
// back to the same bytes' meaning.
func FuzzBox(f *testing.F) {
	s := sealerOf(f, secretA, nil)
	for _, b := range boxes() {
		text, err := s.seal(b)
		if err != nil {
			f.Fatal(err)
		}
		raw, _ := b.encode()
		f.Add(text, raw)
	}
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		if b, err := s.open(text, testNow); err == nil {
			again, err := s.seal(b)
			if err != nil || again != text {
				t.Errorf("%q opens but is %q, %v", text, again, err)
			}
		}
		if b, err := decodeBox(raw); err == nil {
			writesBack(t, b)
		}
	})
}

// writesBack says that a box means the same after it was written and read.
func writesBack(t *testing.T, b box) {
	t.Helper()
	raw, err := b.encode()
	if err != nil {
		return // too long, or with control characters: never sealed
	}
	if got, err := decodeBox(raw); err != nil || !reflect.DeepEqual(b, got) {
		t.Errorf("%+v\nbecame %+v, %v", b, got, err)
	}
}

// FuzzSealedID: every Call-ID and tag comes back, and no text that we did not
// make opens.
func FuzzSealedID(f *testing.F) {
	s := sealerOf(f, secretA, secretB)
	f.Add("a@192.168.77.23")
	f.Add(s.callID("x"))
	f.Add(s.tag("x"))
	f.Fuzz(func(t *testing.T, id string) {
		if got, ok := s.openCallID(s.callID(id)); !ok || got != id {
			t.Errorf("%q became %q", id, got)
		}
		if got, ok := s.openTag(s.tag(id)); !ok || got != id {
			t.Errorf("tag %q became %q", id, got)
		}
		if opened, ok := s.openCallID(id); ok && s.callID(opened) != id {
			t.Errorf("%q opens to %q, but is not made from it", id, opened)
		}
		if len(id) > 8 && bytes.Contains([]byte(s.callID(id)), []byte(id)) {
			t.Errorf("%q shows", id)
		}
	})
}

func BenchmarkSealBox(b *testing.B) {
	s, x := sealerOf(b, secretA, nil), typicalBox()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.seal(x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenBox(b *testing.B) {
	s := sealerOf(b, secretA, nil)
	text, err := s.seal(typicalBox())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.open(text, testNow); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealCallID(b *testing.B) {
	s := sealerOf(b, secretA, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.callID("3848276298220188511@192.168.77.23")
	}
}
