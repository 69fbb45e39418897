package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
)

// afterwards lets the call go on to voicemail when the facade gives up, in
// every state of the recipient alike, one who does not exist among them. It is
// protected whatever the recipient's settings say: how it looks tells nothing
// of them.
func (f *facade) afterwards(c *call) {
	for i := range f.p.peers {
		if f.p.peers[i].Name == f.p.cfg.Voicemail {
			f.next = func() { f.record(c, f.p.peers[i].Peer) }
		}
	}
}

// record sends the call to the voicemail server, with the user that the caller
// dialled. Only its 2xx crosses; what it refuses or does not take is the 480
// that the caller would have heard anyway.
func (f *facade) record(c *call, server configs.Peer) {
	t, err := trunk(server, c.dialled)
	if err != nil {
		f.refuse()
		return
	}
	c.protected = true
	f.p.calls.change(c.key, func(r *record) {
		r.Protected, r.Why = true, append(r.Why, "nobody answered: the call went to voicemail")
	})
	f.fork = newFork(f.p, f.srv, c.treatment())
	f.srv.User = f
	f.fork.mute = true
	f.fork.won = func(*branch, *sip.Response) bool {
		if f.over {
			return false
		}
		f.finish(sip.StatusOK)
		f.p.calls.change(c.key, func(r *record) {
			r.Answered, r.State, r.Code = time.Now(), stateTalking, sip.StatusOK
		})
		return true
	}
	f.fork.ended = func(code int) {
		if code >= 300 && !f.over {
			f.refuse()
		}
	}
	f.fork.start([]target{t})
}
