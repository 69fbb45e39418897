package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sotto/rtpengine"
)

// What the operator reads about a call's media. It names addresses of the
// parties, which is for nobody else.

// sides are both parties, the caller first.
var sides = []rtpengine.Side{rtpengine.Caller, rtpengine.Callee}

// glance is a line for each stream and party.
func glance(all []rtpengine.Report) []string {
	var lines []string
	for _, r := range all {
		for _, t := range r.Streams {
			for _, side := range sides {
				in, out := t.Side(side), t.Side(side.Other())
				line := fmt.Sprintf("  %-5s from %s  %s", t.Media, side, counted(in.Packets, "packet"))
				if !t.Fax && in.Expected > 0 {
					line += "  " + quality(in.Quality, out.Quality)
				}
				lines = append(lines, line)
				if why := r.Diagnose(t, side); why != "" {
					lines = append(lines, "    "+why)
				}
			}
		}
	}
	return lines
}

// quality is what a party's media is like, in a line.
func quality(q, other rtpengine.Quality) string {
	parts := []string{
		cmp.Or(q.Codec, "codec unknown"),
		fmt.Sprintf("lost %s (%s)", counted(q.Lost, ""), percent(q.Lost, q.Expected)),
		"jitter unknown", "round trip unknown", score(q.Score(other)),
	}
	if q.Clock > 0 {
		parts[2] = "jitter " + ms(q.Jitter)
	}
	switch {
	case q.RoundTrips > 0:
		parts[3] = "round trip " + ms(q.RoundTrip)
	case q.Within > 0:
		parts[3] = "round trip at most " + ms(q.Within)
	}
	return strings.Join(parts, "  ")
}

// score is an estimate of the E-model; what cannot be estimated is not.
func score(s rtpengine.Score) string {
	switch {
	case s.MOS == 0:
		return "MOS unknown"
	case !s.Delayed:
		return fmt.Sprintf("MOS %.1f without delay", s.MOS)
	}
	least, most := fmt.Sprintf("%.1f", s.Least), fmt.Sprintf("%.1f", s.MOS)
	if least != most {
		return fmt.Sprintf("MOS %s to %s", least, most)
	}
	return "MOS " + most
}

// inspect is all that is known of a call's media, and why it is not heard.
func inspect(all []rtpengine.Report) []string {
	var lines []string
	for i, r := range all {
		for _, t := range r.Streams {
			for _, side := range sides {
				what := t.Media
				if len(all) > 1 {
					what += fmt.Sprintf(" of session %d", i+1)
				}
				lines = append(lines, fmt.Sprintf("%s from the %s:", what, side))
				lines = append(lines, stream(r, t, side)...)
			}
		}
	}
	return lines
}

// stream is one party's part in a stream.
func stream(r rtpengine.Report, t rtpengine.StreamReport, side rtpengine.Side) []string {
	in, out := t.Side(side), t.Side(side.Other())
	lines := []string{"  " + where(in)}
	if in.Described {
		lines = append(lines, "  "+offered(t, in))
	}
	lines = append(lines, "  "+passage(t, in))
	lines = append(lines, dropped(in)...)
	if !t.Fax && in.Expected > 0 {
		lines = append(lines, "  "+heard(in, out, side))
	}
	if why := r.Diagnose(t, side); why != "" {
		return append(lines, "  diagnosis: "+why)
	}
	return lines
}

// where is which addresses were told and learnt.
func where(in rtpengine.SideReport) string {
	said := "nothing"
	switch {
	case in.Signalled.IsValid():
		said = in.Signalled.String()
	case in.Held:
		said = "0.0.0.0"
	}
	text := "signalled: " + said
	if in.Source.IsValid() {
		text += fmt.Sprintf(" (signalling comes from %s)", in.Source)
	}
	if in.Latched.IsValid() {
		text += "; learned: " + in.Latched.String()
	} else {
		text += "; learned: nothing"
	}
	if in.Relay.IsValid() {
		text += "; told to send to " + in.Relay.String()
	}
	return text
}

// offered is what the party's description says.
func offered(t rtpengine.StreamReport, in rtpengine.SideReport) string {
	does := "neither sends nor receives"
	switch {
	case in.Sends && in.Receives:
		does = "sends and receives"
	case in.Sends:
		does = "sends only"
	case in.Receives:
		does = "receives only"
	}
	text := "said: " + does
	if len(in.Codecs) > 0 {
		text += ", " + strings.Join(in.Codecs, ", ")
	}
	if t.Secure {
		text += "; encrypted end to end"
	}
	return text
}

// passage is what came and where it went.
func passage(t rtpengine.StreamReport, in rtpengine.SideReport) string {
	var kinds []string
	for _, k := range []struct {
		n    uint64
		what string
	}{
		{in.Media, t.Media},
		{in.Events, "digits"},
		{in.Comfort, "comfort noise"},
		{in.Unknown, "of a payload type that was not negotiated"},
		{in.RTCP, "RTCP"},
	} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.what))
		}
	}
	text := "came: " + counted(in.Packets, "packet")
	if len(kinds) > 0 {
		text += " (" + strings.Join(kinds, ", ") + ")"
	}
	text += fmt.Sprintf("; passed on: %d", in.Forwarded)
	if in.Kernel {
		text += ", now in the kernel"
	}
	return text
}

// dropped are the packets that were not passed on, by the rule.
func dropped(in rtpengine.SideReport) []string {
	var lines []string
	for why, n := range in.Dropped {
		lines = append(lines, fmt.Sprintf("  dropped: %d, %s", n, why))
	}
	slices.Sort(lines)
	for _, s := range in.Strangers {
		lines = append(lines, fmt.Sprintf("    %d from %v: %s", s.Packets, s.From, s.Why))
	}
	return lines
}

// heard is the quality with what the other phone says of it.
func heard(in, out rtpengine.SideReport, side rtpengine.Side) string {
	text := fmt.Sprintf("quality: %s", strings.ReplaceAll(quality(in.Quality, out.Quality), "  ", ", "))
	if in.RoundTrips > 1 {
		text += fmt.Sprintf("; slowest round trip %s of %d", ms(in.Slowest), in.RoundTrips)
	}
	if in.FarExpected > 0 {
		text += fmt.Sprintf("; the %s's phone misses %d of %d", side.Other(), in.FarLost, in.FarExpected)
	}
	return text
}

// counted is a number of things.
func counted(n uint64, thing string) string {
	switch {
	case thing == "":
		return fmt.Sprint(n)
	case n == 1:
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// percent writes a part.
func percent(n, of uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(of, 1)))
}

// ms writes a time in milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
