package rtpengine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"golang.org/x/sys/unix"

	"sotto/internal/ng"
)

// A relayer is a media relay that is attacked. offer and answer return where
// the author of the description is to send to, once that is known.
type relayer interface {
	offer(caller udp) netip.AddrPort // where the callee sends to
	answer(callee udp) netip.AddrPort
	end()
}

// ownRelay is this engine.
type ownRelay struct {
	t *testing.T
	e *Engine
}

func newOwnRelay(t *testing.T, s stage, plane Plane) *ownRelay {
	t.Helper()
	local := netip.MustParseAddr(s.relay[0])
	e, err := New(Config{Addresses: []Address{{local, local}}, PortMin: 26000, PortMax: 26999, Workers: 1, Plane: plane})
	if err != nil {
		t.Skipf("no such plane here: %v", err)
	}
	t.Cleanup(e.Close)
	return &ownRelay{t, e}
}

func (r *ownRelay) tell(side Side, u udp) {
	r.t.Helper()
	at := u.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	tell := r.e.Offer
	if side == Callee {
		tell = r.e.Answer
	}
	if _, err := tell(1, Body{From: side, SDP: plain(u, 1, false), Source: at, Toward: familyOf(at)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *ownRelay) offer(u udp) netip.AddrPort {
	r.t.Helper()
	r.tell(Caller, u)
	q, _ := r.e.Query(1)
	return q.Streams[0].Callee.Relay
}

func (r *ownRelay) answer(u udp) netip.AddrPort {
	r.t.Helper()
	r.tell(Callee, u)
	q, _ := r.e.Query(1)
	return q.Streams[0].Caller.Relay
}

func (r *ownRelay) end() { r.e.Delete(1) }

// daemon is the relay of the same name, in user space.
type daemon struct {
	t     *testing.T
	ng    *ng.Client
	flags []string
	calls int
}

func newDaemon(t *testing.T, s stage, flags ...string) *daemon {
	t.Helper()
	bin, err := exec.LookPath("rtpengine")
	if err != nil || os.Getenv("ATTACK_PEERS") == "" {
		t.Skip("rtpengine is attacked by make attacks")
	}
	const ngAt = "127.0.0.1:2223"
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, "--config-file=none", "--table=-1", "--foreground", "--log-stderr",
		"--log-level=1", "--interface="+s.relay[0], "--listen-ng="+ngAt, "--port-min=27000", "--port-max=27999")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	conn, err := net.Dial("udp", ngAt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &daemon{t: t, ng: ng.New(conn), flags: flags}
	if err := d.ng.Ready(patience); err != nil {
		t.Fatal(err)
	}
	return d
}

// ask sends a command about the call, and returns the description in the answer.
func (d *daemon) ask(command string, values map[string]any) string {
	d.t.Helper()
	values["call-id"], values["from-tag"] = fmt.Sprint("attack", d.calls), "caller"
	if len(d.flags) > 0 {
		values["flags"] = d.flags
	}
	told, err := d.ng.Ask(command, values)
	if err != nil {
		d.t.Fatal(err)
	}
	return told["sdp"]
}

// tell describes a party, and returns where the other one is to send to.
func (d *daemon) tell(command string, u udp, values map[string]any) netip.AddrPort {
	d.t.Helper()
	values["ICE"], values["sdp"] = "remove", string(plain(u, 1, false))
	at, err := ng.Audio(d.ask(command, values))
	if err != nil {
		d.t.Fatal(err)
	}
	return at
}

func (d *daemon) offer(u udp) netip.AddrPort {
	d.t.Helper()
	d.calls++
	return d.tell("offer", u, map[string]any{})
}

func (d *daemon) answer(u udp) netip.AddrPort {
	d.t.Helper()
	return d.tell("answer", u, map[string]any{"to-tag": "callee"})
}

func (d *daemon) end() { d.ask("delete", map[string]any{}) }

// An attack is a third party's: from another address, or from another port of
// the caller's.
type attack struct {
	name    string
	address string
	space   string
}

// attacks are those of a stage.
func attacks(s stage) []attack {
	other := "10.97.2.66"
	if strings.Contains(s.party[0], ":") {
		other = "fd97:2::66"
	}
	return []attack{
		{name: "nobody"},
		{"another address", other, s.spaces[Callee]},
		{"another port of the caller's address", s.party[Caller], s.spaces[Caller]},
	}
}

// loot is what an attack came to, in packets.
type loot struct{ injected, stolen, lost int }

// spoils are what the thief sends: each is marked, and would do harm if it
// crossed or taught the relay something.
func spoils(t *testing.T, seq byte) [][]byte {
	t.Helper()
	use := stun.RawAttribute{Type: stun.AttrUseCandidate}
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("mine:mine"), use, stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{
		rtpPacket(seq, "mine"), // with the party's own numbers
		append([]byte{0x80, 201, 0, 1}, "mine"...),
		check.Raw,
		append([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, seq, 0, 4}, "mine"...),
	}
}

// play has the thief send from before the offer until the end of the call,
// into the whole range and then into the call's ports.
func play(t *testing.T, s stage, r relayer, a attack) (l loot) {
	t.Helper()
	caller, callee := udp{s.phone(t, Caller), t}, udp{s.phone(t, Callee), t}
	at := s
	if a.address != "" {
		at.party[0], at.spaces[0] = a.address, a.space
	}
	thief := udp{at.phone(t, Caller), t}
	for _, u := range []udp{caller, callee, thief} {
		u.hasRoom()
	}
	volley := func(seq byte, at ...netip.AddrPort) {
		if a.address == "" {
			at = nil
		}
		for _, to := range at {
			for _, b := range spoils(t, seq) {
				thief.send(b, to)
				thief.send(b, netip.AddrPortFrom(to.Addr(), to.Port()+1))
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	relay := netip.MustParseAddr(s.relay[0])
	for port := uint16(26000); port < 28000 && a.address != ""; port++ {
		thief.send(rtpPacket(0, "mine"), netip.AddrPortFrom(relay, port))
	}
	toCallee := r.offer(caller) // where the callee sends to
	defer r.end()
	for seq := range byte(70) { // longer than a rival must wait
		volley(seq, toCallee)
	}
	toCaller := r.answer(callee)
	for seq := range byte(20) { // while the answer is on its way
		volley(seq, toCallee, toCaller)
	}
	const talk = 70
	for seq := range byte(talk) {
		caller.send(rtpPacket(seq, "party"), toCaller)
		callee.send(rtpPacket(seq, "party"), toCallee)
		volley(seq, toCallee, toCaller)
	}
	_, l.stolen = thief.drain(0)
	for _, u := range []udp{caller, callee} {
		mine, party := u.drain(talk)
		l.injected += mine
		l.lost += talk - party
	}
	return l
}

// hasRoom makes a socket hold all that is sent to it meanwhile.
func (u udp) hasRoom() {
	u.t.Helper()
	raw, err := u.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		})
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// drain counts the packets that a socket gets. It waits for so many of a party,
// and then for some time for what should not come.
func (u udp) drain(want int) (mine, party int) {
	b := make([]byte, 2000)
	for {
		wait := patience
		if party >= want {
			wait = 100 * time.Millisecond
		}
		_ = u.SetReadDeadline(time.Now().Add(wait))
		n, err := u.Read(b)
		if err != nil {
			return mine, party
		}
		if bytes.Contains(b[:n], []byte("mine")) {
			mine++
		}
		if bytes.Contains(b[:n], []byte("party")) {
			party++
		}
	}
}

// TestAttacks has a third party attack calls over both planes; the daemon of
// the same name, where it is installed, is attacked in the same way and its
// losses are printed beside.
func TestAttacks(t *testing.T) {
	var table strings.Builder
	for _, s := range kernelStages(t)[2:] {
		t.Run(s.name, func(t *testing.T) {
			runtime.LockOSThread() // the thread ends with the test
			name := strings.TrimSuffix(s.spaces[0], "a")
			enter(t, name)
			more(t, s)
			for _, relay := range []struct {
				name string
				make func(t *testing.T) relayer
			}{
				{"Sotto, user space", func(t *testing.T) relayer { return newOwnRelay(t, s, PlaneUser) }},
				{"Sotto, kernel", func(t *testing.T) relayer { return newOwnRelay(t, s, PlaneKernel) }},
				{"rtpengine", func(t *testing.T) relayer { return newDaemon(t, s) }},
				{"rtpengine, strict-source", func(t *testing.T) relayer { return newDaemon(t, s, "strict-source") }},
			} {
				t.Run(relay.name, func(t *testing.T) {
					runtime.LockOSThread()
					enter(t, name)
					attacked(t, &table, s, relay.name, relay.make(t))
				})
			}
		})
	}
	const head = "| relay | network | attacker | injected | stolen | lost |\n|---|---|---|---|---|---|\n"
	t.Logf("of 140 packets of the parties:\n%s%s", head, &table)
}

// attacked plays all attacks on one relay, and writes their rows.
func attacked(t *testing.T, table io.Writer, s stage, name string, r relayer) {
	t.Helper()
	for _, a := range attacks(s) {
		l := play(t, s, r, a)
		fmt.Fprintf(table, "| %s | %s | %s | %d | %d | %d |\n", name, s.name, a.name, l.injected, l.stolen, l.lost)
		if _, own := r.(*ownRelay); own && l != (loot{}) {
			t.Errorf("%s: %+v", a.name, l)
		}
	}
}

// more gives the callee's namespace a second address, the thief's, and the
// relay's a loopback for commands.
func more(t *testing.T, s stage) {
	t.Helper()
	for _, a := range []string{"10.97.2.66/24", "fd97:2::66/64 nodad"} {
		args := append([]string{"-n", s.spaces[Callee], "addr", "add"}, strings.Fields(a)...)
		_ = exec.Command("ip", append(args, "dev", "v0")...).Run() // it may have it
	}
}

// A party that changes its address is heard from there when it has said so,
// and not before; then it is heard from nowhere else.
func TestMovedParty(t *testing.T) {
	for _, s := range kernelStages(t)[2:] {
		for _, plane := range []Plane{PlaneUser, PlaneKernel} {
			t.Run(s.name+", "+string(plane), func(t *testing.T) {
				runtime.LockOSThread()
				enter(t, strings.TrimSuffix(s.spaces[0], "a"))
				r := newOwnRelay(t, s, plane)
				caller, callee := udp{s.phone(t, Caller), t}, udp{s.phone(t, Callee), t}
				toCallee := r.offer(caller)
				toCaller := r.answer(callee)
				talk := func(from udp, seq byte) {
					t.Helper()
					from.send(rtpPacket(seq, "party"), toCaller)
					callee.gets(rtpPacket(seq, "party"), toCallee)
					callee.send(rtpPacket(seq, "party"), toCallee)
					from.gets(rtpPacket(seq, "party"), toCaller)
				}
				talk(caller, 1)
				talk(caller, 2)
				moved := udp{s.phone(t, Caller), t}
				moved.send(rtpPacket(3, "mine"), toCaller)
				if mine, _ := callee.drain(0); mine != 0 {
					t.Error("it is heard from where it has not said to be")
				}
				r.offer(moved)
				r.answer(callee)
				talk(moved, 4)
				talk(moved, 5)
				caller.send(rtpPacket(6, "mine"), toCaller)
				if mine, _ := callee.drain(0); mine != 0 {
					t.Error("it is heard from where it has been")
				}
			})
		}
	}
}
