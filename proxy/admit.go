package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/wire"
)

// admit is what every request must pass before anything is looked up
// (RFC 3261 §16.3). The wire gate has already refused what is malformed.
func (p *Proxy) admit(req *sip.Request) error {
	switch req.Recipient.Scheme {
	case "sip", "sips", "tel":
	default:
		return refuse(statusUnsupportedScheme, whyScheme)
	}
	if mf := req.MaxForwards(); mf != nil && mf.Val() == 0 && !p.forUs(req) {
		return refuse(sip.StatusTooManyHops, whyTooManyHops)
	}
	if p.looped(req) {
		return refuse(sip.StatusLoopDetected, whyLoop)
	}
	if ext := wire.All(req, "Proxy-Require"); len(ext) > 0 {
		return refuse(sip.StatusBadExtension, whyExtension,
			sip.NewHeader("Unsupported", strings.Join(ext, ", ")))
	}
	if err := checkDialogs(req); err != nil {
		return err
	}
	if p.draining.Load() && (req.Method == sip.INVITE && !inDialog(req) || req.Method == sip.REGISTER) {
		return refuse(sip.StatusServiceUnavailable, whyDraining)
	}
	return nil
}

// forUs says that a request ends here even with Max-Forwards 0 (RFC 3261
// §16.3 step 3: an OPTIONS may be answered; REGISTER is ours).
func (p *Proxy) forUs(req *sip.Request) bool {
	return req.Method == sip.REGISTER || req.Method == sip.OPTIONS
}

// inDialog says that a request belongs to a dialog (RFC 3261 §12.2).
func inDialog(req *sip.Request) bool {
	tag, ok := wire.Param(req.To().Params, "tag")
	return ok && tag != ""
}

// looped says that the request passed here before and nothing that decides
// its way has changed since (RFC 5393 §4.2): the hash in the branch of one
// of our Vias is the hash that this request would get now.
func (p *Proxy) looped(req *sip.Request) bool {
	hash := ""
	for _, h := range req.GetHeaders("Via") {
		v, ok := h.(*sip.ViaHeader)
		if !ok {
			continue
		}
		br, _ := wire.Param(v.Params, "branch")
		if at := len(br) - digestLen - len(loopMark); at < 0 || br[at:at+len(loopMark)] != loopMark {
			continue // none of ours: no hash needs to be made
		}
		if hash == "" {
			hash = p.loopHash(req)
		}
		if strings.HasSuffix(br, hash) {
			return true
		}
	}
	return false
}

// loopMark stands before the hash in a branch.
const loopMark = "-l"

// loopHash covers what routing depends on (RFC 5393 §4.2.2), keyed so that
// nobody else can make a branch that looks like a loop.
func (p *Proxy) loopHash(req *sip.Request) string {
	parts := []string{req.Recipient.String(), req.CallID().Value(), req.From().Value()}
	parts = append(parts, wire.All(req, "Route")...)
	parts = append(parts, wire.All(req, "Proxy-Require")...)
	return loopMark + p.seal.digest("loop", parts...)
}
