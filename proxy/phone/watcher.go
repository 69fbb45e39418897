package phone

import (
	"context"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/txn"
	"sotto/proxy/wire"
)

// A Watcher is somebody who has subscribed to an event package of the phone
// (RFC 6665), and hears of it what Notify tells.
type Watcher struct {
	// Subscribe is the SUBSCRIBE as it came.
	Subscribe *sip.Request

	p      *Phone
	event  string
	dialog *dialog
}

// Tells makes the phone take subscriptions to an event package.
func (p *Phone) Tells(event string) error {
	return p.do(func() { p.tells[event] = true })
}

// Watched waits for the next subscription.
func (p *Phone) Watched(ctx context.Context) (*Watcher, error) {
	var w *Watcher
	err := p.await(ctx, "a subscription", func() bool {
		if len(p.watchers) == 0 {
			return false
		}
		w, p.watchers = p.watchers[0], p.watchers[1:]
		return true
	})
	return w, err
}

// watched takes a subscription if it is to a package that the phone tells of.
func (p *Phone) watched(s *txn.Server) bool {
	event, _, _ := strings.Cut(wire.Header(s.Req, "Event"), ";")
	if !p.tells[event] {
		return false
	}
	tag := p.newTag()
	pl := plan{headers: []Field{{"Contact", p.contact()}, {"Expires", "600"}}}
	for _, r := range wire.All(s.Req, "Record-Route") {
		pl.headers = append(pl.headers, Field{"Record-Route", r})
	}
	p.reply(s, p.response(s.Req, sip.StatusOK, tag, pl))
	p.watchers = append(p.watchers, &Watcher{Subscribe: s.Req, p: p, event: event, dialog: uasDialog(s.Req, tag)})
	return true
}

// Notify tells the watcher something, and returns the final response.
func (w *Watcher) Notify(ctx context.Context, contentType, text string) (*sip.Response, error) {
	return w.p.transact(ctx, func() (draft, sip.Uri, error) {
		return w.dialog.draft("NOTIFY", plan{
			headers: []Field{
				{"Contact", w.p.contact()}, {"Event", w.event}, {"Subscription-State", "active;expires=600"},
			},
			body: []byte(text), bodyType: contentType,
		})
	})
}
