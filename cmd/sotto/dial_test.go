package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sotto/proxy/phone"
)

// dial CALLER CALLEE [FILE] has a user call another at the server of the script,
// over real sockets; the users' password is "secret", and FILE has the address to dial. The callee answers and
// the caller hangs up. After ! the callee must hear nothing, and the caller
// gives up once it rings.
func dial(ts *testscript.TestScript, silenced bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	caller, callee := register(ctx, ts, args[0]), register(ctx, ts, args[1])
	to := "sip:" + args[1]
	if len(args) > 2 {
		to = strings.TrimSpace(ts.ReadFile(args[2]))
	}
	out, err := caller.Invite(to)
	ts.Check(err)
	if silenced {
		_, err = out.Progress(ctx, 180)
		ts.Check(err)
		ts.Check(out.Cancel(ctx))
		unheard(ts, callee)
		return
	}
	answer(ctx, ts, callee, out)
	ts.Check(out.Bye(ctx))
}

// talk CALLER CALLEE leaves the two talking. After ! the server must say that
// it has no room for the call, and the callee must hear nothing.
func converseIn(ts *testscript.TestScript, full bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	caller, callee := register(ctx, ts, args[0]), register(ctx, ts, args[1])
	out, err := caller.Invite("sip:" + args[1])
	ts.Check(err)
	if full {
		_, err := out.Progress(ctx, 503)
		ts.Check(err)
		unheard(ts, callee)
		return
	}
	answer(ctx, ts, callee, out)
}

// unheard says that a phone has heard of no call.
func unheard(ts *testscript.TestScript, callee *phone.Phone) {
	for _, p := range callee.Received() {
		if strings.HasPrefix(string(p.Data), "INVITE ") {
			ts.Fatalf("the callee heard\n%s", p.Data)
		}
	}
}

// ping N opens N connections to the server of the script, each of which is
// answered a keep-alive (RFC 5626 §4.4.1) while all are open. After ! one more is
// closed without an answer.
func ping(ts *testscript.TestScript, refused bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		c, err := net.DialTimeout("tcp", ts.Getenv("HOST")+":5060", patience)
		ts.Check(err)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte("\r\n\r\n")) // one that is closed says so when it is read
		got, _ := c.Read(make([]byte, 2))
		if closed := got == 0; closed != (refused && i == n-1) {
			ts.Fatalf("connection %d: closed is %v", i+1, closed)
		}
	}
}

// speak CALLER CALLEE SECONDS has the two talk until each has heard the
// other's tone and so long after; then the caller hangs up. After ! the callee
// sends nothing, and the call is left as it is.
func speak(ts *testscript.TestScript, deaf bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seconds, err := strconv.Atoi(args[2])
	ts.Check(err)
	caller, callee := register(ctx, ts, args[0]), register(ctx, ts, args[1])
	out, err := caller.Invite("sip:" + args[1])
	ts.Check(err)
	in := answer(ctx, ts, callee, out)
	out.Tone(callerTone)
	ts.Check(in.Hears(ctx, callerTone))
	if !deaf {
		in.Tone(calleeTone)
		ts.Check(out.Hears(ctx, calleeTone))
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	if !deaf {
		ts.Check(out.Bye(ctx))
	}
}

// answer has a phone take the call that is on its way.
func answer(ctx context.Context, ts *testscript.TestScript, callee *phone.Phone, out *phone.Call) *phone.Call {
	in, err := callee.Incoming(ctx)
	ts.Check(err)
	ts.Check(in.Ring(ctx))
	ts.Check(in.Answer(ctx))
	ts.Check(out.Answered(ctx))
	return in
}

// register opens a phone of a user, until the script ends.
func register(ctx context.Context, ts *testscript.TestScript, who string) *phone.Phone {
	name, domain, _ := strings.Cut(who, "@")
	server, err := netip.ParseAddrPort(ts.Getenv("HOST") + ":5060")
	ts.Check(err)
	p, err := phone.New(phone.Config{
		User: name, Domain: domain, Password: "secret", Server: server, Mute: true, RTCPEvery: time.Second,
		Local: netip.AddrPortFrom(server.Addr(), 0),
	})
	ts.Check(err)
	ts.Defer(p.Close)
	_, err = p.Register(ctx)
	ts.Check(err)
	return p
}
