package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// A figure is a number that the operator may see: a line of sotto status, and
// a metric. None is of one user, and none names an address.
type figure struct {
	label  string // of the line
	metric string
	kind   prometheus.ValueType
	help   string // the same for all figures of one metric
	count  func(standing) uint64
	tags   []tag                 // the labels of the metric
	text   func(standing) string // what the line says instead of the number
}

// A tag is a label of a metric.
type tag struct {
	name  string
	value func(standing) string
}

// always is a tag that is the same at all times.
func always(name, value string) []tag {
	return []tag{{name, func(standing) string { return value }}}
}

// line is what sotto status says of the figure.
func (f figure) line(s standing) string {
	if f.text != nil {
		return f.text(s)
	}
	return strconv.FormatUint(f.count(s), 10)
}

// What a figure is: how much there is, or how much there has been since the start.
const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// figures are all there are, in the order of sotto status.
func figures() []figure {
	all := append(held(), lost()...)
	all = append(all, process()...)
	return append(all, facts()...)
}

// held is what calls and users hold.
func held() []figure {
	const packets = "Packets taken from parties and relayed, by the plane that did it."
	return []figure{
		gaugeOf("bindings", "sotto_bindings", "Devices that are registered.",
			func(s standing) int { return s.Bindings }),
		gaugeOf("connections", "sotto_connections", "Connections over TCP and TLS.",
			func(s standing) int { return s.Connections }),
		gaugeOf("transactions", "sotto_transactions", "SIP transactions under way.",
			func(s standing) int { return s.Transactions }),
		gaugeOf("calls", "sotto_calls", "Calls that ring or talk.",
			func(s standing) int { return s.Calls }),
		gaugeOf("facades", "sotto_facades", "Strangers who hear ringing.",
			func(s standing) int { return s.Facades }),
		gaugeOf("notices", "sotto_notices", "Users whose notice of silenced calls waits for its moment.",
			func(s standing) int { return s.Notices }),
		gaugeOf("media sessions", "sotto_media_sessions", "Sessions of the media engine.",
			func(s standing) int { return s.Sessions }),
		gaugeOf("media ports", "sotto_media_ports", "Ports in use for media.",
			func(s standing) int { return s.Ports }),
		gaugeOf("resting ports", "sotto_media_ports_resting", "Ports that rest after a call.",
			func(s standing) int { return s.Resting }),
		gaugeOf("kernel flows", "sotto_media_kernel_flows", "Directions of streams that the kernel relays.",
			func(s standing) int { return s.Media.Flows }),
		counterOf("kernel packets", "sotto_media_packets_total", packets,
			func(s standing) uint64 { return s.Media.Kernel }, always("plane", "kernel")...),
		counterOf("user packets", "sotto_media_packets_total", packets,
			func(s standing) uint64 { return s.Media.User }, always("plane", "user")...),
	}
}

// lost is what must not be, or was refused.
func lost() []figure {
	const messages = "SIP messages not heard: over a budget or banned, or of strangers for whom there was no room."
	return []figure{
		counterOf("leaks found", "sotto_leaks_found_total",
			"Facts about one party of a protected call found in what was sent to the other. Not 0 is a bug.",
			func(s standing) uint64 { return uint64(s.Leaks) }),
		gaugeOf("bans", "sotto_bans", "Addresses that are not heard for a while.",
			func(s standing) int { return s.Bans }),
		counterOf("unread", "sotto_datagrams_dropped_total", "Datagrams of SIP that the system lost: not read in time.",
			func(s standing) uint64 { return s.Unread }),
		counterOf("dropped", "sotto_messages_dropped_total", messages,
			func(s standing) uint64 { return s.Dropped }, always("why", "budget")...),
		counterOf("crowded out", "sotto_messages_dropped_total", messages,
			func(s standing) uint64 { return s.Crowded }, always("why", "room")...),
		counterOf("unpaid answers", "sotto_answers_withheld_total",
			"Answers not sent, being larger than what had come from an address that may be borrowed.",
			func(s standing) uint64 { return s.Unpaid }),
	}
}

// process is what the process has of the system.
func process() []figure {
	return []figure{
		gaugeOf("goroutines", "sotto_goroutines", "Goroutines.",
			func(s standing) int { return s.goroutines }),
		gaugeOf("descriptors", "sotto_descriptors", "Files and sockets that are open.",
			func(s standing) int { return s.descriptors }),
		gaugeOf("file limit", "sotto_descriptors_limit", "Files and sockets that may be open.",
			func(s standing) int { return s.fileLimit }),
	}
}

// facts are figures with words.
func facts() []figure {
	one := func(standing) int { return 1 }
	room := gaugeOf("room for calls", "sotto_relayed_calls_limit", "Relayed calls that fit at a time; what bounds them.",
		func(s standing) int { return s.Room })
	room.tags = []tag{{"bound", func(s standing) string { return s.Bound }}}
	room.text = func(s standing) string { return fmt.Sprintf("%d (%s)", s.Room, s.Bound) }

	plane := gaugeOf("media plane", "sotto_media_plane_info", "By what media is relayed, and why.", one)
	plane.tags = []tag{
		{"plane", func(s standing) string { return s.Plane }},
		{"why", func(s standing) string { return s.WhyPlane }},
	}
	plane.text = func(s standing) string { return fmt.Sprintf("%s (%s)", s.Plane, s.WhyPlane) }

	version, revision := build()
	program := gaugeOf("program", "sotto_build_info", "Which program runs.", one)
	program.tags = append(append(always("version", version), always("revision", revision)...),
		always("goversion", runtime.Version())...)
	program.text = func(standing) string { return programText() }
	gathering := gaugeOf("packets gather", "sotto_media_coalescing_interfaces",
		"Interfaces at which packets gather (media.coalesce).", func(s standing) int { return s.Gathering })
	gathering.text = func(s standing) string { return cmp.Or(s.Gathers, "nowhere") }
	return []figure{room, plane, gathering, program}
}

// gaugeOf is a figure that grows and shrinks.
func gaugeOf(label, metric, help string, count func(standing) int) figure {
	return figure{
		label: label, metric: metric, kind: gauge, help: help,
		count: func(s standing) uint64 { return uint64(count(s)) },
	}
}

// counterOf is a figure that only grows while the process runs.
func counterOf(label, metric, help string, count func(standing) uint64, tags ...tag) figure {
	return figure{label: label, metric: metric, kind: counter, help: help, count: count, tags: tags}
}

// programText says to a person which program this is.
func programText() string {
	version, _ := build()
	return fmt.Sprintf("%s (%s)", version, runtime.Version())
}

// build is the version of the program, and the commit that it was made of.
func build() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return cmp.Or(info.Main.Version, "unknown"), cmp.Or(revision, "unknown")
}
