package main

import (
	"fmt"
	"os"
	"runtime"
)

// statusCmd counts what the running server holds.
type statusCmd struct{ place }

// Run implements the verb.
func (c *statusCmd) Run(t *tell) error { return c.ask(t, "status") }

// status lists what the server holds at this moment.
func (d *desk) status([]string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	h := d.proxy.Totals()
	var lines []string
	for _, l := range []struct {
		name string
		n    int
	}{
		{"bindings", h.Bindings},
		{"connections", h.Connections},
		{"transactions", h.Transactions},
		{"calls", h.Calls},
		{"facades", h.Facades},
		{"notices", h.Notices},
		{"media sessions", h.Sessions},
		{"media ports", h.Ports},
		{"resting ports", h.Resting},
		{"goroutines", runtime.NumGoroutine()},
		{"descriptors", descriptors()},
	} {
		lines = append(lines, fmt.Sprintf("%-15s %d", l.name, l.n))
	}
	return append(lines, fmt.Sprintf("%-15s %s (%s)", "media plane", h.Plane, h.WhyPlane)), nil
}

// descriptors is how many files and sockets the process has open, 0 where the
// system does not say.
func descriptors() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all) - 1 // the directory itself
}
