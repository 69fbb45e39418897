package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// print tells a newcomer what runs and what to dial.
func (d *demo) print(t *tell, c *tryCmd, dir string) {
	server := fmt.Sprintf("%s:%d", c.Host, c.Port)
	if strings.Contains(c.Host, ":") {
		server = fmt.Sprintf("[%s]:%d", c.Host, c.Port)
	}
	t.say(`Sotto is running on %s (udp, tcp) and port %d (tls). Ctrl-C ends it.

  alice@%[3]s    her address is always protected
  bob@%[3]s      silences unknown callers
  carol@%[3]s    has a privacy token of bob's
  mallory@%[3]s  has none
  password of all: %[4]s`, server, c.Port+1, tryDomain, tryPassword)
	t.say("\nRegister a phone, each in a terminal of its own (other ports for more than one on this machine):")
	t.say("  linphonec:  proxy add   (proxy: sip:%s;transport=tcp  identity: sip:bob@%s)", server, tryDomain)
	t.say("  baresip:    in ~/.baresip/accounts:")
	t.say("    <sip:bob@%s>;outbound=\"sip:%s;transport=tcp\";auth_user=bob;auth_pass=%s", tryDomain, server, tryPassword)
	t.say("\nDial, and what happens:")
	for _, line := range [][2]string{
		{"alice -> sip:carol@" + tryDomain, "rings; carol never learns where alice is: signalling and audio come from here"},
		{"mallory -> sip:bob@" + tryDomain, "mallory hears ringing, then nobody; bob's phone gets no byte, only a notice later"},
		{"carol -> " + dialable(d.bob, d.carols), "rings: the token says that bob lets carol ring"},
		{"bob -> sip:carol@" + tryDomain, "rings; and carol may call back for a week without a token"},
	} {
		t.say("  %s\n      %s", line[0], line[1])
	}
	t.say("\nThese fail on purpose, all alike for who calls:")
	for _, line := range [][2]string{
		{"mallory -> " + dialable(d.bob, d.carols), "stolen: the token is carol's"},
		{"carol -> " + dialable(d.bob, d.revoked), "revoked"},
		{"carol -> " + dialable(d.bob, d.expired), "expired"},
		{"carol -> " + dialable(d.bob, d.forOther), "for another recipient"},
		{"carol -> sip:nobody@" + tryDomain, "there is no such user"},
	} {
		t.say("  %s\n      %s", line[0], line[1])
	}
	data, err := filepath.Abs(dir)
	if err != nil {
		data = dir
	}
	t.say("\nAsk the running server:")
	for _, verb := range []string{"calls", "silenced list bob@" + tryDomain, "setting show alice@" + tryDomain} {
		t.say("  sotto %s --data %s", verb, data)
	}
}
