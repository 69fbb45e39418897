package proxy

import (
	"fmt"
	"time"
)

// explain says in the owner's words what happened to a call and why, and what
// each party saw of the other.
func explain(c CallInfo, seen []string) []string {
	lines := []string{
		fmt.Sprintf("call %s: %s to %s, %s", c.Ref, c.Caller, c.Callee, stamp(c.Started)),
		fmt.Sprintf("verdict: %s", c.Verdict),
	}
	for _, w := range c.Why {
		lines = append(lines, "  "+w)
	}
	switch {
	case c.Relayed:
		lines = append(lines, "media: through this server")
	case !c.Answered.IsZero():
		lines = append(lines, "media: direct between the phones")
	}
	if !c.Answered.IsZero() {
		lines = append(lines, "answered: "+stamp(c.Answered))
	}
	if !c.Ended.IsZero() {
		lines = append(lines, fmt.Sprintf("ended: %s, %s", stamp(c.Ended), c.How))
		if !c.Answered.IsZero() {
			lines = append(lines, "length: "+c.Ended.Sub(c.Answered).Round(time.Second).String())
		}
	}
	return append(append(lines, "state: "+c.State), seen...)
}
