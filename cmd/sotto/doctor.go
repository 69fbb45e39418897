package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"time"

	"sotto/configs"
	"sotto/proxy/resolve"
	"sotto/rtpengine"
)

// doctorCmd looks at everything that a server stands on.
type doctorCmd struct {
	Config string `help:"Configuration file; without one the defaults." short:"c" type:"path"`
}

// Run implements the verb. It fails if something is wrong.
func (c *doctorCmd) Run(t *tell) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), doctorPatience)
	defer cancel()
	d := &doctor{cfg: cfg, now: time.Now(), resolver: resolve.New()}
	d.ok("%s is good", cmp.Or(c.Config, "the configuration without a file"))
	d.examine(ctx)
	for _, l := range d.findings {
		t.say("%s", l)
	}
	switch n := d.errors(); n {
	case 0:
		return nil
	case 1:
		return errors.New("one of these is an error")
	default:
		return fmt.Errorf("%d of these are errors", n)
	}
}

// doctorPatience bounds what asks the network: DNS, and nothing else.
const doctorPatience = 8 * time.Second

// A doctor says line by line what is right and what is wrong, with the remedy.
// It changes nothing, and needs no network.
type doctor struct {
	findings
	cfg      configs.Config
	now      time.Time
	resolver *resolve.Resolver
	own      []netip.Prefix  // addresses of this machine
	held     map[string]bool // where the running server listens
}

// findings are lines, each with how it is mended behind it.
type findings []string

// How a finding begins.
const (
	isOK      = "ok: "
	isNote    = "note: "    // nothing to mend, or a matter of what is wanted
	isWarning = "warning: " // it runs, and not as it should
	isError   = "error: "   // it does not run, or not safely
	isHint    = "hint: "
)

func (f *findings) ok(format string, args ...any)   { f.add(isOK, format, args...) }
func (f *findings) note(format string, args ...any) { f.add(isNote, format, args...) }
func (f *findings) warn(format string, args ...any) { f.add(isWarning, format, args...) }
func (f *findings) wrong(format string, args ...any) {
	f.add(isError, format, args...)
}

// hint is how the last finding is mended.
func (f *findings) hint(format string, args ...any) { f.add(isHint, format, args...) }

func (f *findings) add(kind, format string, args ...any) {
	*f = append(*f, kind+fmt.Sprintf(format, args...))
}

// errors is how many things are wrong.
func (f *findings) errors() (n int) {
	for _, l := range *f {
		if strings.HasPrefix(l, isError) {
			n++
		}
	}
	return n
}

// examine looks at everything, from the ground up.
func (d *doctor) examine(ctx context.Context) {
	d.own = ownAddresses()
	process := d.server()
	d.dataDir()
	d.listeners()
	d.mediaAddresses()
	d.ports()
	d.findings = append(d.findings, process...)
	d.certificate()
	d.names(ctx)
	d.clock()
}

// server asks the running server what only it knows: its limits, its media
// plane, its buffers. Without one, that is asked of this process.
func (d *doctor) server() (process findings) {
	d.held = map[string]bool{}
	lines, err := d.askRunning()
	if err != nil {
		d.noServer(err)
		process.limits(d.cfg, budgetOf(d.cfg))
		process.plane(d.cfg.Media.Plane, "", "")
		if most := d.cfg.Media.Coalesce; most > 0 {
			process.coalescing(most, rtpengine.ProbeCoalesce())
		}
		process.buffers(d.cfg)
		return process
	}
	d.ok("a server runs on %s, and answers", d.cfg.DataDir)
	for _, l := range lines {
		if at, ok := strings.CutPrefix(l, listening); ok {
			d.held[at] = true
			continue
		}
		process = append(process, l)
	}
	return process
}

// askRunning asks over the control socket.
func (d *doctor) askRunning() ([]string, error) {
	path := ctlSocket(d.cfg.DataDir)
	c, err := net.DialTimeout("unix", path, ctlTimeout)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return askServer(path, ctlAsk{Verb: "doctor"})
}

// noServer says why no server answers.
func (d *doctor) noServer(err error) {
	switch claimed := isClaimed(d.cfg.DataDir); {
	case errors.Is(err, fs.ErrPermission):
		d.wrong("the control socket is not for this user: %v", err)
		d.hint("run this as the user who runs the server")
	case claimed:
		d.wrong("another sotto has %s and does not answer: %v", d.cfg.DataDir, err)
		d.hint("one that is starting or ending answers soon; one that hangs is to be ended")
	default:
		d.note("no server runs on %s; what follows is of one that this user would start now", d.cfg.DataDir)
	}
}
