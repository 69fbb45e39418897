package proxy_test

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
)

// facadeMutants are differences of one state from the others that the proof must see:
// what a stranger gets is changed as a fault of the server would change it.
var facadeMutants = []struct {
	name   string
	change func(k *phone.Packet)
}{
	{"tag of hex digits", eachTag(func(tag string) string {
		return "t1-" + hex.EncodeToString([]byte(tag[3:11]))
	})},
	{"tag of lower case letters", eachTag(strings.ToLower)},
	{"longer tag", eachTag(func(tag string) string { return tag + "x" })},
	{"tag with another prefix", eachTag(func(tag string) string { return "t2-" + tag[3:] })},
	{"longer Contact", replaced("Contact: <sip:", "Contact: <sip:"+strings.Repeat("x", 8))},
	{"one more header", replaced("\r\nCSeq: ", "\r\nServer: Sotto\r\nCSeq: ")},
	{"one more header in finals", inside("SIP/2.0 480", "\r\nCSeq: ", "\r\nRetry-After: 5\r\nCSeq: ")},
	{"one method less", replaced(", PRACK", "")},
	{"header in lower case", replaced("\r\nAllow:", "\r\nallow:")},
	{"other reason phrase", replaced("480 Temporarily Unavailable", "480 Temporarily not available")},
	{"other code", replaced("480 Temporarily Unavailable", "486 Busy Here")},
	{"one space more", replaced("SIP/2.0 180 Ringing", "SIP/2.0 180 Ringing ")},
	{"100 5 ms later", later("SIP/2.0 100", 5*time.Millisecond)},
	{"180 5 ms later", later("SIP/2.0 180", 5*time.Millisecond)},
	{"480 5 ms later", later("SIP/2.0 480", 5*time.Millisecond)},
	{"480 5 ms earlier", later("SIP/2.0 480", -5*time.Millisecond)},
}

var toTag = regexp.MustCompile(`(\r\nTo: [^\r]*;tag=)(t1-[^;\r]*)`)

// eachTag changes the tag of the server's.
func eachTag(change func(string) string) func(*phone.Packet) {
	return func(k *phone.Packet) {
		k.Data = toTag.ReplaceAllFunc(k.Data, func(m []byte) []byte {
			p := toTag.FindSubmatch(m)
			return append(bytes.Clone(p[1]), change(string(p[2]))...)
		})
	}
}

func replaced(old, by string) func(*phone.Packet) { return inside("", old, by) }

// inside replaces a text in messages that begin so.
func inside(begin, old, by string) func(*phone.Packet) {
	return func(k *phone.Packet) {
		if bytes.HasPrefix(k.Data, []byte(begin)) {
			k.Data = bytes.Replace(k.Data, []byte(old), []byte(by), 1)
		}
	}
}

// later moves messages that begin so.
func later(begin string, d time.Duration) func(*phone.Packet) {
	return func(k *phone.Packet) {
		if bytes.HasPrefix(k.Data, []byte(begin)) {
			k.At = k.At.Add(d)
		}
	}
}

// mutated are packets after a change.
func mutated(packets []phone.Packet, change func(*phone.Packet)) []phone.Packet {
	var all []phone.Packet
	for _, k := range packets {
		if change(&k); k.Data != nil {
			all = append(all, k)
		}
	}
	return all
}

// TestFacadeMutantsAreCaught shows that the proof proves something: two states that no
// test tells apart are told apart as soon as one of them differs in anything.
func TestFacadeMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand calls")
	}
	rings := observed(t, states[0], "mutants")
	silences := observed(t, states[1], "mutants")
	whole := observe(rings)
	differences := func(o observation) []string {
		what, _ := o.differs(whole)
		return append(what, o.shifted(whole)...)
	}
	if what := differences(observe(silences)); len(what) > 0 {
		t.Fatalf("%q and %q differ by %v", states[0].name, states[1].name, what)
	}
	if what := differences(observe(silences[1:])); len(what) == 0 {
		t.Error("nobody notices one message less")
	}
	for _, m := range facadeMutants {
		t.Run(m.name, func(t *testing.T) {
			what := differences(observe(mutated(silences, m.change)))
			if len(what) == 0 {
				t.Error("nobody notices")
			}
			t.Logf("caught by %v", what)
		})
	}
}
