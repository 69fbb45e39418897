package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/internal/aor"
	"sotto/tokens"
)

// TestSilenced has strangers call a recipient who silences: to them it rings
// and nobody answers, and the recipient's line carries the notice and nothing
// else.
func TestSilenced(t *testing.T) {
	t.Parallel()
	t.Run("SIPp", func(t *testing.T) {
		t.Parallel()
		s, bob := silencer(t)
		mallory := s.sipp("mallory", "udp")
		from, mark := time.Now(), bob.mark()
		r := mallory.play("refused", "bob")
		r.succeeds()
		facadeOf(t, mallory.host, s, from)
		noticed(bob, mark, from, "mallory", mallory.host)
	})
	t.Run("linphonec", func(t *testing.T) {
		t.Parallel()
		s, bob := silencer(t)
		mallory := s.linphone("mallory", "udp")
		from, mark := time.Now(), bob.mark()
		dialled := mallory.call("sip:bob@" + domain)
		mallory.p.says(dialled, `to (LinphoneCallOutgoingRinging)`)
		mallory.p.says(dialled, `to (LinphoneCallError)`)
		facadeOf(t, mallory.host, s, from)
		noticed(bob, mark, from, "mallory", mallory.host)
	})
}

// silencer is a server whose bob, on linphonec, silences unknown callers.
func silencer(t *testing.T) (*server, *linphone) {
	t.Helper()
	s := newLab(t, false).serve("")
	s.set("bob", "silence_strangers", "on")
	return s, s.linphone("bob", "udp")
}

// facadeOf checks what a stranger's line carried of the call since from: 100
// at once, 180 after a second or two, 480 after half a minute (facade.md), all
// from the server.
func facadeOf(t *testing.T, h *host, s *server, from time.Time) {
	t.Helper()
	began := asked(h, from)
	at := map[string]time.Duration{}
	for _, p := range since(h.allPackets(), from) {
		line, _, _ := bytes.Cut(p.payload, []byte("\r\n"))
		invite := bytes.Contains(p.payload, []byte("INVITE\r\n"))
		switch {
		case p.src.Addr() != h.ip && p.src.Addr() != s.ip:
			t.Errorf("the stranger hears from %v", p.src)
		case invite && p.at.After(began) && bytes.HasPrefix(line, []byte("SIP/2.0 ")):
			code := string(line[8:11])
			if _, again := at[code]; !again {
				at[code] = p.at.Sub(began)
			}
		}
	}
	for code, bounds := range map[string][2]time.Duration{
		"100": {0, 5 * time.Second}, // on a machine that is this busy
		"180": {800 * time.Millisecond, 8 * time.Second},
		"480": {26 * time.Second, 40 * time.Second},
	} {
		if d, ok := at[code]; !ok || d < bounds[0] || d > bounds[1] {
			t.Errorf("%s came after %v (at all: %v), want %v", code, d, ok, bounds)
		}
	}
}

// asked is when the host's phone sent its last INVITE since from, the one with
// credentials, for the first time.
func asked(h *host, from time.Time) (began time.Time) {
	var last []byte
	for _, p := range since(h.allPackets(), from) {
		if p.src.Addr() == h.ip && bytes.HasPrefix(p.payload, []byte("INVITE ")) && !bytes.Equal(p.payload, last) {
			last, began = p.payload, p.at
		}
	}
	return began
}

// noticed waits until bob's phone shows the notice of a call, and checks that
// his line has carried nothing else since from.
func noticed(bob *linphone, mark int, from time.Time, caller string, h *host) {
	t := bob.lab.t
	t.Helper()
	bob.p.says(mark, `Message received from sip:silenced-calls@`+domain+
		`: (Silenced call from `+caller+`@`+domain+` \(audio\))`)
	bob.p.says(mark, `MESSAGE sip:silenced-calls@`+domain) // the receipt that nobody asked for
	time.Sleep(time.Second)                                // for its way to somebody, if there were one
	onlyNotices(t, bob.host, from)
	bob.noTrace(h, from, "")
	for _, p := range since(h.allPackets(), from) {
		if bytes.Contains(p.payload, []byte("imdn")) {
			t.Errorf("the caller gets a receipt of the notice: %s", p)
		}
	}
}

// noNotice checks that nothing at all of a call since from came to bob's line.
func noNotice(bob *linphone, from time.Time) {
	t := bob.lab.t
	t.Helper()
	time.Sleep(4 * time.Second) // longer than a notice waits here
	for _, p := range since(bob.allPackets(), from) {
		if bytes.HasPrefix(p.payload, []byte("MESSAGE ")) && p.dst.Addr() == bob.ip {
			t.Errorf("a notice that should not be: %s", tail(string(p.payload), 200))
		}
	}
	onlyNotices(t, bob.host, from)
}

// onlyNotices fails if anything came to a host since from but notices,
// answers to what its own phone asked, and keep-alives.
func onlyNotices(t *testing.T, h *host, from time.Time) {
	t.Helper()
	answer := regexp.MustCompile(`(?s)^SIP/2\.0 .*\r\nCSeq: \d+ (REGISTER|MESSAGE|OPTIONS|SUBSCRIBE|PUBLISH)\r\n`)
	notice := regexp.MustCompile(`(?s)^MESSAGE .*\r\nFrom: <sip:silenced-calls@` + domain + `>;`)
	for _, p := range since(h.allPackets(), from) {
		if p.dst.Addr() != h.ip || len(bytes.TrimSpace(p.payload)) == 0 {
			continue
		}
		if !answer.Match(p.payload) && !notice.Match(p.payload) {
			t.Errorf("%s's line carries %s:\n%s", h.name, p, tail(string(p.payload), 300))
		}
	}
}

// rang checks that bob's phone rang and stopped, and that his line carried no token.
func rang(bob *linphone, mark int, from time.Time) {
	bob.lab.t.Helper()
	bob.rings(mark)
	bob.p.says(mark, `to (LinphoneCallReleased|LinphoneCallEnd)`)
	for _, p := range since(bob.allPackets(), from) {
		if i := bytes.Index(p.payload, []byte("pt1.")); i >= 0 {
			bob.lab.t.Errorf("a token on bob's line: %s", tail(string(p.payload[:i+20]), 200))
		}
	}
}

// TestTokensFromSIPp has carol show her token of bob's in each of the places
// in which one may be.
func TestTokensFromSIPp(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	tok := s.keys("bob").issue("carol")
	carol := s.sipp("carol", "udp")
	for _, c := range []struct {
		name string
		edit func(*script)
	}{
		{"header", func(x *script) { x.Header = "Privacy-Token: " + tok }},
		{"alias header", func(x *script) { x.Header = "X-Privacy-Token: " + tok }},
		{"user part", func(x *script) { x.To = "bob+" + tok }},
		{"URI header", func(x *script) { x.URIHeader = "?Privacy-Token=" + tok }},
		{"URI parameter", func(x *script) { x.URIParam = ";pt=" + tok }},
		{"To parameter", func(x *script) { x.ToParam = ";pt=" + tok }},
	} {
		t.Log(c.name)
		from, mark := time.Now(), bob.mark()
		carol.edit = c.edit
		r := carol.play("giveup", "bob", "-d", "300")
		rang(bob, mark, from)
		r.succeeds()
		ownTo(t, r.heard(0))
	}
}

// ownTo checks that every response has the To that its request had.
func ownTo(t *testing.T, messages string) {
	t.Helper()
	tos := regexp.MustCompile(`(?m)^To: <([^>]*)>`).FindAllStringSubmatch(messages, -1)
	if len(tos) == 0 {
		t.Fatal("no message has a To")
	}
	for _, to := range tos {
		if to[1] != tos[0][1] {
			t.Errorf("the caller dialled %s and hears from %s", tos[0][1], to[1])
		}
	}
}

// TestTokensFromLinphone dials bob's address with a token as people do: typed,
// and from the address book (linphonec reads its own from its configuration).
func TestTokensFromLinphone(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	tok := s.keys("bob").issue("carol")
	carol := s.linphone("carol", "udp")
	for _, to := range []string{
		"sip:bob@" + domain + "?Privacy-Token=" + tok, // becomes a header of the INVITE
		"bob?Privacy-Token=" + tok,                    // becomes a user part, without <> in To
		"sip:bob+" + tok + "@" + domain,
		"sip:bob@" + domain + ";pt=" + tok, // becomes a parameter of To
	} {
		t.Log(to)
		carol.getsThrough(bob, "call "+to)
	}
	carol.p.types("quit")
	carol.p.ends(patience)
	carol = s.linphone("carol", "udp", "[friend_0]", `url="Bob" <sip:bob+`+tok+"@"+domain+">", "subscribe=0")
	list := carol.mark()
	carol.p.types("friend list")
	carol.p.says(list, `name: Bob\s+address: (sip:bob\+pt1\.)`)
	carol.getsThrough(bob, "friend call 0")
}

// getsThrough has a phone call bob by a command, and hang up when it rings.
func (l *linphone) getsThrough(bob *linphone, command string) {
	l.lab.t.Helper()
	from, mark, dialled := time.Now(), bob.mark(), l.mark()
	l.p.types(command)
	bob.rings(mark)
	l.p.says(dialled, `to (LinphoneCallOutgoingRinging)`)
	l.hangsUp()
	l.over(dialled)
	rang(bob, mark, from)
}

// TestTokensThatDoNotRing has tokens that are somebody else's, or void. To
// whoever shows one it rings as for any stranger; bob's phone gets nothing but
// notices.
func TestTokensThatDoNotRing(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	k := s.keys("bob")
	good, revoked := k.issue("carol"), k.issue("carol")
	s.sotto("revoke", k.user, revoked)
	for _, c := range []struct {
		name, user string
		token      string
		told       bool // soon: a caller causes three notices at once
	}{
		{"stolen", "mallory", good, true},
		{"revoked", "carol", revoked, true},
		{"expired", "carol", expired(t, s), true},
		{"malformed", "carol", good[:len(good)-1] + "=", true},
		{"cut off", "carol", good[:60], false},
		{"another recipient's", "carol", s.keys("alice").issue("carol"), false},
	} {
		t.Log(c.name)
		from, mark := time.Now(), bob.mark()
		x := s.sipp(c.user, "udp")
		x.edit = func(x *script) { x.Header = "Privacy-Token: " + c.token }
		x.play("giveup", "bob", "-d", "300").succeeds()
		if c.told {
			noticed(bob, mark, from, c.user, x.host)
			continue
		}
		noNotice(bob, from)
	}

	// Blocked beats token, and there is no notice either.
	s.sotto("block", "add", "bob@"+domain, "carol@"+domain)
	from := time.Now()
	x := s.sipp("carol", "udp")
	x.edit = func(x *script) { x.Header = "Privacy-Token: " + good }
	x.play("giveup", "bob", "-d", "300").succeeds()
	noNotice(bob, from)
	if list := s.sotto("silenced", "list", "bob@"+domain); strings.Count(list, "carol@") != 6 {
		t.Errorf("carol's six calls are not listed:\n%s", list)
	}
}

// TestCallback: whom bob called may call back.
func TestCallback(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	mallory := s.sipp("mallory", "udp")
	dialled := bob.call("sip:mallory@" + domain) // who is not there
	bob.p.says(dialled, `to (LinphoneCallOutgoingRinging)`)
	bob.hangsUp()
	bob.over(dialled)
	from, mark := time.Now(), bob.mark()
	r := mallory.play("giveup", "bob", "-d", "300")
	rang(bob, mark, from)
	r.succeeds()
}

// expired is a token of bob's for carol that was good last month.
func expired(t *testing.T, s *server) string {
	t.Helper()
	key, err := tokens.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	public := base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	s.sotto("key", "add", "bob@"+domain, "pk1."+public)
	then := time.Now().Add(-60 * 24 * time.Hour)
	tok, err := tokens.Issue(key, tokens.Grant{
		Recipient: user(t, "bob"), Caller: user(t, "carol"), Expires: then.Add(tokens.Life),
	}, then)
	if err != nil {
		t.Fatal(err)
	}
	return tok.String()
}

// user is the address of record of a user.
func user(t *testing.T, name string) aor.AOR {
	t.Helper()
	a, err := aor.New(name, domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestOffer has carol, on SIPp, give bob a token of hers in a protected call:
// bob's line carries it as she wrote it, and with it he may call her.
func TestOffer(t *testing.T) {
	t.Parallel()
	s := newLab(t, false).serve("")
	s.set("carol", "silence_strangers", "on")
	s.set("carol", "recent_days", "0")
	s.set("carol", "protect_ip", "always")
	bob := s.linphone("bob", "udp")
	tok := s.keys("carol").issue("bob")
	carol := s.sipp("carol", "udp")
	carol.edit = func(x *script) { x.Header = "Privacy-Token-Offer: " + tok }
	from, mark := time.Now(), bob.mark()
	r := carol.play("giveup", "bob", "-d", "300")
	bob.rings(mark)
	offer := bob.p.says(mark, `(?m)^Privacy-Token-Offer: (pt1\.\S+)`)
	r.succeeds()
	bob.noTrace(carol.host, from, "")
	if offer != tok {
		t.Errorf("bob's phone was offered %s; want %s", offer, tok)
	}
	called := carol.awaits("answer", "-rtp_echo")
	rung, dialled := called.mark(), bob.call("sip:carol+"+offer+"@"+domain)
	bob.talks(dialled)
	bob.hangsUp()
	called.sees(rung, `BYE sip:`)
}
