package main

import (
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sotto/configs"
	"sotto/proxy/flow"
	"sotto/rtpengine"
)

// A budget says what the descriptors of a server are for. Media and signalling
// each have their own: neither can take the last ones of the other, so that a
// call that finds none is refused by an answer, over a connection that stays.
type budget struct {
	limit       int // RLIMIT_NOFILE
	wanted      int // which would be enough for all that is configured
	connections int // of phones, over TCP and TLS
	sockets     int // of media
}

// ownDescriptors are for everything else: the store, listeners, event loops,
// eBPF, the control socket, metrics, lookups (ours; some 40 are open).
const ownDescriptors = 128

// budgetOf raises the limit of this process as far as it may, and shares what
// came of it.
func budgetOf(c configs.Config) budget {
	connections := c.Limits.Connections
	if connections == 0 {
		connections = flow.DefaultLimits().Connections
	}
	sockets := mediaSockets(c)
	return share(raise(ownDescriptors+connections+sockets), connections, sockets)
}

// mediaSockets is how many sockets all media calls can have open.
func mediaSockets(c configs.Config) int {
	locals, m := map[netip.Addr]bool{}, c.Media
	everybody, networks := relayAddresses(c)
	for _, a := range everybody {
		locals[a.Local] = true
	}
	for _, n := range networks {
		locals[n.Address.Local] = true
	}
	n := max(len(locals), 1) * (int(m.Ports.Max) - int(m.Ports.Min) + 1)
	if m.MaxSessions > 0 {
		n = min(n, 2*rtpengine.SocketsPerCall*m.MaxSessions) // with video
	}
	return n
}

// share divides descriptors. Where there are too few for all that is
// configured, media has at most three quarters of them (ours: a call takes four, and
// its two phones two at most).
func share(limit, connections, sockets int) budget {
	b := budget{limit: limit, wanted: ownDescriptors + connections + sockets}
	rest := max(limit-ownDescriptors, 0)
	if connections+sockets > rest {
		sockets = min(sockets, rest*3/4)
		connections = min(connections, rest-sockets)
	}
	b.connections, b.sockets = max(connections, 1), max(sockets, 1) // 0 would be a default
	return b
}

// total is how many descriptors the budget can come to.
func (b budget) total() int { return min(b.limit, ownDescriptors+b.connections+b.sockets) }

// raise has this process open up to n files: as many as its hard limit lets
// it, and with CAP_SYS_RESOURCE more. It returns what holds then.
func raise(n int) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return n // there is no limit to speak of
	}
	if l.Max < uint64(n) {
		most := uint64(min(n, nrOpen()))
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}) == nil {
			return int(most)
		}
	}
	if l.Cur < l.Max { // Go has done so at the start, unless somebody has set it since
		higher := unix.Rlimit{Cur: l.Max, Max: l.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &higher) == nil {
			l = higher
		}
	}
	return int(min(l.Cur, math.MaxInt32))
}

// nrOpen is what no process's limit may exceed.
func nrOpen() int {
	text, err := os.ReadFile("/proc/sys/fs/nr_open")
	n, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || err2 != nil {
		return 1 << 20 // Linux's default
	}
	return n
}

// enlarge has the system's table of our descriptors grow to n now. It grows
// when a socket finds no room in it, and that takes 5 to 27 ms each time it
// doubles (measured; the system waits for all processors), in which the
// media of a whole event loop would wait.
func enlarge(n int) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return // it grows later, then
	}
	defer f.Close()
	if fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, n-1); err == nil {
		_ = unix.Close(fd)
	}
}
