package rtpengine

import (
	"fmt"
	"time"
)

// Limits of a diagnosis (ours).
const (
	quiet    = 5 * time.Second // longer than RTP pauses between words with comfort noise
	lossy    = 0.05            // above that anybody hears it
	silent   = 250             // packets of which a listening phone would have reported
	reported = 2               // reports in which it would have
)

// Diagnose says in one sentence why nothing, or not enough, of what a party
// says reaches the other; "" if all is as it should be. r.At is the time of it.
func (r Report) Diagnose(t StreamReport, from Side) string {
	in, out := t.Side(from), t.Side(from.Other())
	switch {
	case t.Rejected:
		return "one of the parties has refused this stream"
	case !in.Described || !out.Described:
		return "the parties have not agreed on this stream: one of them has not answered"
	case t.Fax:
		return ""
	}
	for _, find := range []func(in, out SideReport, from Side) string{held, absent, unplayable, stuck, lost} {
		if why := find(in, out, from); why != "" {
			return why
		}
	}
	if since := r.At.Sub(in.LastMedia); in.Comfort == 0 && since > quiet {
		return fmt.Sprintf("nothing has come from the %s's phone for %v; before, it did", from, since.Round(time.Second))
	}
	return ""
}

// Side is a side's report.
func (t StreamReport) Side(s Side) SideReport {
	if s == Caller {
		return t.Caller
	}
	return t.Callee
}

// held says that the party is to send nothing.
func held(in, out SideReport, from Side) string {
	switch {
	case out.Held:
		return fmt.Sprintf("the %s has put the call on hold (0.0.0.0): the %s is to send nothing", from.Other(), from)
	case !out.Receives:
		return fmt.Sprintf("the %s has put the call on hold (sendonly or inactive): the %s is to send nothing",
			from.Other(), from)
	case !in.Sends:
		return fmt.Sprintf("the %s says that it sends nothing (recvonly or inactive)", from)
	}
	return ""
}

// absent says that no media came from the party, and what came instead.
func absent(in, _ SideReport, from Side) string {
	stranger, found := in.loudest()
	switch {
	case in.Media+in.Comfort+in.Events+in.Unknown > 0:
		return ""
	case in.Dropped[dropNames[dropPort]] > 0:
		return fmt.Sprintf("the %s's phone sends media to the port that is for RTCP", from)
	case found:
		return fmt.Sprintf("packets came from %v, but not from the %s, as far as anybody can tell: %s",
			stranger.From, from, stranger.Why)
	case in.Dropped[dropNames[dropKind]] > 0:
		return fmt.Sprintf("what came from the %s's phone was no RTP", from)
	case in.RTCP > 0:
		return fmt.Sprintf("only RTCP came from the %s's phone: it can reach us, and sends no media (muted, no microphone)",
			from)
	case in.Packets > 0:
		return fmt.Sprintf("only keys were exchanged with the %s's phone, and no media came", from)
	}
	return fmt.Sprintf("nothing ever came from the %s's phone: a firewall on its side drops it, or it does not send to %v",
		from, in.Relay)
}

// unplayable says that what came from the party is none that can be heard.
func unplayable(in, _ SideReport, from Side) string {
	switch {
	case in.Media > 0:
	case in.Unknown > 0:
		return fmt.Sprintf("the %s's phone sends a payload type that was not negotiated: the %s's cannot play it",
			from, from.Other())
	case in.Comfort > 0:
		return fmt.Sprintf("only comfort noise came from the %s's phone: it hears nobody speak (muted)", from)
	}
	return ""
}

// stuck says that what came could not be passed on.
func stuck(in, out SideReport, from Side) string {
	other := from.Other()
	switch {
	case in.Forwarded > in.RTCP:
	case in.Dropped[dropNames[dropNowhere]] > 0:
		return fmt.Sprintf("the %s's media came, but where the %s's phone is nobody knows: it says %v, its signalling comes "+
			"from %v, and from there no media came that would settle it", from, other, out.Signalled, out.Source)
	case in.Dropped[dropNames[dropSend]] > 0:
		return fmt.Sprintf("the %s's media came, but this machine could not send it to %v", from, out.Signalled)
	}
	return ""
}

// lost says where packets are lost.
func lost(in, out SideReport, from Side) string {
	other := from.Other()
	late := in.Dropped[dropNames[dropFull]]
	switch {
	case part(late, in.Expected) > lossy:
		return fmt.Sprintf("this machine was too slow for %d packets of the %s's", late, from)
	case part(in.Lost, in.Expected) > lossy:
		return fmt.Sprintf("%s of the %s's packets are lost between its phone and this server",
			percent(in.Lost, in.Expected), from)
	case part(in.FarLost, in.FarExpected) > lossy:
		return fmt.Sprintf("%s of the %s's packets are lost between this server and the %s's phone",
			percent(in.FarLost, in.FarExpected), from, other)
	case in.Media > silent && out.Reports >= reported && !out.Reported:
		return fmt.Sprintf("the %s's media was sent to %v, but in its reports the %s's phone speaks of none: a firewall on "+
			"its side drops it, or the phone makes no such reports", from, out.heardAt(), other)
	}
	return ""
}

// percent writes a part.
func percent(n, of uint64) string { return fmt.Sprintf("%.0f %%", 100*part(n, of)) }

// heardAt is where the party gets its media.
func (r SideReport) heardAt() any {
	if r.Latched.IsValid() {
		return r.Latched
	}
	return r.Signalled
}

// loudest is the address that sent most of what was not taken.
func (r SideReport) loudest() (loudest Stranger, found bool) {
	for _, s := range r.Strangers {
		if s.Packets > loudest.Packets {
			loudest, found = s, true
		}
	}
	return loudest, found
}
