package main

// callsCmd lists the calls of the running server.
type callsCmd struct {
	place
	Media bool `help:"Show what each party's media is like: loss, jitter, round trip, MOS." short:"m"`
}

// Run implements the verb.
func (c *callsCmd) Run(t *tell) error {
	if c.Media {
		return c.ask(t, "calls", withMedia)
	}
	return c.ask(t, "calls")
}

// explainCmd explains one of them.
type explainCmd struct {
	place
	Call string `arg:"" help:"The call, as sotto calls names it."`
}

// Run implements the verb.
func (c *explainCmd) Run(t *tell) error { return c.ask(t, "explain", c.Call) }

// silencedCmd has the verbs about silenced calls.
type silencedCmd struct {
	List silencedListCmd `cmd:"" help:"List a user's silenced calls, newest first."`
}

type silencedListCmd struct {
	place
	User string `arg:"" help:"The recipient, as bob@example.com."`
}

// Run implements the verb.
func (c *silencedListCmd) Run(t *tell) error { return c.ask(t, "silenced list", c.User) }
