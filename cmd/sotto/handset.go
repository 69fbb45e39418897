package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"sotto/internal/aor"
)

// handsets writes a configuration for each user of the trial and each of two
// phones, linphonec and baresip, so that starting one is one line. They are
// kept with the trial's data.
func handsets(dir string, users []aor.AOR, server netip.AddrPort) error {
	for i, u := range users {
		if err := os.MkdirAll(baresipDir(dir, u), 0o700); err != nil {
			return fmt.Errorf("writing phone configuration: %w", err)
		}
		for file, text := range map[string]string{
			linphoneFile(dir, u): linphoneConfig(u, server, firstPort+i*portsEach),
			filepath.Join(baresipDir(dir, u), "accounts"): fmt.Sprintf(
				"<sip:%s>;outbound=\"sip:%s;transport=tcp\";auth_user=%s;auth_pass=%s;regint=600\n",
				u, server, u.User(), tryPassword),
		} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return fmt.Errorf("writing phone configuration: %w", err)
			}
		}
	}
	return nil
}

// Phones on one machine need ports of their own; these are below those that
// the server relays on.
const (
	firstPort = 7100
	portsEach = 100
)

func linphoneFile(dir string, u aor.AOR) string { return filepath.Join(dir, u.User()+".linphonerc") }

func baresipDir(dir string, u aor.AOR) string { return filepath.Join(dir, u.User()+".baresip") }

// linphoneConfig is what Linphone needs to register over TCP: an INVITE with a
// token may be too large for a datagram.
func linphoneConfig(u aor.AOR, server netip.AddrPort, ports int) string {
	return fmt.Sprintf(`[sip]
default_proxy=0
sip_port=-1
sip_tcp_port=%[8]d
sip_tls_port=-1
guess_hostname=1
register_only_when_network_is_up=0

[rtp]
audio_rtp_port=%[5]d-%[6]d

[proxy_0]
reg_proxy=<sip:%[1]s;transport=tcp>
reg_route=<sip:%[1]s;transport=tcp;lr>
reg_identity=sip:%[2]s
reg_expires=3600
reg_sendregister=1
publish=0

[auth_info_0]
username=%[3]s
passwd=%[4]s
realm=%[7]s
domain=%[7]s
algorithm=SHA-256
`, server, u, u.User(), tryPassword, ports, ports+portsEach-2, u.Host(), ports+portsEach-1)
}
