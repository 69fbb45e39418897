package rtpengine

import "time"

// A start is how soon a party begins to send once it is let. RTP has no echo,
// but this comes near one: what lets a party send goes to it, and its first
// packet comes back. What lies between is the way there and back, and what the
// phone takes to begin, so the party's round trip is at most that.
//
// It is never less, for what could make it so is left out:
//
//   - Only a party counts that could not send before, since it has been told
//     no address until then and nothing came of it, or was not to, since the
//     other one was on hold, and did not for a while: then nothing of it is
//     under way, either.
//   - Who makes an offer begins when it likes, as when it ends its own hold:
//     what comes after the answer may have been under way before. Only to the
//     first answer of all nobody can be ahead.
//   - Of several descriptions that let it send, as in a 183 and a 200, the first
//     counts; the phone may act on any.
//   - Digits, comfort noise, and a packet that is alone, as it may be to keep a
//     NAT's binding (RFC 6263 §4), begin nothing.
//
// What is in between besides only makes it more: SIP's own way, a phone that
// rings, keys that are exchanged.
type start struct {
	told  time.Time     // when the party was last told to send or not to; zero: not by this process
	since time.Time     // since when it may and has not; zero: that is not waited for
	took  time.Duration // what it took, if that goes on; 0: nothing has come
	first uint64        // of so many RTP packets
	least time.Duration // of all that went on; 0: none
}

// Limits of a start (ours). For so long a party must have been silent: nothing is
// under way for longer. So many packets must follow: a fifth of a second. More
// than so much tells nothing of the way: it rang, or the phone was slow.
const (
	silentFor = 2 * time.Second
	goesOn    = 10
	longStart = time.Second
)

// lets notes for the other party what a description of this one lets it do. was
// is what held before.
func (f *face) lets(other *face, was said, offer bool, now time.Time) {
	if offer {
		f.start.since = time.Time{}
	}
	if was.Described && was.Receives == f.said.Receives {
		return
	}
	s, c := &other.start, &other.counts
	silent := c.packets == 0 && c.dropped[dropEarly] == 0
	if was.Described {
		silent = offer && !s.told.IsZero() && now.Sub(s.told) >= silentFor && now.Sub(time.Unix(0, c.arrived)) >= silentFor
	}
	s.settle(c)
	s.told, s.since, s.took = now, time.Time{}, 0
	if silent && f.said.Receives {
		s.since = s.told
	}
}

// begins notes a packet of the media, which is the first.
func (s *start) begins(c *counts, now time.Time) {
	s.took, s.first, s.since = now.Sub(s.since), c.before+c.received, time.Time{}
}

// settle takes what the last start took, if it went on.
func (s *start) settle(c *counts) {
	if s.took == 0 || c.before+c.received < s.first+goesOn {
		return
	}
	if s.least == 0 || s.took < s.least {
		s.least = s.took
	}
}

// report says what the round trip is at most.
func (s *start) report(q *Quality) {
	if s.least <= longStart {
		q.Within = s.least
	}
}
