package main

import "fmt"

// planeCmd says by what one call's media is relayed.
type planeCmd struct {
	place
	Call string `arg:"" help:"The call, as sotto calls names it."`
	To   string `arg:"" enum:"user,auto" help:"user, where captures and filters see each packet; or auto, as all others."`
}

// Run implements the verb.
func (c *planeCmd) Run(t *tell) error { return c.ask(t, "plane", c.Call, c.To) }

func (d *desk) plane(args []string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	user := args[1] == "user"
	known, sessions := d.proxy.UserSpace(args[0], user)
	switch {
	case !known:
		return nil, hint(fmt.Errorf("no call under way is named %q", args[0]), "sotto calls lists the calls of the last day")
	case sessions == 0:
		return nil, hint(fmt.Errorf("the media of %s does not run through this server", args[0]),
			"it goes from phone to phone: the call is not protected")
	case user:
		return []string{args[0] + " is relayed in user space from the next packet on, until its end"}, nil
	}
	return []string{args[0] + " is relayed as all calls are, from the next packet on"}, nil
}
