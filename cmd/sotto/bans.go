package main

import (
	"fmt"
	"net/netip"
	"time"
)

// bansCmd has the verbs of addresses that are not heard for a while.
type bansCmd struct {
	List  bansListCmd  `cmd:"" help:"List the addresses that are not heard now, and until when."`
	Clear bansClearCmd `cmd:"" help:"Hear an address again, or all."`
}

type bansListCmd struct{ place }

// Run implements the verb.
func (c *bansListCmd) Run(t *tell) error { return c.ask(t, "bans list") }

type bansClearCmd struct {
	place
	Address string `arg:"" optional:"" help:"The address, as 192.0.2.7; without one, all."`
}

// Run implements the verb.
func (c *bansClearCmd) Run(t *tell) error {
	if c.Address == "" {
		return c.ask(t, "bans clear")
	}
	return c.ask(t, "bans clear", c.Address)
}

func (d *desk) bansList([]string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	all := d.proxy.Bans()
	lines := make([]string, 0, len(all))
	for _, b := range all {
		who := b.Who.String()
		if b.Who.IsSingleIP() {
			who = b.Who.Addr().String()
		}
		lines = append(lines, fmt.Sprintf("%-20s until %s  (%s)", who, b.Until.UTC().Format(time.TimeOnly+" UTC"), b.Why))
	}
	if len(lines) == 0 {
		lines = []string{"no bans"}
	}
	return lines, nil
}

func (d *desk) bansClear(args []string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	var who netip.Addr
	if len(args) > 0 {
		var err error
		if who, err = netip.ParseAddr(args[0]); err != nil {
			return nil, hint(fmt.Errorf("%q is no address", args[0]), "sotto bans list shows which there are")
		}
	}
	n := d.proxy.Pardon(who)
	switch {
	case n == 0 && who.IsValid():
		return nil, hint(fmt.Errorf("%s is not banned", who), "sotto bans list shows which addresses are")
	case n == 1:
		return []string{"1 ban is lifted"}, nil
	}
	return []string{fmt.Sprintf("%d bans are lifted", n)}, nil
}
