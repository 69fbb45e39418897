package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of docs/nat.md anew")

// kinds of NAT of the matrix.
var kinds = []nat{noNAT, fullCone, portRestricted, symmetric}

// TestNATKinds is about the lab itself: a kind that maps or filters otherwise
// than its name says would make the matrix worth nothing.
func TestNATKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind           nat
		oneMapping     bool // for all destinations
		strangersEnter bool
	}{
		{fullCone, true, true}, {portRestricted, true, false}, {symmetric, false, false},
	} {
		t.Run(c.kind.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			inside := l.behind(c.kind, "alice").socket(7078)
			bob, carol, mallory := l.host("bob").socket(7078), l.host("carol").socket(7078), l.host("mallory").socket(7078)
			toBob, toCarol := arrives(t, inside, bob), arrives(t, inside, carol)
			if got := toBob == toCarol; got != c.oneMapping {
				t.Errorf("seen as %v and %v", toBob, toCarol)
			}
			enter := func(what string, from *net.UDPConn, to netip.AddrPort) {
				eventually(t, what+" is let in", func() bool { return enters(t, from, to, inside) })
			}
			enter("an answer of bob's", bob, toBob)
			enter("an answer of carol's", carol, toCarol)
			if c.strangersEnter {
				enter("a stranger's packet", mallory, toBob)
			} else if enters(t, mallory, toBob, inside) {
				t.Error("a stranger's packet is let in")
			}
		})
	}
}

// arrives sends a packet out and returns where it seems to come from.
func arrives(t *testing.T, from, to *net.UDPConn) netip.AddrPort {
	t.Helper()
	var seen netip.AddrPort
	eventually(t, "a packet from inside arrives", func() bool {
		if _, err := from.WriteTo([]byte("hello"), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		_ = to.SetReadDeadline(time.Now().Add(time.Second))
		_, src, err := to.ReadFromUDPAddrPort(make([]byte, 64))
		seen = src
		return err == nil
	})
	return seen
}

// enters sends a packet to a mapping and tells whether it, or one before it,
// comes out inside within some time.
func enters(t *testing.T, from *net.UDPConn, to netip.AddrPort, inside *net.UDPConn) bool {
	t.Helper()
	text := []byte(from.LocalAddr().String())
	if _, err := from.WriteToUDPAddrPort(text, to); err != nil {
		t.Fatal(err)
	}
	_ = inside.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	b := make([]byte, 64)
	for {
		n, _, err := inside.ReadFromUDPAddrPort(b)
		if err != nil || bytes.Equal(b[:n], text) {
			return err == nil
		}
	}
}

// TestNAT has phones behind each kind of NAT, and behind none, call one
// another, protected and not. Both must be heard in every cell, and the table
// in docs/nat.md is what came of it.
func TestNAT(t *testing.T) {
	t.Parallel()
	rows := make([][]string, len(kinds))
	t.Run("cells", func(t *testing.T) {
		for i, near := range kinds {
			t.Run(near.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = cells(t, near, i%2 == 0)
			})
		}
	})
	var table strings.Builder
	for _, row := range rows {
		for _, line := range row {
			table.WriteString(line)
		}
	}
	documented(t, "matrix", table.String())
}

// cells are the calls of one phone to those behind each kind of NAT.
func cells(t *testing.T, near nat, linphoneCalls bool) (rows []string) {
	l := newLab(t, false)
	s := l.serve(acquainted)
	s.addUser("tablet")
	l.behind(near, "alice")
	caller := s.softphone(linphoneCalls, "alice", callerTone)
	for i, user := range []string{"bob", "carol", "mallory", "tablet"} {
		l.behind(kinds[i], user)
		callee := s.softphone(!linphoneCalls, user, calleeTone)
		var how []string
		for _, m := range []mode{modes[0], modes[3]} {
			t.Logf("to someone behind %s, protected: %s", kinds[i].name, m.name)
			s.set("alice", "protect_ip", m.caller)
			s.set(user, "protect_ip", m.callee)
			how = append(how, through(s, caller, callee, m))
		}
		clients := "baresip, linphonec"
		if linphoneCalls {
			clients = "linphonec, baresip"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |\n", near.name, kinds[i].name, clients, how[0], how[1]))
	}
	s.idle()
	return rows
}

// softphone is linphonec or baresip.
func (s *server) softphone(linphonec bool, user string, hz float64) softphone {
	if linphonec {
		return s.linphone(user, "udp")
	}
	return s.baresip(user, "udp", hz)
}

// through is one call in which both are heard. It tells which way the media went.
func through(s *server, caller, callee softphone, m mode) string {
	t := s.lab.t
	t.Helper()
	from := time.Now()
	c := dials(caller, callee)
	c.heardBothWays()
	caller.hangsUp()
	c.isOver()
	if m.caller == "always" {
		callee.place().noTrace(caller.place(), from, callee.heard(c.rung))
		caller.place().noTrace(callee.place(), from, caller.heard(c.dialled))
	}
	if rtp(since(caller.place().allPackets(), from), s.ip, caller.place().ip) > 0 {
		return "both heard, relayed"
	}
	return "both heard, direct"
}

// A conversation is a call between two phones.
type conversation struct {
	t              *testing.T
	caller, callee softphone
	dialled, rung  int // marks
}

// dials has one phone call another, which answers.
func dials(caller, callee softphone) *conversation {
	c := &conversation{t: caller.place().lab.t, caller: caller, callee: callee}
	c.t.Helper()
	caller.forget()
	callee.forget()
	c.rung = callee.mark()
	c.dialled = caller.call("sip:" + callee.place().name + "@" + domain)
	callee.rings(c.rung)
	callee.answers()
	caller.talks(c.dialled)
	callee.talks(c.rung)
	return c
}

// heardBothWays has both play their tones for a second.
func (c *conversation) heardBothWays() {
	c.t.Helper()
	c.caller.plays(callerTone)
	c.callee.plays(calleeTone)
	audible(c.caller.place())
	audible(c.callee.place())
}

// isOver waits for the end of the call and looks at what was recorded.
func (c *conversation) isOver() {
	c.t.Helper()
	c.caller.over(c.dialled)
	c.callee.over(c.rung)
	eventually(c.t, "the caller has heard the callee", func() bool { return c.caller.hears(calleeTone) })
	eventually(c.t, "the callee has heard the caller", func() bool { return c.callee.hears(callerTone) })
}

var document sync.Mutex // docs/nat.md, which several tests write with -update

// documented compares a table with the rows between its markers in
// docs/nat.md.
func documented(t *testing.T, name, rows string) {
	t.Helper()
	if t.Failed() {
		return
	}
	document.Lock()
	defer document.Unlock()
	const file = "../docs/nat.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok1 := strings.Cut(string(text), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for %q", file, name)
	}
	head := strings.Join(strings.SplitAfterN(was, "\n", 3)[:2], "")
	switch {
	case was == head+rows:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+head+rows+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the calls came to (go test ./e2e -run %s -update):\n%s", file, t.Name(), rows)
	}
}

// TestNATHairpin has both phones behind the same NAT.
func TestNATHairpin(t *testing.T) {
	t.Parallel()
	for _, kind := range []nat{portRestricted, symmetric} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			s := l.serve(acquainted)
			box := l.natbox("alice-nat", kind)
			box.behind("alice")
			box.behind("bob")
			alice, bob := s.linphone("alice", "udp"), s.baresip("bob", "udp", calleeTone)
			for _, m := range []mode{modes[0], modes[3]} {
				s.set("alice", "protect_ip", m.caller)
				s.set("bob", "protect_ip", m.callee)
				through(s, alice, bob, m)
			}
			s.idle()
		})
	}
}

// TestNATExpiry has a NAT that forgets a mapping after five seconds. A phone
// that keeps it alive can be called much later; one that does not cannot,
// which shows that the NAT does forget.
func TestNATExpiry(t *testing.T) {
	t.Parallel()
	l := newLab(t, false)
	s := l.serve(acquainted)
	s.set("bob", "protect_ip", "always")
	s.set("alice", "protect_ip", "always")
	for _, user := range []string{"bob", "carol"} {
		box := l.natbox(user+"-nat", portRestricted)
		box.forgets(5 * time.Second)
		box.behind(user)
	}
	alice := s.baresip("alice", "udp", callerTone)
	bob := s.linphone("bob", "udp", "keepalive_period=1500")
	carol := s.linphone("carol", "udp", "keepalive_period=600000")
	time.Sleep(15 * time.Second)
	mark := carol.mark()
	dialled := alice.call("sip:carol@" + domain)
	time.Sleep(3 * time.Second)
	if strings.Contains(carol.heard(mark), "Receiving new incoming call") {
		t.Error("the NAT remembers what nobody used for 15 s")
	}
	alice.hangsUp()
	alice.over(dialled)
	through(s, alice, bob, modes[0])
	s.set("bob", "protect_ip", "never")
	s.set("alice", "protect_ip", "never")
	through(s, alice, bob, modes[3])
}

// TestAddressChange moves a phone to another network in the middle of a call.
// It registers anew and sends a re-INVITE; the call goes on.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{modes[0], modes[3]} {
		t.Run("protected "+m.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			s := l.serve(acquainted)
			s.set("alice", "protect_ip", m.caller)
			s.set("bob", "protect_ip", m.callee)
			alice, bob := s.linphone("alice", "udp"), s.baresip("bob", "udp", calleeTone)
			from := time.Now()
			c := dials(alice, bob)
			c.heardBothWays()
			old, moved := *alice.host, alice.mark()
			alice.moves(numbers["tablet"])
			alice.p.says(moved, `Register refresher \[(200)\]`)
			alice.p.says(moved, `CSeq: \d+ INVITE`)
			at := time.Now()
			c.heardBothWays()
			bob.hangsUp()
			c.isOver()
			if !onLine(bob.host, at, callerTone) {
				t.Error("the callee does not hear the caller any more")
			}
			if m.callee == "always" {
				bob.noTrace(alice.host, from, bob.heard(c.rung))
				bob.noTrace(&old, from, bob.heard(c.rung))
				alice.noTrace(bob.host, from, alice.heard(c.dialled))
			}
			s.idle()
		})
	}
}

// TestConnectionLoss breaks the connections of phones behind a NAT. They
// connect and register again, and can be called.
func TestConnectionLoss(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false)
			s := l.serve(acquainted)
			box := l.natbox("bob-nat", symmetric)
			box.behind("bob")
			alice, bob := s.baresip("alice", transport, callerTone), s.linphone("bob", transport)
			for _, m := range []mode{modes[0], modes[3]} {
				s.set("alice", "protect_ip", m.caller)
				s.set("bob", "protect_ip", m.callee)
				through(s, alice, bob, m)
				lost := bob.mark()
				box.breaks(bob.host)
				bob.p.says(lost, `Register refresher \[(200)\]`)
				through(s, alice, bob, m)
			}
			s.idle()
		})
	}
}
