package proxy

import (
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/store"
)

// maxNamed bounds the callers that one notice names (ours: it is a notice, not
// a channel, and the whole message must fit into a datagram, RFC 3428 §8).
const maxNamed = 4

// noticeText is a notice: who called how often, and when last, in UTC. Who was checked comes
// first: names that cost nothing crowd no other out.
func noticeText(calls []store.Silenced) string {
	if len(calls) == 1 {
		c := calls[0]
		return fmt.Sprintf("Silenced call from %s (%s), %s.", c.Who(), c.Media, stamp(c.At))
	}
	count, last, order, unchecked := map[string]int{}, map[string]time.Time{}, []string{}, []string{}
	for _, c := range calls {
		who := c.Who()
		switch {
		case count[who] > 0:
		case c.Verified:
			order = append(order, who)
		default:
			unchecked = append(unchecked, who)
		}
		count[who]++
		last[who] = c.At
	}
	order = append(order, unchecked...)
	var b strings.Builder
	fmt.Fprintf(&b, "%d silenced calls:", len(calls))
	for i, who := range order {
		if i == maxNamed {
			fmt.Fprintf(&b, "\n… and %d more callers", len(order)-maxNamed)
			break
		}
		fmt.Fprintf(&b, "\n%d from %s, last %s", count[who], who, stamp(last[who]))
	}
	return b.String()
}

// stamp is a time as a notice writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// uriOf is the SIP URI of an address of record.
func uriOf(a aor.AOR) sip.Uri { return sip.Uri{Scheme: "sip", User: a.User(), Host: a.Host()} }
