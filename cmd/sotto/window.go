package main

// windowCmd has the verbs of "I expect a call".
type windowCmd struct {
	Open  windowOpenCmd  `cmd:"" help:"Let anybody ring a user for a while."`
	List  windowListCmd  `cmd:"" help:"List whom anybody may ring now."`
	Close windowCloseCmd `cmd:"" help:"End that while."`
}

type windowOpenCmd struct {
	place
	User string `arg:"" help:"The user, as bob@example.com."`
	For  string `arg:"" help:"For how long, as 30m or 2h, 24h at most; without it 30m." default:"30m"`
}

// Run implements the verb.
func (c *windowOpenCmd) Run(t *tell) error { return c.ask(t, "window open", c.User, c.For) }

type windowListCmd struct{ place }

// Run implements the verb.
func (c *windowListCmd) Run(t *tell) error { return c.ask(t, "window list") }

type windowCloseCmd struct {
	place
	User string `arg:"" help:"The user, as bob@example.com."`
}

// Run implements the verb.
func (c *windowCloseCmd) Run(t *tell) error { return c.ask(t, "window close", c.User) }
