package proxy

import (
	"strings"
	"testing"
	"time"

	"sotto/store"
)

// maxNotice is the room for the text in a MESSAGE that fits into a datagram
// (RFC 3428 §8: 1300 octets; the headers of ours need less than 500).
const maxNotice = 800

// Whatever callers call themselves, a notice has only characters that stand in
// an address, in lines that we wrote, and fits into a datagram.
func FuzzNoticeText(f *testing.F) {
	for _, s := range []string{
		"mallory@example.com", "\u202egro.knab@evil.example", "p\u0430ypal@x", "a\r\nb: c@x", "<b>http://x.y/@z", "",
		strings.Repeat("long", 100), "\x00\x1b[31m\xff\xfe", "x (audio), 2027-01-01 00:00 UTC.\nSilenced call from y",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, claimed string, verified bool) {
		who := sanitise(claimed)
		if strings.ContainsFunc(who, func(r rune) bool { return r >= 0x80 || r != '?' && !inAddress(r) }) {
			t.Fatalf("%q is written as %q", claimed, who)
		}
		call := store.Silenced{Caller: who, Verified: verified, Media: "audio", At: time.Unix(0, 0)}
		want := "Silenced call from " + call.Who() + " (audio), 1970-01-01 00:00 UTC."
		if got := noticeText([]store.Silenced{call}); got != want || strings.Count(got, "\n") != 0 {
			t.Fatalf("%q", got)
		}
		var many []store.Silenced
		for i := range 40 { // each another caller
			one := call
			one.Caller = sanitise(strings.Repeat(string(rune('a'+i%26)), 1+i/26) + claimed)
			many = append(many, one, one)
		}
		got := noticeText(many)
		lines := strings.Split(got, "\n")
		if len(got) > maxNotice || len(lines) > maxNamed+2 || lines[0] != "80 silenced calls:" {
			t.Fatalf("%d octets: %q", len(got), got)
		}
	})
}

// Names that nobody has checked crowd no other caller out of a notice.
func TestNoticeNamesWhoWasCheckedFirst(t *testing.T) {
	var calls []store.Silenced
	for _, who := range []string{"a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"} {
		calls = append(calls, store.Silenced{Caller: who, Media: "audio"})
	}
	calls = append(calls, store.Silenced{Caller: "carol@example.com", Verified: true, Media: "audio"})
	got := strings.Split(noticeText(calls), "\n")
	for i, want := range []string{"1 from carol@example.com, ", "1 from a@x.example (not verified)"} {
		if !strings.HasPrefix(got[1+i], want) {
			t.Errorf("line %d is %q, not %s…", 1+i, got[1+i], want)
		}
	}
}

// A burst at once, and then one after the other.
func TestRate(t *testing.T) {
	r, now := rate{3, time.Hour}, time.Unix(1_000_000, 0)
	var full time.Time
	for i, step := range []struct {
		after time.Duration
		n     int
		ok    bool
	}{
		{0, 1, true},
		{0, 3, false},
		{0, 2, true},
		{0, 1, false},
		{time.Hour - 1, 1, false},
		{1, 1, true},
		{0, 1, false},
		{100 * time.Hour, 3, true},
		{0, 1, false},
	} {
		now = now.Add(step.after)
		if step.n == 1 && r.ready(full).After(now) == step.ok {
			t.Errorf("step %d: ready at %v, it is %v", i, r.ready(full), now)
		}
		var ok bool
		if full, ok = r.spend(full, step.n, now); ok != step.ok {
			t.Errorf("step %d: %v", i, ok)
		}
	}
}
