package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// A sipp is a host on which SIPp plays scenarios of testdata as one user.
//
// Debian's SIPp has no TLS: over TLS it speaks TCP to a gate on its own host,
// which carries every octet through a TLS connection to the server. Its Via
// and Contact say TLS, so that to the server nothing is different.
type sipp struct {
	*host
	s         *server
	user      string
	transport string
	runs      int
	edit      func(*script) // nil: as it is
}

// sipp makes a host for SIPp of the user's name.
func (s *server) sipp(user, transport string) *sipp {
	s.lab.t.Helper()
	needs(s.lab.t, "sipp")
	h := s.lab.hosts[user]
	if h == nil {
		h = s.lab.host(user)
	}
	x := &sipp{host: h, s: s, user: user, transport: transport}
	h.write("tone.ulaw", toneULaw(callerTone, 20*time.Second))
	if transport == "tls" {
		x.gate()
	}
	return x
}

// gate opens the gate to the server's TLS port.
func (x *sipp) gate() {
	var l net.Listener
	err := x.within(func() (err error) {
		l, err = net.Listen("tcp", x.at(gatePort))
		return err
	})
	if err != nil {
		x.lab.t.Fatal(err)
	}
	x.lab.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			plain, err := l.Accept()
			if err != nil {
				return
			}
			go x.carry(plain)
		}
	}()
}

const gatePort = 5099

// carry takes one connection through the gate.
func (x *sipp) carry(plain net.Conn) {
	defer plain.Close()
	var secret *tls.Conn
	err := x.within(func() error {
		c, err := net.Dial("tcp", x.s.port("tls").String())
		secret = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		return err
	})
	if err != nil {
		return
	}
	defer func() { _ = secret.Close() }()
	go func() {
		_, _ = io.Copy(secret, plain)
		_ = secret.Close()
	}()
	_, _ = io.Copy(plain, secret)
}

// A script is what a scenario is filled in with.
type script struct {
	User, Password, Domain, Via string
	To                          string // whom it calls
	URIParam, URIHeader         string // of the Request-URI: ";x=y", "?x=y"
	ToParam                     string // of the To header: ";x=y"
	Header                      string // a line of the INVITE
	Own                         bool   // each call has a media port of its own
	NoOffer                     bool   // the INVITE has no description
	Method, Line                string // of a request inside the dialog, and a header of it
	Status                      string // of a final response
	CSeq                        int    // of the part
	Media                       int    // port in the description
	Version                     int    // of the description
	Direction                   string // of the media
}

// At is the script for a part with this CSeq.
func (s script) At(cseq int) script {
	s.CSeq = cseq
	return s
}

// Says is the script for a part with another description.
func (s script) Says(version, media int, direction string) script {
	s.Version, s.Media, s.Direction = version, media, direction
	return s
}

// Without is the script for an INVITE without a description.
func (s script) Without() script {
	s.NoOffer = true
	return s
}

// Streams is the script for calls that each have a media port of their own.
func (s script) Streams() script {
	s.Own = true
	return s
}

// Asks is the script for a request inside the dialog.
func (s script) Asks(cseq int, method, line string) script {
	s.CSeq, s.Method, s.Line = cseq, method, line
	return s
}

// Code is the script for a final response.
func (s script) Code(code int, reason string) script {
	s.Status = strconv.Itoa(code) + " " + reason
	return s
}

// URI is the Request-URI.
func (s script) URI() string { return s.ToURI() + s.URIParam + s.URIHeader }

// ToURI is the URI of the To header.
func (s script) ToURI() string { return "sip:" + s.To + "@" + s.Domain }

// scenario fills in a scenario, which is a file of testdata or a definition in
// within.xml, and returns the path of the result.
func (x *sipp) scenario(name, to string) string {
	x.lab.t.Helper()
	t, err := template.ParseGlob("testdata/*.xml")
	if err != nil {
		x.lab.t.Fatal(err)
	}
	as := script{
		User: x.user, Password: password, Domain: domain, Via: strings.ToUpper(x.transport), To: to,
		Media: sippMedia, Version: 1, Direction: "sendrecv",
	}
	if x.edit != nil {
		x.edit(&as)
	}
	var b bytes.Buffer
	if t.Lookup(name+".xml") != nil {
		err = t.ExecuteTemplate(&b, name+".xml", as)
	} else {
		fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=%q>\n", name)
		err = t.ExecuteTemplate(&b, name, as)
		b.WriteString("</scenario>\n")
	}
	if err != nil {
		x.lab.t.Fatal(err)
	}
	return x.write(name+".xml", b.Bytes())
}

const sippMedia = 6000 // port

// A run is one run of SIPp.
type run struct {
	*program
	messages string // the file with all that it sent and received
}

// play starts SIPp with a scenario; further options follow.
func (x *sipp) play(scenario, to string, more ...string) *run {
	x.lab.t.Helper()
	x.runs++
	r := &run{messages: filepath.Join(x.dir, fmt.Sprintf("%d-%s.messages", x.runs, scenario))}
	server, mode := x.s.port(x.transport).String(), "u1"
	if x.transport != "udp" {
		mode = "t1"
	}
	if x.transport == "tls" {
		server = x.at(gatePort)
	}
	args := []string{
		server, "-sf", x.scenario(scenario, to), "-t", mode, "-i", x.ip.String(), "-p", "5060",
		"-mi", x.ip.String(), "-mp", strconv.Itoa(sippMedia), "-nostdin",
		"-trace_err", "-error_file", r.messages + ".errors",
		// That it had no turn for a while is no error of the call's.
		"-watchdog_minor_threshold", "60000", "-watchdog_major_threshold", "60000",
	}
	if !x.lab.uncaptured {
		args = append(args, "-trace_msg", "-message_file", r.messages)
	}
	if !slices.Contains(more, "-m") {
		args = append(args, "-m", "1")
	}
	r.program = x.start("sipp", append(args, more...)...)
	x.lab.t.Cleanup(func() {
		if text, err := os.ReadFile(r.messages + ".errors"); err == nil && x.lab.t.Failed() {
			x.lab.t.Logf("%s noted:\n%s", r.name, tail(string(text), 3000))
		}
	})
	return r
}

// awaits registers the user and plays a scenario whenever a call comes in.
func (x *sipp) awaits(scenario string, more ...string) *run {
	x.lab.t.Helper()
	r := x.play("register", "", append(more, "-d", "600000", "-oocsf", x.scenario(scenario, ""))...)
	r.sees(0, "SIP/2.0 200 ")
	return r
}

// heard is all that SIPp has sent and received since mark.
func (r *run) heard(mark int) string {
	text, _ := os.ReadFile(r.messages) // not there before the first message
	return string(text[min(mark, len(text)):])
}

func (r *run) mark() int { return len(r.heard(0)) }

// sees waits until a match was in a message since mark.
func (r *run) sees(mark int, pattern string) {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(patience)
	for !re.MatchString(r.heard(mark)) {
		select {
		case <-r.ended:
			r.t.Fatalf("%s ended before it saw %q:\n%s", r.name, pattern, tail(r.text(0), 2000))
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s never saw %q; the last messages were\n%s", r.name, pattern, tail(r.heard(mark), 4000))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// succeeds waits until the scenario has ended as it should.
func (r *run) succeeds() {
	r.t.Helper()
	if code := r.ends(patience); code != 0 {
		r.t.Fatalf("%s: the scenario failed (%d); the last messages were\n%s", r.name, code, tail(r.heard(0), 5000))
	}
}

// quits ends a SIPp that waits for calls, once the one that it has is over.
func (r *run) quits() {
	r.t.Helper()
	_ = r.cmd.Process.Signal(syscall.SIGUSR1) // SIPp's polite end
	r.stop()
	text, _ := os.ReadFile(r.messages + ".errors") // not there without errors
	for _, l := range lines(text) {
		if !strings.Contains(l, "events occurred") && !strings.Contains(l, "using the out-of-call scenario") {
			r.t.Errorf("%s noted: %s", r.name, l)
		}
	}
}
