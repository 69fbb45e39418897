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
	if d.server == nil {
		return nil, notRunning()
	}
	h := d.proxy.Totals()
	var lines []string
	for _, l := range []struct {
		name string
		n    uint64
	}{
		{"bindings", uint64(h.Bindings)},
		{"connections", uint64(h.Connections)},
		{"transactions", uint64(h.Transactions)},
		{"calls", uint64(h.Calls)},
		{"facades", uint64(h.Facades)},
		{"notices", uint64(h.Notices)},
		{"media sessions", uint64(h.Sessions)},
		{"media ports", uint64(h.Ports)},
		{"resting ports", uint64(h.Resting)},
		{"kernel flows", uint64(h.Media.Flows)},
		{"kernel packets", h.Media.Kernel},
		{"user packets", h.Media.User},
		{"leaks found", uint64(h.Leaks)},
		{"bans", uint64(h.Bans)},
		{"unread", h.Unread},
		{"dropped", h.Dropped},
		{"crowded out", h.Crowded},
		{"unpaid answers", h.Unpaid},
		{"goroutines", uint64(runtime.NumGoroutine())},
		{"descriptors", uint64(descriptors())},
		{"file limit", uint64(d.server.files.limit)},
	} {
		lines = append(lines, fmt.Sprintf("%-15s %d", l.name, l.n))
	}
	return append(lines,
		fmt.Sprintf("%-15s %d (%s)", "room for calls", h.Room, h.Bound),
		fmt.Sprintf("%-15s %s (%s)", "media plane", h.Plane, h.WhyPlane)), nil
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
