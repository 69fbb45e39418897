package proxy

import (
	"net/url"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/aor"
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
	reader             string    // of what is wrapped: noReader, anyReader or an address of record
}

// Who may be told what is in a wrapped dialog, where its call is not known here
// any more: nobody, the user of that address of record, or anybody, since its
// author wrote it down as it stands.
const (
	noReader  = ""
	anyReader = "*"
)

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

// What is written into what is wrapped: that the dialog was watched, and its reader.
const (
	watchedMark = "watched"
	readerMark  = "reader"
)

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
	text += ";" + readerMark + "=" + encoding.EncodeToString([]byte(d.reader))
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
	mark, _ := param(string(text), readerMark)
	if reader, err := encoding.DecodeString(mark); err == nil {
		named.reader = string(reader)
	}
	return named, ok
}

// A reader is whom a request goes to, as far as it may be told how a party of a
// call names its dialog: that is in the clear what has been sealed for the other
// party, who could else have it opened by sending it to somebody else. The
// zero value may be told nothing.
type reader struct {
	aor    aor.AOR // the user whose phone it is; zero: elsewhere
	handed bool    // it has been found out that the dialog is the reader's
	// party is the user whose phone names a dialog so, as far as the call is known here.
	party func(dialogRef) (aor.AOR, bool)
}

// may says that the reader may be told of d.
func (r reader) may(d dialogRef) bool {
	switch {
	case r.handed, d.reader == anyReader:
		return true
	case r.aor.IsZero():
		return false
	case d.reader != noReader:
		return d.reader == r.aor.String()
	}
	return r.owns(d)
}

// owns says that d is a dialog of the reader's in a call that is known here.
func (r reader) owns(d dialogRef) bool {
	if r.party == nil {
		return false
	}
	party, ok := r.party(d)
	return ok && party == r.aor
}

// read is a dialog as the reader is told of it; met says that something of it was
// opened. It fails with errHeader or, where the dialog is none of the reader's, with errForged.
func (s *sealer) read(d dialogRef, r reader) (named dialogRef, met bool, err error) {
	named, met = s.unwrap(d)
	if !met {
		if named, met, err = s.turn(d); err != nil || !met {
			return named, false, err
		}
	}
	if !r.may(named) {
		return dialogRef{}, false, errForged
	}
	return named, true, nil
}

// dialogHeader maps Replaces, Join and Target-Dialog. A header that is there
// and cannot be mapped fails the request: without it, that would mean
// something else. In a response they mean nothing.
func dialogHeader(h hide, s headerSet) (string, error) {
	if _, request := s.in.(*sip.Request); !request || len(s.values) == 0 {
		return "", nil
	}
	d, ok := parseDialog(s.values[0])
	if !ok || len(s.values) > 1 {
		return "", errHeader
	}
	named, _, err := h.seal.read(d, h.reader)
	if err != nil {
		return "", err
	}
	return named.String(), nil
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
	if to.User == anonymousUser {
		return "", errHeader // there is nobody to call
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
	switch {
	case err != nil, !ok, isAddress(host):
		return sip.Uri{}, errHeader
	case b.anonymous && b.leg == calleeLeg: // it leads to the caller
		return sip.Uri{Scheme: "sip", User: anonymousUser, Host: h.domain}, nil
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
		turned, turned.reader = d, anyReader // an unprotected call: both of its ends know it by the same names
	} else if h.reader.party != nil {
		if party, ok := h.reader.party(turned); ok && !party.IsZero() {
			turned.reader = party.String()
		}
	}
	return h.seal.wrap(turned).String(), nil
}
