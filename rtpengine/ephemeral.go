package rtpengine

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Ephemeral ports are those that the system gives to any program that asks for
// a port and does not say which. Media ports must be none of them: a program
// that is given one takes a call's port away, and a packet that comes late for
// a call would reach that program.
type Ephemeral struct {
	Min, Max uint16      // net.ipv4.ip_local_port_range, which holds for IPv6, too
	Reserved [][2]uint16 // net.ipv4.ip_local_reserved_ports: of these it gives none
}

// SystemEphemeral reads what the system does; false where it does not say.
func SystemEphemeral() (e Ephemeral, known bool) {
	ports, err1 := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	reserved, err2 := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	if err1 != nil || err2 != nil {
		return Ephemeral{}, false
	}
	return parseEphemeral(string(ports), string(reserved))
}

// parseEphemeral reads "32768\t60999" and "8080,20000-29999".
func parseEphemeral(ports, reserved string) (e Ephemeral, ok bool) {
	if n, err := fmt.Sscan(ports, &e.Min, &e.Max); n != 2 || err != nil {
		return Ephemeral{}, false
	}
	for part := range strings.SplitSeq(strings.TrimSpace(reserved), ",") {
		if part == "" {
			continue
		}
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			return Ephemeral{}, false
		}
		e.Reserved = append(e.Reserved, [2]uint16{uint16(lo), uint16(hi)})
	}
	return e, true
}

// Overlaps says if one of the ports lo to hi may be given to another program.
func (e Ephemeral) Overlaps(lo, hi uint16) bool {
	for port := int(max(lo, e.Min)); port <= int(min(hi, e.Max)); port++ {
		if !slices.ContainsFunc(e.Reserved, func(r [2]uint16) bool { return int(r[0]) <= port && port <= int(r[1]) }) {
			return true
		}
	}
	return false
}

// Unprivileged ports begin here.
const firstPort = 1024

// Elsewhere is a range of n ports that the system gives nobody: right below
// its own, or right above; false if neither has room.
func (e Ephemeral) Elsewhere(n int) (lo, hi uint16, ok bool) {
	below := (int(e.Min) - n) &^ 1 // RTP has the even ports
	above := (int(e.Max) + 2) &^ 1
	switch {
	case below >= firstPort:
		return uint16(below), uint16(below + n - 1), true
	case above+n-1 <= math.MaxUint16:
		return uint16(above), uint16(above + n - 1), true
	}
	return 0, 0, false
}

// Reserving is the value of net.ipv4.ip_local_reserved_ports that has lo to
// hi, too.
func (e Ephemeral) Reserving(lo, hi uint16) string {
	var parts []string
	for _, r := range append(slices.Clone(e.Reserved), [2]uint16{lo, hi}) {
		if r[0] == r[1] {
			parts = append(parts, strconv.Itoa(int(r[0])))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d-%d", r[0], r[1]))
	}
	return strings.Join(parts, ",")
}
