package main

import (
	"fmt"
	"os"
	"runtime"

	"sotto/proxy"
)

// statusCmd counts what the running server holds.
type statusCmd struct{ place }

// Run implements the verb.
func (c *statusCmd) Run(t *tell) error { return c.ask(t, "status") }

// status lists what the server holds at this moment.
func (d *desk) status([]string) ([]string, error) {
	if d.server == nil {
		return nil, notRunning()
	}
	now := d.server.standing()
	var lines []string
	for _, f := range figures() {
		lines = append(lines, fmt.Sprintf("%-15s %s", f.label, f.line(now)))
	}
	return lines, nil
}

// A standing is all that figures are read from.
type standing struct {
	proxy.Totals
	goroutines, descriptors, fileLimit int
}

// standing counts what the server holds at this moment.
func (s *server) standing() standing {
	return standing{
		Totals: s.proxy.Totals(), goroutines: runtime.NumGoroutine(),
		descriptors: descriptors(), fileLimit: s.files.limit,
	}
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
