package phone

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// A dialog is one peer-to-peer relationship (RFC 3261 §12). It belongs to the
// worker.
type dialog struct {
	callID        string
	local, remote string // From and To values with their tags
	target        string // the peer's contact
	routes        []string
	seq           uint32
	prack         uint32 // last RSeq that was acknowledged
}

// uacDialog is the dialog that a response makes (§12.1.2).
func uacDialog(res *sip.Response, seq uint32) *dialog {
	routes := splitList(wire.All(res, "Record-Route"))
	slices.Reverse(routes)
	return &dialog{
		callID: res.CallID().Value(), local: res.From().Value(), remote: res.To().Value(),
		target: contactOf(res), routes: routes, seq: seq,
	}
}

// uasDialog is the dialog of a request that we answer with tag (§12.1.1).
func uasDialog(req *sip.Request, tag string) *dialog {
	return &dialog{
		callID: req.CallID().Value(), local: req.To().Value() + ";tag=" + tag,
		remote: req.From().Value(), target: contactOf(req),
		routes: splitList(wire.All(req, "Record-Route")),
	}
}

// contactOf is the URI of the first Contact, "" without one.
func contactOf(m sip.Message) string {
	all := splitList(wire.All(m, "Contact"))
	if len(all) == 0 {
		return ""
	}
	return bare(all[0])
}

// refresh takes over the target of a target refresh (§12.2.1.2).
func (d *dialog) refresh(m sip.Message) {
	if c := contactOf(m); c != "" {
		d.target = c
	}
}

// draft is the next request of the dialog (§12.2.1.1) and its next hop.
func (d *dialog) draft(method string, pl plan) (draft, sip.Uri, error) {
	if method != "ACK" {
		d.seq++
	}
	out := draft{
		method: method, uri: d.target, from: d.local, to: d.remote, callID: d.callID,
		seq: d.seq, body: pl.body, bodyType: pl.bodyType,
	}
	for _, r := range d.routes {
		out.fields = append(out.fields, Field{"Route", r})
	}
	out.fields = append(out.fields, pl.headers...)
	next := d.target
	if len(d.routes) > 0 {
		next = bare(d.routes[0])
	}
	hop, err := parsed(next)
	return out, hop, err
}

// tagOf is the tag of the To of a message, "" without.
func tagOf(m sip.Message) string {
	tag, _ := wire.Param(m.To().Params, "tag")
	return tag
}
