// Command sotto is a SIP server that protects who and where its users are in
// calls. `sotto try` shows it; `sotto serve` runs it.
package main

import (
	"os"

	"github.com/alecthomas/kong"
)

// cli has a field for each verb.
type cli struct {
	Version kong.VersionFlag `help:"Show which program this is."`

	Try      tryCmd      `cmd:"" help:"Run everything on loopback, with demo users and tokens."`
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	Check    checkCmd    `cmd:"" help:"Check a configuration file."`
	Doctor   doctorCmd   `cmd:"" help:"Look at all that a server stands on: what is wrong, and the remedy."`
	User     userCmd     `cmd:"" help:"Add, list and delete users."`
	Setting  settingCmd  `cmd:"" help:"Show and change a user's settings."`
	Window   windowCmd   `cmd:"" help:"Expect a call: let anybody ring a user for a while."`
	Block    blockCmd    `cmd:"" help:"Whom a user lets never ring."`
	Key      keyCmd      `cmd:"" help:"The public keys of a user's privacy tokens."`
	Token    tokenCmd    `cmd:"" help:"Privacy tokens, on the recipient's own machine."`
	Revoke   revokeCmd   `cmd:"" help:"Take back one privacy token of a user."`
	Silenced silencedCmd `cmd:"" help:"A user's silenced calls."`
	Calls    callsCmd    `cmd:"" help:"The calls of the running server."`
	Bans     bansCmd     `cmd:"" help:"Addresses that are not heard for a while."`
	Status   statusCmd   `cmd:"" help:"What the running server holds: calls, sessions, connections."`
	Explain  explainCmd  `cmd:"" help:"Why a call rang, was silenced, was protected or is not heard."`
	Plane    planeCmd    `cmd:"" help:"Relay one call in user space, to look at its packets."`
	Leaktest leaktestCmd `cmd:"" help:"Play calls over a server, ours or any other, and list what leaked."`
	Rotate   rotateCmd   `cmd:"" help:"Make a new sealing key now, not a week after the last."`
}

func main() {
	os.Exit(run(os.Args[1:], &tell{out: os.Stdout, err: os.Stderr}))
}

// run parses and carries out one command line and returns the exit code.
func run(args []string, t *tell) int {
	var c cli
	if len(args) == 0 {
		args = []string{"--help"} // what a newcomer means
	}
	p, err := kong.New(&c, kong.Name("sotto"), kong.Writers(t.out, t.err),
		kong.Vars{"token_key": keyFile(), "version": programText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Description("A SIP server that protects who and where its users are in calls."))
	if err != nil {
		return t.fail(err)
	}
	ctx, err := p.Parse(args)
	if err != nil {
		return t.misused(err)
	}
	return t.fail(ctx.Run(t))
}
