package main

import (
	"fmt"
	"strings"

	"sotto/store"
)

// settingCmd has the verbs about settings.
type settingCmd struct {
	Show settingShowCmd `cmd:"" help:"Show a user's settings."`
	Set  settingSetCmd  `cmd:"" help:"Change a user's setting; the next call reads it."`
}

type settingShowCmd struct {
	place
	User string `arg:"" help:"The user, as bob@example.com."`
}

// Run implements the verb.
func (c *settingShowCmd) Run(t *tell) error { return c.ask(t, "setting show", c.User) }

type settingSetCmd struct {
	place
	User  string `arg:"" help:"The user, as bob@example.com."`
	Name  string `arg:"" help:"The setting."`
	Value string `arg:"" help:"Its value."`
}

// Run implements the verb.
func (c *settingSetCmd) Run(t *tell) error { return c.ask(t, "setting set", c.User, c.Name, c.Value) }

// Help implements kong's HelpProvider: every setting and what it can be.
func (c *settingSetCmd) Help() string {
	var b strings.Builder
	b.WriteString("Settings:\n")
	for _, s := range store.SettingNames() {
		fmt.Fprintf(&b, "  %-18s %s\n", s[0], s[1])
	}
	return b.String()
}
