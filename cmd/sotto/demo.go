package main

import (
	"os"
	"path/filepath"
)

// print tells a newcomer what runs and what to dial.
func (d *demo) print(t *tell, s *server, phones string) {
	t.say("Sotto runs here; Ctrl-C ends it:\n")
	for _, b := range s.bound {
		t.say("  %s  %s", b.Transport, b.Addr)
	}
	t.say(`
Its users, with the password %s:

  alice@%[2]s    her address is always protected
  bob@%[2]s      silences unknown callers
  carol@%[2]s    has a privacy token of bob's
  mallory@%[2]s  is a stranger

Start a phone for each, in a terminal of its own; these are ready to register:
`, tryPassword, tryDomain)
	for _, u := range d.users() {
		t.say("  linphonec -c %s\n  baresip -f %s", linphoneFile(phones, u), baresipDir(phones, u))
	}
	t.say("\nlinphonec registers only where it finds its directory: mkdir -p ~/.local/share/linphone")
	t.say("Any other phone: user, password and domain as above, and this server as its (outbound) proxy.")
	t.say("No phone at hand? %s try --demo plays the calls with phones of its own.", os.Args[0])
	t.say("\nDial, and see what happens:\n")
	sayPairs(t, [][2]string{
		{"alice -> sip:carol@" + tryDomain, "rings; neither learns where the other is: signalling and audio come from here"},
		{"mallory -> sip:bob@" + tryDomain, "rings for mallory only; bob's phone gets a notice, later, and no other byte"},
		{"carol -> " + dialable(d.bob, d.carols), "rings: the token says that bob lets carol ring"},
		{"bob -> sip:carol@" + tryDomain, "rings; and carol may call back for a week without a token"},
	})
	t.say("\nThese fail on purpose, all alike for who calls:\n")
	sayPairs(t, [][2]string{
		{"mallory -> " + dialable(d.bob, d.carols), "stolen: the token is carol's"},
		{"carol -> " + dialable(d.bob, d.revoked), "revoked"},
		{"carol -> " + dialable(d.bob, d.expired), "expired"},
		{"carol -> " + dialable(d.bob, d.forOther), "for another recipient"},
		{"carol -> sip:nobody@" + tryDomain, "there is no such user"},
	})
	data, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		data = s.cfg.DataDir
	}
	t.say("\nAsk the running server:\n")
	for _, verb := range []string{"calls", "silenced list bob@" + tryDomain, "setting show alice@" + tryDomain} {
		t.say("  %s %s --data %s", os.Args[0], verb, data)
	}
}

// sayPairs prints what to dial, and below it what happens.
func sayPairs(t *tell, pairs [][2]string) {
	for _, p := range pairs {
		t.say("  %s\n      %s", p[0], p[1])
	}
}
