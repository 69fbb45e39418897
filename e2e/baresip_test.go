package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A baresip is that phone, told what to do over its control socket.
type baresip struct {
	*host
	p     *program
	user  string
	ctrl  net.Conn
	hz    float64 // of the tone that it sends
	dumps string
}

// modules that a call needs; stdio is not among them: it wants a terminal.
var baresipModules = []string{"g711", "aufile", "aubridge", "sndfile"}

// baresip starts baresip on a host of the user's name and registers it. It
// sends a tone in every call.
func (s *server) baresip(user, transport string, hz float64) *baresip {
	s.lab.t.Helper()
	needs(s.lab.t, "baresip")
	h := s.lab.hosts[user]
	if h == nil {
		h = s.lab.host(user)
	}
	b := &baresip{host: h, user: user, hz: hz, dumps: filepath.Join(h.dir, "dumps")}
	if err := os.MkdirAll(b.dumps, 0o700); err != nil {
		s.lab.t.Fatal(err)
	}
	tone := h.write("tone.wav", toneWAV(hz, 60*time.Second))
	var c strings.Builder
	fmt.Fprintf(&c, "sip_listen %s\nsip_trans_def %s\ncall_max_calls 4\n", h.at(5060), transport)
	fmt.Fprintf(&c, "audio_source aufile,%s\naudio_player aubridge,sink\naudio_alert aubridge,alert\n", tone)
	fmt.Fprintf(&c, "ausrc_srate 8000\nauplay_srate 8000\nsnd_path %s\nctrl_tcp_listen 127.0.0.1:4444\n", b.dumps)
	fmt.Fprintf(&c, "rtp_ports 10000-20000\nrtcp_mux no\nmodule_path /usr/lib/baresip/modules\n")
	for _, m := range baresipModules {
		fmt.Fprintf(&c, "module %s.so\n", m)
	}
	fmt.Fprintf(&c, "module_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n")
	h.write(".baresip/config", []byte(c.String()))
	h.write(".baresip/accounts", fmt.Appendf(nil,
		"<sip:%s@%s;transport=%s>;outbound=\"sip:%s;transport=%[3]s\";auth_user=%[1]s;auth_pass=%[5]s;regint=600\n",
		user, domain, transport, s.port(transport), password))
	h.write(".baresip/contacts", nil)
	b.p = h.start("baresip", "-f", filepath.Join(h.dir, ".baresip"), "-s")
	b.p.says(0, `(200) OK.*\[1 binding`)
	b.connect()
	return b
}

// connect opens the control socket.
func (b *baresip) connect() {
	b.lab.t.Helper()
	eventually(b.lab.t, "baresip's control socket", func() bool {
		return b.within(func() (err error) {
			b.ctrl, err = net.Dial("tcp", "127.0.0.1:4444")
			return err
		}) == nil
	})
	b.lab.t.Cleanup(func() { _ = b.ctrl.Close() })
	go b.listen()
}

// listen keeps the phone's events beside what it prints.
func (b *baresip) listen() {
	r := bufio.NewReader(b.ctrl)
	for { // netstrings: length, colon, JSON, comma
		size, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil {
			return
		}
		text := make([]byte, n+1)
		if _, err := io.ReadFull(r, text); err != nil {
			return
		}
		_, _ = b.p.Write(append([]byte("ctrl "), append(text[:n], '\n')...))
	}
}

// does carries out a command of the phone.
func (b *baresip) does(command, params string) {
	b.lab.t.Helper()
	text, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err == nil {
		_, err = fmt.Fprintf(b.ctrl, "%d:%s,", len(text), text)
	}
	if err != nil {
		b.lab.t.Fatalf("telling baresip to %s: %v", command, err)
	}
}

// heard is all that the phone printed since mark, every message among it.
func (b *baresip) heard(mark int) string { return b.p.text(mark) }

func (b *baresip) place() *host { return b.host }

func (b *baresip) mark() int { return b.p.mark() }

func (b *baresip) call(to string) int {
	b.lab.t.Helper()
	mark := b.p.mark()
	b.does("dial", to)
	return mark
}

func (b *baresip) rings(mark int) { b.p.says(mark, `"type":"CALL_INCOMING"`) }

func (b *baresip) answers() { b.does("accept", "") }

func (b *baresip) talks(mark int) { b.p.says(mark, `"type":"CALL_ESTABLISHED"`) }

func (b *baresip) hangsUp() { b.does("hangup", "") }

func (b *baresip) over(mark int) { b.p.says(mark, `"type":"CALL_CLOSED"`) }

// plays does nothing: its only tone sounds from the start of a call.
func (b *baresip) plays(float64) {}

// hears tells whether the last call's recording has the tone.
func (b *baresip) hears(hz float64) bool {
	all, _ := filepath.Glob(filepath.Join(b.dumps, "*dec*.wav"))
	for _, f := range all {
		if wavHas(f, hz) {
			return true
		}
	}
	return false
}

// forget removes the recordings of earlier calls.
func (b *baresip) forget() {
	all, _ := filepath.Glob(filepath.Join(b.dumps, "*.wav"))
	for _, f := range all {
		_ = os.Remove(f)
	}
}
