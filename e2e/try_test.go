package e2e

import (
	"path/filepath"
	"regexp"
	"testing"
)

// TestTry does what a newcomer does: starts `sotto try`, pastes the lines that
// it prints for two phones, and calls.
func TestTry(t *testing.T) {
	t.Parallel()
	needs(t, "linphonec", "baresip")
	bin, err := sottoBinary()
	if err != nil {
		t.Fatal(err)
	}
	h := newLab(t, false).host("server") // everything is on its loopback
	server := h.start(bin, "try", "--keep", filepath.Join(h.dir, "kept"))
	server.says(0, `Ask the running server`)
	line := func(pattern string) []string {
		m := regexp.MustCompile(`(?m)^  (` + pattern + `)$`).FindString(server.text(0))
		if m == "" {
			t.Fatalf("sotto try prints no %s:\n%s", pattern, server.text(0))
		}
		return regexp.MustCompile(`\S+`).FindAllString(m, -1)
	}
	carol := line(`baresip -f \S*carol\S*`)
	phone := h.start(carol[0], append(carol[1:], "-s")...) // -s prints its messages
	phone.says(0, `(200) OK.*\[1 binding`)
	h.write(".local/share/linphone/.keep", nil) // as is told
	alice := line(`linphonec -c \S*alice\S*`)
	caller := h.start(alice[0], append(alice[1:], "-d", "6")...)
	caller.says(0, `Register refresher \[(200)\]`)
	mark, rung := caller.mark(), phone.mark()
	caller.types("call sip:carol@sotto.example")
	phone.says(rung, `INVITE sip:carol`)
	caller.says(mark, `to (LinphoneCallOutgoingRinging)`)
	caller.types("terminate")
	caller.says(mark, `to (LinphoneCallReleased)`)
}
