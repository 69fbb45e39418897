package rtpengine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sotto/rtpengine/coalesce"
)

// coalesce has packets gather at interfaces, if that is wanted. Where it may
// not be each of them is relayed as before, and costs more.
func (e *Engine) coalesce() {
	if e.cfg.Coalesce == 0 || e.cfg.Listen != nil {
		return
	}
	if e.gathers, e.ungathered = coalesce.Open(e.cfg.Coalesce, e.log); e.ungathered != nil {
		e.log.Warn("packets do not gather at interfaces", "err", e.ungathered)
	}
}

// Gathers says at how many interfaces packets gather now, which, and for how
// long; and why they do not although Config.Coalesce wants it.
func (e *Engine) Gathers() (n int, at string, err error) {
	all := e.gathers.Gathers()
	words := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		words = append(words, fmt.Sprintf("%s %v", name, all[name].Round(time.Microsecond)))
	}
	return len(all), strings.Join(words, ", "), e.ungathered
}

// ProbeCoalesce says why packets would not gather at interfaces for an engine
// that this process started now, as New would log it. It changes nothing.
func ProbeCoalesce() error { return coalesce.Probe() }
