package main

import (
	"context"
	"net/netip"
	"strings"

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
		for _, p := range callee.Received() {
			if strings.HasPrefix(string(p.Data), "INVITE ") {
				ts.Fatalf("the callee heard\n%s", p.Data)
			}
		}
		return
	}
	answer(ctx, ts, callee, out)
	ts.Check(out.Bye(ctx))
}

// talk CALLER CALLEE leaves the two talking.
func converseIn(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	callee := register(ctx, ts, args[1])
	out, err := register(ctx, ts, args[0]).Invite("sip:" + args[1])
	ts.Check(err)
	answer(ctx, ts, callee, out)
}

// answer has a phone take the call that is on its way.
func answer(ctx context.Context, ts *testscript.TestScript, callee *phone.Phone, out *phone.Call) {
	in, err := callee.Incoming(ctx)
	ts.Check(err)
	ts.Check(in.Ring(ctx))
	ts.Check(in.Answer(ctx))
	ts.Check(out.Answered(ctx))
}

// register opens a phone of a user, until the script ends.
func register(ctx context.Context, ts *testscript.TestScript, who string) *phone.Phone {
	name, domain, _ := strings.Cut(who, "@")
	server, err := netip.ParseAddrPort(ts.Getenv("HOST") + ":5060")
	ts.Check(err)
	p, err := phone.New(phone.Config{
		User: name, Domain: domain, Password: "secret", Server: server, Mute: true,
		Local: netip.AddrPortFrom(server.Addr(), 0),
	})
	ts.Check(err)
	ts.Defer(p.Close)
	_, err = p.Register(ctx)
	ts.Check(err)
	return p
}
