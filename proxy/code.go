package proxy

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// A user opens and closes the window of screening's rule 7 ("I expect a
// call") from any phone, by dialling a feature code. Nobody is called: the
// answer's phrase, and a message to all of the user's phones, tell what holds
// now. The message is also how a user learns of a window that somebody else
// has opened with the user's password.

// featureCode is what dialling an address of ours does to the caller's
// window, as the setting's value; false if it is no feature code.
func (p *Proxy) featureCode(dialled aor.AOR) (window string, ok bool) {
	f := p.cfg.FeatureCodes
	switch {
	case isCode(dialled, f.WindowOpen):
		return f.Window.String(), true
	case isCode(dialled, f.WindowClose):
		return "off", true
	}
	return "", false
}

// isCode says that an address is a configured code. There may be none.
func isCode(dialled aor.AOR, code string) bool {
	if code == "" || code == "off" || dialled.IsZero() {
		return false
	}
	a, err := aor.New(code, dialled.Host()) // "#" has its own canonical form
	return err == nil && a == dialled
}

// setWindow changes the window of a user who dialled a code. The worker does
// not wait for the disk, but the caller does.
func (p *Proxy) setWindow(s *txn.Server, user aor.AOR, window string) {
	write := func() error {
		err := p.store.SetSetting(user, "window", window)
		text := ""
		if err == nil {
			text = windowText(p.store.Settings(user).WindowUntil)
			p.tell(user, text, nil)
		}
		if busy := p.txn.Do(s.CallID(), func() { p.confirm(s, text) }); busy != nil {
			p.log.Debug("code not answered", "call", p.ref(s.Req), "err", busy)
		}
		if err != nil {
			p.log.Warn("window not written", "user", user, "err", err)
		}
		return nil // not tried again: whoever dialled hears that it failed
	}
	if !p.ledger.enter(entry{"window", write}) {
		p.confirm(s, "")
	}
}

// confirm answers whoever dialled a code: nobody takes the call, but the
// phrase, which phones show, says what it has done; 503 if nothing.
func (p *Proxy) confirm(s *txn.Server, done string) {
	if done == "" {
		p.answer(s, refuse(sip.StatusServiceUnavailable, whyNotStored))
		return
	}
	res := p.respond(s.Req, sip.StatusTemporarilyUnavailable)
	res.Reason = done
	if err := s.Reply(res); err != nil {
		p.log.Debug("response not sent", "call", p.ref(s.Req), "err", err)
	}
}

// windowText tells a user of the window.
func windowText(until time.Time) string {
	if !time.Now().Before(until) {
		return "Unknown callers are silenced again, as your settings say"
	}
	return "Anybody may ring you until " + stamp(until)
}

// refersToCode says that a request would have a phone dial a feature code.
// A transfer is dialled without asking, so that whoever may talk to a user
// could open the user's window.
func (p *Proxy) refersToCode(req *sip.Request) bool {
	if req.Method != sip.REFER {
		return false
	}
	for _, v := range wire.All(req, "Refer-To") {
		var u sip.Uri
		if _, err := sip.ParseAddressValue(v, &u, nil); err != nil {
			continue // refused further on, or dialled by no phone
		}
		if u.Scheme == "tel" { // which a phone dials in its own domain, whichever that is
			u = sip.Uri{Scheme: "sip", User: telNumber(u.Raw()), Host: p.cfg.Domains[0]}
		}
		to, _ := p.localAOR(u)
		if _, ok := p.featureCode(to); ok {
			return true
		}
	}
	return false
}
