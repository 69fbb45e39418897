package main

import (
	"fmt"

	"sotto/configs"
	"sotto/rtpengine"
)

// portsFit refuses media ports that the system gives to other programs, too.
// Where it does not say which it gives, nothing is refused.
func portsFit(p configs.Ports) error {
	e, known := rtpengine.SystemEphemeral()
	if !known || !e.Overlaps(p.Min, p.Max) {
		return nil
	}
	err := fmt.Errorf("media.ports %d-%d overlap %d-%d, which the system gives to any program that asks for a port",
		p.Min, p.Max, e.Min, e.Max)
	reserve := fmt.Sprintf("sysctl -w net.ipv4.ip_local_reserved_ports=%s", e.Reserving(p.Min, p.Max))
	lo, hi, ok := e.Elsewhere(int(p.Max) - int(p.Min) + 1)
	if !ok {
		return hint(err, "keep these ports for media: %s", reserve)
	}
	return hint(err, "set media.ports to %d-%d, or keep these ports for media: %s", lo, hi, reserve)
}
