package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestCards has bob make a card of his for each of his contacts. Linphone
// imports carol's, and she calls him from her address book.
func TestCards(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	s, bob := silencer(t)
	contacts := s.write("contacts.vcf", fmt.Appendf(nil, "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Carol\r\n"+
		"IMPP:sip:carol@%[1]s\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nFN:Alice\r\n"+
		"IMPP:sip:alice@%[1]s\r\nEND:VCARD\r\n", domain))
	k := s.keys("bob")
	cards := filepath.Join(s.dir, "cards")
	k.token("issue", "--as", k.user, "--name", "Bob", "--for-all", contacts, "--cards", cards)

	h := s.lab.host("carol")
	h.write(".local/share/linphone/.keep", nil)
	script, err := filepath.Abs("testdata/import.py")
	if err != nil {
		t.Fatal(err)
	}
	book := h.start("python3", script, h.write("importrc", nil), filepath.Join(cards, "carol@"+domain+".vcf"))
	address := book.says(0, `contact Bob (sip:bob\+pt1\.\S{100}@`+domain+`)`)
	book.ends(patience)
	carol := s.linphone("carol", "udp", "[friend_0]", `url="Bob" <`+address+">", "subscribe=0")
	carol.getsThrough(bob, "friend call 0")
}

// TestWindow has bob expect a call: he dials a code, and for a while even
// mallory may ring.
func TestWindow(t *testing.T) {
	t.Parallel()
	s, bob := silencer(t)
	mallory := s.linphone("mallory", "udp")
	dialled := bob.call("*62")
	bob.p.says(dialled, `Message received from sip:silenced-calls@`+domain+`: (Anybody may ring you until )`)
	bob.over(dialled)
	mallory.getsThrough(bob, "call sip:bob@"+domain)
	dialled = bob.call("sip:*63@" + domain)
	bob.p.says(dialled, `Message received from sip:silenced-calls@`+domain+`: (Unknown callers are silenced again)`)
	bob.over(dialled)
	from := time.Now()
	rung, tried := bob.mark(), mallory.call("sip:bob@"+domain)
	bob.p.says(rung, `: (Silenced call from mallory@`+domain+` \(audio\))`)
	mallory.hangsUp()
	mallory.over(tried)
	onlyNotices(t, bob.host, from)
}
