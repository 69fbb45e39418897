package proxy

import (
	"bytes"
	"encoding/xml"
	"strconv"

	"github.com/emiago/sipgo/sip"
)

// typeDialogInfo is the body of the dialog event package (RFC 4235).
const typeDialogInfo = "application/dialog-info+xml"

// maxDialogs bounds what one document tells of (ours: a phone has few lines).
const maxDialogs = 16

// dialogInfo is what is read of a document. Who else is in a dialog, its
// addresses and descriptions are left where they are.
type dialogInfo struct {
	XMLName xml.Name     `xml:"dialog-info"`
	Version string       `xml:"version,attr"`
	State   string       `xml:"state,attr"`
	Dialogs []dialogLine `xml:"dialog"`
}

// dialogLine is one dialog of it.
type dialogLine struct {
	ID        string `xml:"id,attr"`
	CallID    string `xml:"call-id,attr"`
	LocalTag  string `xml:"local-tag,attr"`
	RemoteTag string `xml:"remote-tag,attr"`
	Direction string `xml:"direction,attr"`
	State     struct {
		Text  string `xml:",chardata"`
		Event string `xml:"event,attr"`
		Code  string `xml:"code,attr"`
	} `xml:"state"`
}

// watch rebuilds what a phone tells whoever watches it of its calls: their
// states, and for each a sealed reference by which the watcher can pick it up
// (replace.go), at the address of record of the phone. Of the other party
// nothing leaves. nil for what cannot be read.
func (s *sealer) watch(raw []byte, watched sip.Uri) []byte {
	var in dialogInfo
	if err := xml.Unmarshal(raw, &in); err != nil || len(in.Dialogs) > maxDialogs {
		return nil
	}
	version, state := digits(in.Version), oneOf(in.State, "full", "partial")
	if version == "" || state == "" {
		return nil
	}
	entity := sip.Uri{Scheme: "sip", User: watched.User, Host: watched.Host}
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\r\n" +
		`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"`)
	attr(&b, "version", version)
	attr(&b, "state", state)
	attr(&b, "entity", entity.String())
	b.WriteString(">\r\n")
	for _, d := range in.Dialogs {
		s.line(&b, d, entity.String())
	}
	b.WriteString("</dialog-info>\r\n")
	return b.Bytes()
}

// line writes one dialog.
func (s *sealer) line(b *bytes.Buffer, d dialogLine, entity string) {
	state := oneOf(d.State.Text, "trying", "proceeding", "early", "confirmed", "terminated")
	if state == "" {
		return
	}
	b.WriteString("<dialog")
	attr(b, "id", s.digest("dialog-info id", d.ID))
	ref, ok := s.watchedDialog(d)
	if ok {
		attr(b, "call-id", ref.callID)
		attr(b, "local-tag", ref.tag2)
		attr(b, "remote-tag", ref.tag1)
	}
	attr(b, "direction", oneOf(d.Direction, "initiator", "recipient"))
	b.WriteString("><state")
	attr(b, "event", oneOf(d.State.Event,
		"cancelled", "rejected", "replaced", "local-bye", "remote-bye", "error", "timeout"))
	if code, err := strconv.Atoi(d.State.Code); err == nil && code >= 100 && code <= 699 {
		attr(b, "code", strconv.Itoa(code))
	}
	b.WriteString(">" + state + "</state>")
	if ok {
		b.WriteString("<remote><identity>")
		text(b, entity)
		b.WriteString("</identity><target")
		attr(b, "uri", entity)
		b.WriteString("/></remote>")
	}
	b.WriteString("</dialog>\r\n")
}

// watchedDialog is the reference to a dialog of a phone for who watches it: the
// dialog as the other party names it, since that party is asked to replace it.
func (s *sealer) watchedDialog(d dialogLine) (dialogRef, bool) {
	ref := dialogRef{callID: d.CallID, tag1: d.RemoteTag, tag2: d.LocalTag, names: [2]string{"to-tag", "from-tag"}}
	if ref, ok := parseDialog(ref.String()); !ok || ref.callID != d.CallID {
		return ref, false
	}
	turned, met, err := s.turn(ref)
	if err != nil {
		return ref, false
	}
	if ref.reader = anyReader; met { // else both parties know it by the same names
		ref = turned
	}
	ref.watched = true
	return s.wrap(ref), true
}

// attr writes an attribute, if it has a value.
func attr(b *bytes.Buffer, name, value string) {
	if value == "" {
		return
	}
	b.WriteString(" " + name + `="`)
	text(b, value)
	b.WriteString(`"`)
}

// text writes text with what XML has a meaning for escaped.
func text(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a buffer takes everything
}
