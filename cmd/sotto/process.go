package main

import (
	"fmt"
	"slices"
	"time"

	"sotto/configs"
	"sotto/proxy/flow"
	"sotto/rtpengine"
)

// listening begins a line that names where the server listens.
const listening = "listening on "

// doctor is the running server's part of sotto doctor: where it listens, and
// what only it knows of itself.
func (d *desk) doctor([]string) ([]string, error) {
	if d.server == nil {
		return nil, notRunning()
	}
	var f findings
	for _, b := range d.server.bound {
		f = append(f, fmt.Sprintf("%s%s %s", listening, b.Transport, b.Addr))
	}
	if m := d.server.metrics; m != nil {
		f = append(f, fmt.Sprintf("%s%s %s", listening, metricsKey, m.addr))
	}
	f.limits(d.server.cfg, d.server.files)
	plane, why := d.server.engine.Plane()
	f.plane(d.server.cfg.Media.Plane, plane, why)
	_, _, err := d.server.engine.Gathers()
	f.coalescing(d.server.cfg.Media.Coalesce, err)
	f.buffers(d.server.cfg)
	return f, nil
}

// limits says how much fits at a time, and what bounds it.
func (f *findings) limits(c configs.Config, b budget) {
	calls, bound := rtpengine.Config{
		PortMin: c.Media.Ports.Min, PortMax: c.Media.Ports.Max, MaxSessions: c.Media.MaxSessions, MaxSockets: b.sockets,
	}.Room()
	say := f.ok
	switch {
	case bound == rtpengine.Descriptors:
		say = f.warn
	case b.wanted > b.limit:
		say = f.note
	}
	say("%d relayed calls fit at a time, by %s, and %d connections; %d descriptors may be open",
		calls, bound, b.connections, b.limit)
	if b.wanted > b.limit {
		f.hint("LimitNOFILE=%d in the service is enough for all that is configured", b.wanted)
	}
}

// plane says by what media is relayed; "" is not known yet, and probed.
func (f *findings) plane(wanted string, is rtpengine.Plane, why string) {
	var err error
	if is == "" {
		is, why, err = rtpengine.ProbePlane(rtpengine.Plane(wanted))
	}
	switch {
	case err != nil:
		f.wrong("media cannot be relayed in the kernel: %v", err)
	case is == rtpengine.PlaneKernel:
		f.ok("media is relayed in the kernel: %s", why)
		return
	case wanted == string(rtpengine.PlaneUser):
		f.ok("media is relayed in user space: %s", why)
		return
	default:
		f.note("media is relayed in user space, with the same results at a higher price: %s", why)
	}
	f.hint("AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON in the service, or media.plane: user")
}

// coalescing says if packets gather at interfaces, where that is wanted.
func (f *findings) coalescing(most time.Duration, err error) {
	switch {
	case most == 0:
	case err == nil:
		f.ok("packets gather at busy interfaces, for %v at most", most)
	default:
		f.note("packets do not gather at interfaces, and cost more: %v", err)
		f.hint("AmbientCapabilities=CAP_NET_ADMIN in the service, with Linux 6.13 or later; or media.coalesce: 0s")
	}
}

// buffers says if SIP over UDP gets the buffer that it asks for.
func (f *findings) buffers(c configs.Config) {
	if slices.ContainsFunc(c.Listen, func(l configs.Listen) bool { return l.Transport == "udp" }) {
		want := flow.DefaultLimits().SocketBuffer
		if got := flow.Buffer(want); got > 0 {
			f.burst(want, got)
		}
	}
}

// burst says what a burst finds of what is wanted.
func (f *findings) burst(want, got int) {
	if got >= want {
		f.ok("a burst of SIP over UDP finds a buffer of %d bytes", got)
		return
	}
	f.note("a burst of SIP over UDP, as after a power cut, finds a buffer of %d bytes, not of %d", got, want)
	f.hint("AmbientCapabilities=CAP_NET_ADMIN in the service, or sysctl -w net.core.rmem_max=%d", want)
}
