package phone

import (
	"errors"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
)

// ErrStale ends a call whose session was not refreshed in time (RFC 4028 §10).
var ErrStale = errors.New("session was not refreshed")

// sessionTimer is RFC 4028's, on the worker.
type sessionTimer struct{ t *txn.Timer }

func (s *sessionTimer) stop() { s.t.Stop() }

// consent is what a 2xx says to a request with a Session-Expires: the same,
// with the asker as refresher unless it wanted otherwise.
func (s *sessionTimer) consent(req *sip.Request) []Field {
	seconds, refresher := sessionExpires(req)
	if seconds == 0 {
		return nil
	}
	if refresher == "" {
		refresher = "uac"
	}
	out := []Field{SessionExpires(seconds, refresher)}
	if refresher == "uac" {
		out = append(out, Field{"Require", "timer"})
	}
	return out
}

// SessionExpires is the header.
func SessionExpires(seconds int, refresher string) Field {
	p := planned([]Option{SessionTimer(seconds, refresher)})
	return p.headers[0]
}

// agreed starts the timer that a 2xx asks for; asked tells whose request it
// answers. Without one, there is no timer.
func (s *sessionTimer) agreed(c *Call, res *sip.Response, asked bool) {
	s.stop()
	seconds, refresher := sessionExpires(res)
	if seconds == 0 || c.ended {
		return
	}
	d := time.Duration(seconds) * time.Second
	if (refresher == "uac") == asked {
		s.t = c.p.layer.After("", d/2, func() { s.refresh(c, seconds) })
		return
	}
	s.t = c.p.layer.After("", d-min(32*time.Second, d/3), func() { s.expire(c, ErrStale) })
}

// refresh sends an UPDATE without an offer.
func (s *sessionTimer) refresh(c *Call, seconds int) {
	x := &exchange{p: c.p}
	x.then = func() {
		switch {
		case x.err != nil:
			s.expire(c, x.err)
		case x.final.StatusCode/100 == 2:
			s.agreed(c, x.final, true)
		case x.final.StatusCode == sip.StatusRequestTimeout ||
			x.final.StatusCode == sip.StatusCallTransactionDoesNotExists:
			s.expire(c, statusError(x.final))
		}
	}
	d, hop, err := c.draft(c.dialog, "UPDATE", planned([]Option{SessionTimer(seconds, "uac")}))
	if err == nil {
		_, err = c.p.start(d, hop, x)
	}
	if err != nil {
		s.expire(c, err)
	}
}

// expire hangs up.
func (s *sessionTimer) expire(c *Call, why error) {
	defer c.p.check()
	if c.ended {
		return
	}
	c.sendAndForget(c.dialog, "BYE", plan{})
	c.end(why)
}

// cutFold is strings.Cut for separators in any case.
func cutFold(s, sep string) (before, after string) {
	i := strings.Index(strings.ToLower(s), strings.ToLower(sep))
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+len(sep):]
}
