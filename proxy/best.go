package proxy

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// choose picks the best response of a fork whose branches are all final
// (RFC 3261 §16.7 step 6): a 6xx, else the lowest class, and within it a
// response that helps the caller to try again. The branch is nil when the
// final is the proxy's own.
func (f *fork) choose() (int, *branch) {
	if f.cancelled && !f.answered {
		return f.chooseCancelled()
	}
	var best *branch
	for _, b := range f.branches {
		if best == nil || b.rank() < best.rank() {
			best = b
		}
	}
	switch {
	case best == nil:
		return sip.StatusTemporarilyUnavailable, nil
	case best.final >= 300 && best.final < 400:
		// A redirection is followed here, never forwarded (leaks.md §1).
		return sip.StatusTemporarilyUnavailable, nil
	case best.best == nil && best.final == sip.StatusServiceUnavailable && !best.ours():
		return sip.StatusInternalServerError, nil
	case best.best == nil:
		return best.final, nil
	case best.final == sip.StatusServiceUnavailable:
		// §16.7: a 503 of one target says nothing about us.
		return sip.StatusInternalServerError, nil
	}
	return best.final, best
}

// chooseCancelled prefers a 487 from a device: it is what was asked for.
func (f *fork) chooseCancelled() (int, *branch) {
	for _, b := range f.branches {
		if b.final == sip.StatusRequestTerminated && b.best != nil {
			return b.final, b
		}
	}
	return sip.StatusRequestTerminated, nil
}

// ours says that the branch never left because the proxy refused it.
func (b *branch) ours() bool { return b.req == nil || b.cli == nil }

// rank orders branches by their finals: what a device has said comes before
// what the proxy says of one that is not there.
func (b *branch) rank() int {
	if b.best == nil && b.final/100 == 4 {
		return rank(sip.StatusRequestTimeout)
	}
	return rank(b.final)
}

// rank orders finals: 2xx, 6xx, then by class; inside the 4xx the ones of
// §16.7 step 6 first, and a silent device (408) or one that was cancelled last.
func rank(code int) int {
	switch {
	case code < 300:
		return 0
	case code >= 600:
		return 1
	case slices.Contains(helpful, code):
		return 400
	case code == sip.StatusRequestTimeout, code == sip.StatusRequestTerminated:
		return 499
	case code >= 300 && code < 400:
		return 498
	}
	return code/100*100 + 50
}

// helpful are the responses of RFC 3261 §16.7 step 6 that tell the caller what to do.
var helpful = []int{401, 407, 415, 420, 484}

// mergeChallenges adds the other branches' challenges to a 401 or 407 (RFC 3261 §16.7 step 7).
func (f *fork) mergeChallenges(out *sip.Response) {
	name := ""
	switch out.StatusCode {
	case sip.StatusUnauthorized:
		name = "WWW-Authenticate"
	case sip.StatusProxyAuthRequired:
		name = "Proxy-Authenticate"
	default:
		return
	}
	have := wire.All(out, name)
	for _, b := range f.branches {
		if b.final != out.StatusCode || b.best == nil {
			continue
		}
		for _, v := range wire.All(b.best, name) {
			if !slices.Contains(have, v) {
				out.AppendHeader(sip.NewHeader(name, v))
				have = append(have, v)
			}
		}
	}
}
