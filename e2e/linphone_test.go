package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A linphone is Linphone's console phone.
type linphone struct {
	*host
	p         *program
	user      string
	transport string
	records   int
}

// linphone starts linphonec on a host of the user's name and registers it.
// more are further lines of the [sip] section of its configuration.
func (s *server) linphone(user, transport string, more ...string) *linphone {
	s.lab.t.Helper()
	return s.linphoneOn(user, user, transport, more...)
}

// linphoneOn is linphone on a host of another name: a user's second device.
func (s *server) linphoneOn(place, user, transport string, more ...string) *linphone {
	s.lab.t.Helper()
	needs(s.lab.t, "linphonec")
	h := s.lab.hosts[place]
	if h == nil {
		h = s.lab.host(place)
	}
	ports := map[string]int{"udp": -1, "tcp": -1, "tls": -1}
	ports[transport] = 5060
	six := 0
	if s.lab.six {
		six = 1
	}
	rc := h.write("linphonerc", fmt.Appendf(nil, `[sip]
default_proxy=0
sip_port=%[1]d
sip_tcp_port=%[2]d
sip_tls_port=%[3]d
verify_server_certs=0
verify_server_cn=0
guess_hostname=1
use_ipv6=%[4]d
register_only_when_network_is_up=0
%[10]s
[net]
firewall_policy=0
mtu=1300
[sound]
playback_dev_id=
echocancellation=0
[rtp]
audio_rtp_port=7078
[misc]
uuid=0
[proxy_0]
reg_proxy=<sip:%[5]s;transport=%[6]s>
reg_route=<sip:%[5]s;transport=%[6]s;lr>
reg_identity=sip:%[7]s@%[8]s
reg_expires=3600
reg_sendregister=1
publish=0
[auth_info_0]
username=%[7]s
passwd=%[9]s
realm=%[8]s
domain=%[8]s
algorithm=SHA-256
`, ports["udp"], ports["tcp"], ports["tls"], six, s.port(transport), transport, user, domain,
		password, strings.Join(more, "\n")))
	if err := os.MkdirAll(filepath.Join(h.dir, ".local/share/linphone"), 0o700); err != nil {
		s.lab.t.Fatal(err)
	}
	l := &linphone{host: h, user: user, transport: transport}
	l.p = h.start("linphonec", "-c", rc, "-d", "6")
	l.p.says(0, `Register refresher \[(200)\]`)
	l.p.types("soundcard use files")
	return l
}

// heard is all that the phone logged since mark, every message among it.
func (l *linphone) heard(mark int) string { return l.p.text(mark) }

func (l *linphone) place() *host { return l.host }

// call dials.
func (l *linphone) call(to string) int {
	l.lab.t.Helper()
	mark := l.p.mark()
	l.p.types("call " + to)
	return mark
}

// rings waits for an incoming call.
func (l *linphone) rings(mark int) { l.p.says(mark, `Receiving new incoming call from (.*)`) }

// answers takes the call.
func (l *linphone) answers() {
	l.p.types("answer")
}

// talks waits until the call is up.
func (l *linphone) talks(mark int) { l.p.says(mark, `to (LinphoneCallStreamsRunning)`) }

// hangsUp ends the call.
func (l *linphone) hangsUp() { l.p.types("terminate") }

// over waits for the end of the call.
func (l *linphone) over(mark int) { l.p.says(mark, `to (LinphoneCallReleased)`) }

func (l *linphone) mark() int { return l.p.mark() }

// plays sends a tone from now on and records what it hears.
func (l *linphone) plays(hz float64) {
	l.records++
	l.p.types("play " + l.write(fmt.Sprintf("tone-%g.wav", hz), toneWAV(hz, 60*time.Second)))
	l.p.types("record " + l.recording())
}

func (l *linphone) recording() string {
	return filepath.Join(l.dir, fmt.Sprintf("heard-%d.wav", l.records))
}

// hears tells whether the recording has the tone.
func (l *linphone) hears(hz float64) bool { return wavHas(l.recording(), hz) }

// forget does nothing: every recording has a file of its own.
func (l *linphone) forget() {}
