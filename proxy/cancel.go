package proxy

import "github.com/emiago/sipgo/sip"

// cancel ends the whole request for its sender's CANCEL (RFC 3261 §16.10):
// the branches are cancelled and their own finals come back.
func (f *fork) cancel() {
	f.cancelled = true
	f.cancelOthers(nil)
	f.settle()
}

// cancelOthers cancels each pending branch but the given one.
func (f *fork) cancelOthers(but *branch) {
	for _, b := range f.branches {
		if b != but && b.final == 0 {
			b.giveUp(reasonHeader(f, but), sip.StatusRequestTerminated)
		}
	}
}

// giveUp cancels what is under way. The device's own final ends the branch, unless
// nothing of that is waited for: code does then.
func (b *branch) giveUp(reason sip.Header, code int) {
	b.givenUp = true
	if b.cli != nil {
		b.cli.Cancel(reason)
	}
	if b.cli == nil || b.behind {
		b.end(code, nil)
	}
}

// reasonHeader tells the losing devices that another one answered, so that
// they do not show a missed call (RFC 3326 §2).
func reasonHeader(f *fork, winner *branch) sip.Header {
	if f.answered && winner != nil {
		return sip.NewHeader("Reason", `SIP;cause=200;text="Call completed elsewhere"`)
	}
	return sip.NewHeader("Reason", "SIP;cause=487")
}
