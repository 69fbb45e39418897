package main

import (
	"errors"

	"sotto/proxy"
)

// rotateCmd replaces the key that seals what phones are given instead of addresses.
type rotateCmd struct{ place }

// Run implements the verb.
func (c *rotateCmd) Run(t *tell) error { return c.ask(t, "rotate") }

// rotate makes a new sealing key.
func (d *desk) rotate([]string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	err := d.proxy.RotateKeys()
	if errors.Is(err, proxy.ErrTooSoon) {
		err = hint(err, "this key and the one before it both open what was sealed; try again a day after the last rotation")
	}
	return done(err, "new calls are sealed with a new key; calls under way go on")
}
