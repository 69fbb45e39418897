package proxy

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

var watchedBob = sip.Uri{Scheme: "sip", User: "bob", Host: "example.com"}

// doc is a dialog-info with those dialogs.
func doc(dialogs string) string {
	return `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="3" state="partial" entity="sip:M4RK3R">` +
		dialogs + `</dialog-info>`
}

func TestWatch(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\r\n" +
		`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="3" state="partial" entity="sip:bob@example.com">` +
		"\r\n"
	id := s.digest("dialog-info id", "M4RK3R")
	const end = "</dialog>\r\n</dialog-info>\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"no dialog", doc(""), head + "</dialog-info>\r\n"},
		{
			"a dialog that is over", doc(`<dialog id="M4RK3R"><state event="rejected" code="486">terminated</state></dialog>`),
			head + `<dialog id="` + id + `"><state event="rejected" code="486">terminated</state>` + end,
		},
		{
			"values that are none", doc(`<dialog id="M4RK3R" direction="M4RK3R" call-id="M4RK3R">` +
				`<state event="M4RK3R" code="M4RK3R">early</state></dialog>`),
			head + `<dialog id="` + id + `"><state>early</state>` + end,
		},
		{
			"identifiers that are none", doc(`<dialog id="M4RK3R" call-id="a;b" local-tag="x y" remote-tag="z">` +
				`<state>early</state></dialog>`),
			head + `<dialog id="` + id + `"><state>early</state>` + end,
		},
		{"a state that is none", doc(`<dialog id="M4RK3R"><state>M4RK3R</state></dialog>`), head + "</dialog-info>\r\n"},
		{"another document", `<presence/>`, ""},
		{"no version", `<dialog-info state="full"/>`, ""},
		{"half a document", doc("")[:60], ""},
		{"an entity", `<!DOCTYPE x [<!ENTITY e "M4RK3R">]>` + doc(`<dialog id="&e;"><state>early</state></dialog>`), ""},
		{"no XML", "M4RK3R", ""},
		{"too many dialogs", doc(strings.Repeat("<dialog/>", maxDialogs+1)), ""},
	} {
		if got := string(s.watch([]byte(c.in), watchedBob)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// What a watcher gets names the dialog as the other party knows it.
func TestWatchedDialogIsTheOtherPartys(t *testing.T) {
	s := sealerOf(t, secretA, nil)
	caller, callee := views(s, "c-1", "alices", "bobs")
	of := func(v view) dialogRef {
		t.Helper()
		ref, ok := s.watchedDialog(dialogLine{CallID: v.callID, LocalTag: v.own, RemoteTag: v.other})
		if !ok {
			t.Fatal("no reference")
		}
		d, ok := s.unwrap(ref)
		if !ok || !d.watched || d.early || strings.Contains(ref.String(), "watched") {
			t.Fatalf("%+v, %v", d, ok)
		}
		return d
	}
	if got, want := of(callee).String(), caller.replaces(); got != want {
		t.Errorf("of bob's: %s, not %s", got, want)
	}
	if got, want := of(caller).String(), callee.replaces(); got != want {
		t.Errorf("of alice's: %s, not %s", got, want)
	}
}

// FuzzWatch: whatever a phone writes, what the watcher gets is a document of
// known elements that says nothing else.
func FuzzWatch(f *testing.F) {
	f.Add([]byte(doc(`<dialog id="1" call-id="c" local-tag="a" remote-tag="b"><state>early</state></dialog>`)))
	f.Add([]byte(doc(`<dialog id="&lt;"><state code="180">confirmed</state></dialog>`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := sealerOf(t, secretA, nil)
		out := s.watch(raw, watchedBob)
		if out == nil {
			return
		}
		var d dialogInfo
		if err := xml.Unmarshal(out, &d); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		for _, one := range d.Dialogs {
			named := one.CallID != "" || one.LocalTag != "" || one.RemoteTag != ""
			sealed := strings.HasPrefix(one.CallID, sealPrefix) && one.LocalTag+one.RemoteTag == "00"
			if len(one.ID) != digestLen || named && !sealed {
				t.Fatalf("%s", out)
			}
		}
		if again := s.watch(out, watchedBob); again == nil {
			t.Fatalf("not read again:\n%s", out)
		}
	})
}
