package main

// blockCmd has the verbs about a user's block list.
type blockCmd struct {
	Add    blockAddCmd    `cmd:"" help:"Silence a caller, or a whole @domain, without notice."`
	List   blockListCmd   `cmd:"" help:"List whom a user blocks."`
	Delete blockDeleteCmd `cmd:"" help:"Unblock a caller."`
}

type blockAddCmd struct {
	place
	User   string `arg:"" help:"The recipient, as bob@example.com."`
	Caller string `arg:"" help:"The caller, as mallory@example.org, or @example.org."`
}

// Run implements the verb.
func (c *blockAddCmd) Run(t *tell) error { return c.ask(t, "block add", c.User, c.Caller) }

type blockListCmd struct {
	place
	User string `arg:"" help:"The recipient, as bob@example.com."`
}

// Run implements the verb.
func (c *blockListCmd) Run(t *tell) error { return c.ask(t, "block list", c.User) }

type blockDeleteCmd struct {
	place
	User   string `arg:"" help:"The recipient, as bob@example.com."`
	Caller string `arg:"" help:"The caller, as mallory@example.org, or @example.org."`
}

// Run implements the verb.
func (c *blockDeleteCmd) Run(t *tell) error { return c.ask(t, "block delete", c.User, c.Caller) }
