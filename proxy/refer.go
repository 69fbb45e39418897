package proxy

import (
	"net/url"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// A dialogRef names a dialog in Replaces, Join, Target-Dialog or Refer-To:
// its Call-ID and both tags (RFC 3891 §6.1).
//
// A party names a dialog by what it knows: its own identifiers as they are,
// the other party's sealed. The other party knows the same dialog with each
// identifier the other way round, so that a dialog is mapped by turning each
// one over. In a Refer-To the dialog crosses somebody who is no party to it
// and must not read it; there all of it is sealed once more as one text.
type dialogRef struct {
	callID, tag1, tag2 string
	names              [2]string // of the tag parameters
	early              bool      // early-only
	watched            bool      // of a dialog-info, not of a Refer-To
}

// parseDialog reads the value of a header that names a dialog.
func parseDialog(v string) (dialogRef, bool) {
	d := dialogRef{callID: bare(v)}
	for _, names := range [][2]string{{"to-tag", "from-tag"}, {"local-tag", "remote-tag"}} {
		var ok1, ok2 bool
		d.tag1, ok1 = param(v, names[0])
		d.tag2, ok2 = param(v, names[1])
		if ok1 && ok2 && isWord(d.callID) && isWord(d.tag1) && isWord(d.tag2) {
			d.names = names
			_, d.early = param(v, "early-only")
			_, d.watched = param(v, watchedMark)
			return d, true
		}
	}
	return dialogRef{}, false
}

// isWord says that s has only characters that a Call-ID may have besides its
// separators (RFC 3261 §25.1), which are more than a tag's. It comes out of an
// escaped URI header and will be written into a header.
func isWord(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case strings.ContainsRune("-.!%*_+`'~()<>:\\\"/[]?{}@", r):
		default:
			return false
		}
	}
	return s != ""
}

// String is the header value for d.
func (d dialogRef) String() string {
	v := d.callID + ";" + d.names[0] + "=" + d.tag1 + ";" + d.names[1] + "=" + d.tag2
	if d.early {
		v += ";early-only"
	}
	return v
}

// watchedMark is written into what is wrapped of a dialog that was watched.
const watchedMark = "watched"

// turn maps a dialog from one party's view to the other's. It fails for a
// dialog that a facade has answered, whose tag only the box maps, and for what
// is sealed but does not open. met says that something opened: that the dialog was ours.
func (s *sealer) turn(d dialogRef) (turned dialogRef, met bool, err error) {
	if isLocalTag(d.tag1) || isLocalTag(d.tag2) {
		return d, false, errHeader
	}
	ids := []struct {
		text  *string
		p     purpose
		block int
	}{{&d.callID, forCallID, callIDBlock}, {&d.tag1, forTag, tagBlock}, {&d.tag2, forTag, tagBlock}}
	opened := make([]bool, len(ids))
	for i, id := range ids {
		if !strings.HasPrefix(*id.text, sealPrefix) {
			continue
		}
		plain, key, ok := s.openText(*id.text, id.p)
		if !ok {
			return d, false, errHeader
		}
		*id.text, opened[i], met = string(plain), true, true
		s = s.at(key) // the rest of this dialog has the same key
	}
	for i, id := range ids {
		if !opened[i] {
			*id.text = s.text([]byte(*id.text), id.p, id.block)
		}
	}
	return d, met, nil
}

// wrap seals a dialog for somebody who is no party to it.
func (s *sealer) wrap(d dialogRef) dialogRef {
	text := d.String()
	if d.watched {
		text += ";" + watchedMark
	}
	return dialogRef{
		callID: s.text([]byte(text), forDialog, dialogBlock),
		tag1:   "0", tag2: "0", names: d.names, early: d.early,
	}
}

// dialogBlock pads a wrapped dialog (ours: one that is mapped fits into one block).
const dialogBlock = 384

// unwrap opens what wrap made. Who uses it may ask for the dialog while it
// rings only.
func (s *sealer) unwrap(d dialogRef) (dialogRef, bool) {
	text, _, ok := s.openText(d.callID, forDialog)
	if !ok {
		return dialogRef{}, false
	}
	named, ok := parseDialog(string(text))
	named.early = named.early || d.early
	return named, ok
}

// dialogHeader maps Replaces, Join and Target-Dialog. A header that is there
// and cannot be mapped fails the message: without it, the request would mean
// something else.
func dialogHeader(h hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	d, ok := parseDialog(s.values[0])
	if !ok || len(s.values) > 1 {
		return "", errHeader
	}
	if named, ok := h.seal.unwrap(d); ok {
		return named.String(), nil
	}
	turned, _, err := h.seal.turn(d)
	if err != nil {
		return "", err
	}
	return turned.String(), nil
}

// maxReplies bounds the Call-IDs of one In-Reply-To (ours).
const maxReplies = 4

// inReplyTo maps Call-IDs (RFC 3261 §20.21).
func inReplyTo(h hide, s headerSet) (string, error) {
	var out []string
	for _, v := range s.values {
		for id := range strings.SplitSeq(v, ",") {
			id = strings.TrimSpace(id)
			if opened, ok := h.seal.openCallID(id); ok {
				out = append(out, opened)
			} else if id != "" {
				out = append(out, h.seal.callID(id))
			}
		}
	}
	return strings.Join(out[:min(len(out), maxReplies)], ", "), nil
}

// referTo makes a transfer safe: to a user of a domain of ours, with a dialog
// to replace that the receiver cannot read and only we can map. Everything
// else of the URI stays behind; a transfer to elsewhere is refused, because
// it would make the receiver's phone contact an address of the sender's choice.
func referTo(h hide, s headerSet) (string, error) {
	if len(s.values) == 0 {
		return "", nil
	}
	var u sip.Uri
	params := sip.NewParams()
	if _, err := sip.ParseAddressValue(s.values[0], &u, &params); err != nil || len(s.values) > 1 {
		return "", errHeader
	}
	to, err := h.transferee(u)
	if err != nil {
		return "", err
	}
	for _, kv := range u.Headers {
		if !strings.EqualFold(kv.K, "Replaces") {
			continue
		}
		v, err := h.transferred(kv.V)
		if err != nil {
			return "", err
		}
		// RFC 3261 §25.1, hvalue: "=" is escaped, too; Linphone cuts the value there.
		return "<" + to.String() + "?Replaces=" + url.QueryEscape(v) + ">", nil
	}
	return "<" + to.String() + ">", nil
}

// transferee is whom a Refer-To names: a user here, also where the sender
// names one by a Contact that we gave it.
func (h hide) transferee(u sip.Uri) (sip.Uri, error) {
	if u.Scheme == "tel" {
		return h.fit(u, h.domain), nil
	}
	if u.Scheme != "sip" && u.Scheme != "sips" || h.ours == nil || !h.ours(canonical(u.Host)) {
		return sip.Uri{}, errHeader
	}
	if !sealedUser(u.User) {
		return h.fit(u, h.domain), nil
	}
	b, err := h.seal.open(u.User, time.Now())
	user, host, ok := strings.Cut(b.aor, "@")
	if err != nil || !ok || isAddress(host) {
		return sip.Uri{}, errHeader
	}
	return sip.Uri{Scheme: "sip", User: userName(user), Host: host}, nil
}

// transferred is the dialog of a Refer-To, mapped for the party that will be
// asked to replace it and wrapped for the one that carries it there.
func (h hide) transferred(escaped string) (string, error) {
	v, err := url.PathUnescape(escaped)
	if err != nil {
		return "", errHeader
	}
	d, ok := parseDialog(v)
	if !ok {
		return "", errHeader
	}
	turned, met, err := h.seal.turn(d)
	if err != nil {
		return "", err
	}
	if !met {
		turned = d // an unprotected call: both of its ends know it by the same names
	}
	return h.seal.wrap(turned).String(), nil
}
