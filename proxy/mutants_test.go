//go:build mutants

package proxy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The harness is worth something only if it misses nothing that is missing. Each
// of these mutants is the product without one treatment, as an overlay of the
// compiler makes it: the sources themselves have no switch that turns privacy off.
// `make mutants` plays the scenario of each; a mutant that is not caught fails.

// An edit is where a mutant, or several, differ from the product.
type edit struct{ file, old, new string }

// header lets one more header pass as it is, under a name of its own.
const header = `	if name, ok := strings.CutPrefix(mutant, "header:"); ok {
		for _, v := range valuesOf(in, name) {
			out.AppendHeader(sip.NewHeader("X-"+name, v))
		}
	}
`

// edits are all of them. All mutants are in one binary; the environment says which lives.
var edits = []edit{
	{"proxy/hide.go", "	kind, body, err := h.bodyFor(in, method)\n", header + "	kind, body, err := h.bodyFor(in, method)\n"},
	{"proxy/seal.go", "tag(t string) string {", `tag(t string) string { if mutant == "tags" { return t };`},
	{"proxy/seal.go", "	t, _, ok := s.openText(sealed, forTag)\n", `	if mutant == "tags" { return sealed, true }
	t, _, ok := s.openText(sealed, forTag)
`},
	{"proxy/seal.go", "callID(id string) string {", `callID(id string) string { if mutant == "Call-ID" { return id };`},
	{"proxy/seal.go", "	id, _, ok := s.openText(sealed, forCallID)\n", `	if mutant == "Call-ID" { return sealed, true }
	id, _, ok := s.openText(sealed, forCallID)
`},
	{"proxy/body.go", "	if _, request := in.(*sip.Request); body == nil", `	if mutant == "body:"+kind { body = raw }
	if _, request := in.(*sip.Request); body == nil`},
	{"proxy/dialoginfo.go", "	ref.watched = true\n	return s.wrap(ref), true\n", `	ref.watched = true
	if mutant == "watched dialog" { return dialogRef{callID: d.CallID, tag1: d.RemoteTag, tag2: d.LocalTag}, true }
	return s.wrap(ref), true
`},
	{"proxy/dialoginfo.go", "	attr(b, \"id\", s.digest(", `	if mutant == "watched id" { attr(b, "x", d.ID) }
	attr(b, "id", s.digest(`},
	{"proxy/media.go", "	return p.engine.Offer(b.media.session, body)\n", `	out, err := p.engine.Offer(b.media.session, body)
	if mutant == "description" && b.media.created == false { out = body.SDP }
	return out, err
`},
	{"proxy/refer.go", "	to, err := h.transferee(u)\n", `	if mutant == "Refer-To" { return s.values[0], nil }
	to, err := h.transferee(u)
`},
	{"rtpengine/sdp.go", "	attrs  []string // of the session, safe\n", "	attrs []string\n	in *sdp.SessionDescription\n"},
	{"rtpengine/sdp.go", "	d := &description{}\n", "	d := &description{in: in}\n"},
	{"rtpengine/sdp.go", "	return append([]byte(head), body...)\n", `	if mutant == "o=" { head = "v=0\r\no=" + d.in.Origin.String() + "\r\n" }
	return append([]byte(head), body...)
`},
	{"rtpengine/sdp.go", "	for _, a := range d.attrs {\n		b.WriteString", `	switch text := b.String(); {
	case mutant == "s=":
		b.Reset()
		b.WriteString(strings.Replace(text, "s=-", "s="+d.in.SessionName.String(), 1))
	case mutant == "i=" && d.in.SessionInformation != nil:
		b.Reset()
		b.WriteString(strings.Replace(text, "s=-", "s=-\r\ni="+d.in.SessionInformation.String(), 1))
	case mutant == "c=" && len(d.media) > 1:
		b.Reset()
		b.WriteString("s=-\r\nc=" + d.in.ConnectionInformation.String() + "\r\nt=0 0\r\n")
	}
	for _, a := range d.attrs {
		b.WriteString`},
	{"rtpengine/attribute.go", "	form, ok := list[a.Key]\n", `	if mutant == "attribute:"+a.Key { return a.Key + ":" + a.Value, true }
	form, ok := list[a.Key]
`},
	{"rtpengine/codec.go", "	switch name {\n	case \"sprop-parameter-sets\":", `	if mutant == "fmtp" { return true }
	switch name {
	case "sprop-parameter-sets":`},
	{"rtpengine/codec.go", "	m := rtpmap.FindStringSubmatch(value)\n", `	if mutant == "rtpmap" { return true }
	m := rtpmap.FindStringSubmatch(value)
`},
	{"rtpengine/attribute.go", "	if !ok || !form.MatchString(a.Value) {", `	if mutant == "rtpmap" && a.Key == "rtpmap" { form = nothingButWords }
	if !ok || !form.MatchString(a.Value) {`},
	{"rtpengine/rtcp.go", "Text: from.cname}},\n", `Text: from.cname}},
			})
			if mutant == "CNAME" { out.Chunks[len(out.Chunks)-1].Items = c.Items[:1] }
			if mutant == "SDES" { out.Chunks[len(out.Chunks)-1].Items = c.Items }
			if true { continue }
			out.Chunks = append(out.Chunks, rtcp.SourceDescriptionChunk{
`},
	{"rtpengine/rtcp.go", `		p.Reason = ""`, `		if mutant != "BYE" { p.Reason = "" }`},
	{"rtpengine/rtcp.go", "		p.NTPTime += from.clock\n", `		if mutant != "NTP" { p.NTPTime += from.clock }
`},
	{"rtpengine/rtcp.go", "	return nil\n}\n\n// limitsRate", `	if mutant == "APP" { return p }
	if _, is := p.(*rtcp.ExtendedReport); is && mutant == "XR" { return p }
	return nil
}

// limitsRate`},
	{"rtpengine/stream.go", "	case k == kindSTUN:\n		t.stun(", `	case k == kindSTUN:
		if mutant == "STUN" { t.forward(in, out, rtcpPort, b); return }
		t.stun(`},
	{"rtpengine/stream.go", "			b = plainRTP(b)", `			if mutant != "RTP" { b = plainRTP(b) }`},
}

// switches is the file that says which mutant lives, in both packages.
const switches = "\n\nimport (\n\t\"os\"\n\t\"regexp\"\n)\n\nvar (\n\tmutant = os.Getenv(\"SOTTO_MUTANT\")\n" +
	"\tnothingButWords = regexp.MustCompile(`.`)\n)\n"

// mutants are each played in the scenario where it must be caught.
var mutants = []struct{ name, scenario string }{
	{"", ".*"}, // none: nothing is found
	{"header:Via", "nothing but the call"},
	{"header:Contact", "nothing but the call"},
	{"header:User-Agent", "nothing but the call"},
	{"header:X-Address", "nothing but the call"},
	{"header:P-Asserted-Identity", "nothing but the call"},
	{"tags", "nothing but the call"},
	{"Call-ID", "nothing but the call"},
	{"Refer-To", "REFER to an own address"},
	{"body:message/sipfrag", "NOTIFY, more than a status"},
	{"body:application/dtmf-relay", "INFO, more than a digit"},
	{"body:application/media_control+xml", "INFO, picture update"},
	{"body:application/pidf+xml", "NOTIFY, presence"},
	{"body:application/dialog-info+xml", "NOTIFY, dialog"},
	{"watched dialog", "NOTIFY, dialog with names"},
	{"watched id", "NOTIFY, dialog with names"},
	{"body:application/reginfo+xml", "NOTIFY, reg"},
	{"body:application/conference-info+xml", "NOTIFY, conference"},
	{"body:application/simple-message-summary", "NOTIFY, message summary"},
	{"body:multipart/mixed", "INFO, multipart"},
	{"body:application/trickle-ice-sdpfrag", "INFO, trickle ICE"},
	{"body:application/isup", "INFO, ISUP"},
	{"body:message/cpim", "MESSAGE, CPIM"},
	{"body:message/imdn+xml", "MESSAGE, IMDN"},
	{"body:text/vcard", "MESSAGE, card"},
	{"description", "^re-INVITE$"},
	{"o=", "^re-INVITE$"},
	{"s=", "MSRP"},
	{"i=", "^re-INVITE$"},
	{"c=", "MSRP"},
	{"attribute:candidate", "ICE restart"},
	{"attribute:remote-candidates", "ICE restart"},
	{"attribute:ssrc", "sources and groups"},
	{"attribute:msid", "sources and groups"},
	{"attribute:label", "sources and groups"},
	{"attribute:extmap", "sources and groups"},
	{"attribute:rtcp-xr", "sources and groups"},
	{"attribute:group", "sources and groups"},
	{"attribute:rtcp", "RTCP at an own address"},
	{"attribute:tool", "^re-INVITE$"},
	{"attribute:x-where", "^re-INVITE$"},
	{"attribute:imageattr", "fmtp of an own kind"},
	{"attribute:T38VendorInfo", "T.38 that is refused"},
	{"fmtp", "fmtp of an own kind"},
	{"rtpmap", "codec of an own kind"},
	{"CNAME", "RTCP with every item"},
	{"SDES", "RTCP with every item"},
	{"BYE", "nothing but the call"},
	{"NTP", "STUN and RTCP APP"},
	{"APP", "STUN and RTCP APP"},
	{"XR", "RTCP XR"},
	{"STUN", "STUN and RTCP APP"},
	{"RTP", "STUN and RTCP APP"},
}

func TestEveryMutantIsCaught(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "mutants")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay(t), "-o", binary, "./proxy")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the mutants: %v\n%s", err, out)
	}
	for _, m := range mutants {
		play := exec.Command(binary, "-test.run", "^TestLeaks/^UDP,_IPv4$", "-scenario", m.scenario)
		play.Env = append(os.Environ(), "SOTTO_MUTANT="+m.name)
		out, err := play.CombinedOutput()
		found := regexp.MustCompile(`received of \w+: (.*)`).FindSubmatch(out)
		switch {
		case m.name == "" && err != nil:
			t.Fatalf("without a mutation the harness fails: %s", out)
		case m.name != "" && (err == nil || found == nil):
			t.Errorf("%s is not caught by %s:\n%s", m.name, m.scenario, out)
		case m.name != "":
			t.Logf("%-40s %s", m.name, found[1])
		}
	}
	t.Logf("%d mutants", len(mutants)-1)
}

// overlay writes the edited sources and what the compiler needs to find them.
func overlay(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{
		"proxy/mutant.go": "package proxy" + switches, "rtpengine/mutant.go": "package rtpengine" + switches,
	}
	for _, e := range edits {
		if text[e.file] == "" {
			raw, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			text[e.file] = string(raw)
		}
		if strings.Count(text[e.file], e.old) != 1 {
			t.Fatalf("%s has no longer, or more than once:\n%s", e.file, e.old)
		}
		text[e.file] = strings.Replace(text[e.file], e.old, e.new, 1)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for file, s := range text {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		write(t, to, []byte(s))
		replace[filepath.Join(root, file)] = to
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "overlay.json")
	write(t, to, raw)
	return to
}

func write(t *testing.T, to string, b []byte) {
	t.Helper()
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
