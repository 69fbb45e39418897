package rtpengine

import (
	"net/netip"
	"time"
)

// dropReason is a rule by which a packet was not relayed.
type dropReason uint8

const (
	dropSource  dropReason = iota // not from the party
	dropEarly                     // before both have described themselves
	dropKind                      // nothing that belongs here
	dropPort                      // media on the port for RTCP, or the reverse
	dropNowhere                   // the other party's address is not known yet
	dropHold                      // the other party wants nothing now
	dropRTCP                      // nothing of it may cross
	dropSend                      // the system did not take it
	dropFull                      // the engine was late, its socket full
	dropReasons
)

// dropNames explain the rules.
var dropNames = [dropReasons]string{
	"from an address that is not the party's", "before both parties had described themselves",
	"neither RTP nor anything else that is relayed", "media on the port for RTCP, or RTCP on the port for media",
	"the other party's address is not known", "the other party is on hold", "RTCP of which nothing may cross",
	"the system did not take the packet", "the relay was too slow",
}

// A refusal is why a packet's source is not the party's (latch.go, ice.go).
type refusal uint8

const (
	refuseEarly   refusal = iota // the parties are not agreed
	refusePair                   // the party's ICE agent has nominated another
	refuseTaken                  // another is latched
	refuseControl                // RTCP from elsewhere than RTP and description say
	refuseHost                   // neither signalled nor of the host that signals
	refuseRival                  // of that host, and not long enough
	refuseCheck                  // STUN that is not the party's agent's
)

// refusals explain the rules.
var refusals = [...]string{
	"both parties must have described themselves first",
	"the party's ICE has chosen another address",
	"another address is taken already, and only a new description changes that",
	"media comes from where it was signalled, so RTCP must, too",
	"it is neither the signalled address nor of the host that the signalling comes from",
	"it is another port of the party's host: that is taken after 25 packets in half a second, if nothing comes from " +
		"where the party should be",
	"its connectivity checks are not the party's",
}

// why says by which rule accept has refused a packet.
func (l *latch) why(from netip.AddrPort, may mayLearn) refusal {
	switch {
	case may == learnNothing, !l.signalled.IsValid() && !l.source.IsValid():
		return refuseEarly // of a party that is on hold the source is known
	case l.nominated:
		return refusePair
	case l.latched.IsValid() && !l.again:
		return refuseTaken
	case may == learnSignalled:
		return refuseControl
	case !l.split && (!l.source.IsValid() || from.Addr() != l.source):
		return refuseHost
	}
	return refuseRival
}

// A stranger is an address whose packets were refused.
type stranger struct {
	from    netip.AddrPort
	rule    refusal
	packets uint64
	last    time.Time
}

// maxStrangers bounds how many are told apart (ours: a phone has few addresses).
const maxStrangers = 4

// refuse notes a packet that is not the party's. When too many addresses have
// sent, the latest takes the place of the one before it: a flood from many
// does not push out who came first.
func (f *face) refuse(from netip.AddrPort, rule refusal, now time.Time) {
	if rule == refuseEarly {
		f.counts.dropped[dropEarly]++
	} else {
		f.counts.dropped[dropSource]++
	}
	for i := range f.strangers {
		if s := &f.strangers[i]; s.from == from {
			s.rule, s.last = rule, now
			s.packets++
			return
		}
	}
	one := stranger{from, rule, 1, now}
	if len(f.strangers) < maxStrangers {
		f.strangers = append(f.strangers, one)
		return
	}
	f.strangers[maxStrangers-1] = one
}
