package proxy

import (
	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// recurse adds the local users that a redirection names (RFC 3261 §16.7
// step 4). Addresses outside are not followed and never told to the caller.
func (f *fork) recurse(res *sip.Response) {
	if f.redirect == nil {
		return
	}
	for _, h := range wire.All(res, "Contact") {
		for _, value := range splitList(h) {
			f.follow(value)
		}
	}
}

// follow adds the targets of one Contact of a redirection.
func (f *fork) follow(contact string) {
	var u sip.Uri
	if _, err := sip.ParseAddressValue(contact, &u, nil); err != nil {
		return
	}
	for _, t := range f.redirect(u) {
		f.add(t)
	}
}
