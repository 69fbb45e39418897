package rtpengine

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sotto/rtpengine/kernel"
)

// Plane says by what packets are relayed.
type Plane string

// The planes. Auto is the kernel where it is permitted, else user space.
const (
	PlaneUser   Plane = "user"
	PlaneKernel Plane = "kernel"
	PlaneAuto   Plane = "auto"
)

// openPlane opens the kernel's part if it is wanted.
func (e *Engine) openPlane() error {
	locals := e.cfg.locals()
	if e.cfg.Listen != nil || e.cfg.Plane == "" || e.cfg.Plane == PlaneUser {
		e.why = "media.plane is user"
		if e.cfg.Pin != "" {
			kernel.Forget(locals, e.cfg.PortMin, e.cfg.PortMax, e.cfg.Pin)
		}
		return nil
	}
	k, err := kernel.Open(locals, e.cfg.PortMin, e.cfg.PortMax, e.cfg.Pin)
	switch {
	case err == nil:
		e.kernel, e.why = k, byKernel(k.How())+pinned(k)
		e.log.Info("media is relayed in the kernel", "why", e.why)
		if e.cfg.Keep == nil && k.Inherited() { // there is nothing to restore
			k.Settle()
		}
		return nil
	case e.cfg.Plane == PlaneKernel:
		return fmt.Errorf("media in the kernel: %w", notByKernel(err))
	}
	e.why = notByKernel(err).Error()
	e.log.Info("media is relayed in user space", "why", e.why)
	return nil
}

// ProbePlane says which plane an engine would have that this process started
// now, and why. It changes nothing for one that runs. It fails as New would.
func ProbePlane(p Plane) (Plane, string, error) {
	if p == PlaneUser {
		return PlaneUser, "media.plane is user", nil
	}
	how, err := kernel.Probe()
	switch {
	case err == nil:
		return PlaneKernel, byKernel(how), nil
	case p == PlaneKernel:
		return p, "", notByKernel(err)
	}
	return PlaneUser, notByKernel(err).Error(), nil
}

// byKernel is why the kernel relays.
func byKernel(how string) string {
	if _, better := kernel.Lacks(); len(better) > 0 {
		return fmt.Sprintf("eBPF, attached by %s, and faster with %s", how, strings.Join(better, ", "))
	}
	return "eBPF, attached by " + how
}

// notByKernel is why the kernel does not, and what it takes.
func notByKernel(err error) error {
	must, better := kernel.Lacks()
	if len(must) == 0 {
		return err
	}
	lacks := "this process lacks " + strings.Join(must, ", ")
	if len(better) > 0 {
		lacks += ", and to be faster " + strings.Join(better, ", ")
	}
	return errors.New(lacks) // what the system says is no more than that it may not
}

// pinned says what becomes of the flows when the process ends.
func pinned(k *kernel.Plane) string {
	dir, err := k.Pinned()
	switch {
	case err != nil:
		return "; flows end with the process: " + err.Error()
	case dir != "":
		return "; flows outlive a restart"
	}
	return ""
}

// Plane says which plane is in use, and why.
func (e *Engine) Plane() (p Plane, why string) {
	if e.kernel != nil {
		return PlaneKernel, e.why
	}
	return PlaneUser, e.why
}

// UserSpace keeps a session's packets in user space, where they can be looked
// at, or lets the kernel have them again; false if there is no such session.
func (e *Engine) UserSpace(id ID, only bool) bool {
	s, _, err := e.session(id, false)
	if err != nil {
		return false
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.userOnly = only
	s.edits++ // the next process is to know
	s.withdraw()
	s.e.touch()
	return true
}

// A kflow is a face's flow in the kernel: what the party sends to the RTP port.
type kflow struct {
	kernel.Flow
	taken    kernel.Counts // what the face's counts have of it
	declined *declined     // nil: not since the last offer or answer
	known    bool          // the flow exists on this plane
	userOnly bool          // the session is
	live     bool          // installed, and not taken back by us
}

// openFlow finds the flow of a face that has just been opened.
func (s *session) openFlow(f *face) {
	f.flow = kflow{userOnly: s.userOnly}
	if s.e.kernel != nil {
		f.flow.Flow, f.flow.known = s.e.kernel.Flow(netip.AddrPortFrom(f.addr.Local, f.port))
	}
}

// rule is what the kernel is to do with what the party of in sends; false if
// it is not for the kernel.
func (t *stream) rule(in, out *face) (r kernel.Rule, ok bool) {
	f, c := &in.flow, &in.counts
	if !f.known || f.userOnly || t.UDPTL || out.rtp == nil || !in.latch.latched.IsValid() || !out.latch.latched.IsValid() {
		return r, false
	}
	return kernel.Rule{
		Remote: in.latch.latched, From: netip.AddrPortFrom(out.addr.Local, out.port), To: out.latch.latched,
		SSRC: c.ssrc, Payload: c.payload &^ looked, Plain: !t.secured(),
		Max: c.max, Stamp: c.stamp, Tick: c.tick, Arrived: c.arrived, Jitter: c.jitter,
	}, true
}

// adopt takes up a flow that the process before has left in the kernel. The
// last packet that was counted for that one is the first for ours.
func (t *stream) adopt(in, out *face) {
	r, ok := t.rule(in, out)
	if !ok {
		return
	}
	source, ok := in.flow.Adopt(r)
	if !ok {
		return
	}
	f, c := &in.flow, &in.counts
	f.taken, f.live = f.Counts(), true
	c.begin(source.SSRC, uint16(f.taken.Max))
	c.turn(source.Payload, in, out)
	c.packets, c.received, c.kernel = 1, 1, 1
	c.base, c.max, c.jitter = f.taken.Max, f.taken.Max, f.taken.Jitter
	c.lastHeard = f.taken.Last
	if c.tick != 0 && !f.taken.Last.IsZero() {
		c.stamp, c.arrived = f.taken.Stamp, f.taken.Last.UnixNano()
	}
}

// install gives what the party of a face sends to a plane, once it is known
// where it comes from and goes to: to the kernel's, which takes it when both
// parties are latched, else to user space's (flow_linux.go). It follows an RTP
// packet that was relayed without.
func (t *stream) install(in, out *face) {
	if t.UDPTL || out.rtp == nil || !in.latch.latched.IsValid() || t.toKernel(in, out) {
		return
	}
	if to := out.latch.dest(); to.IsValid() {
		in.rtp.install(in.latch.latched, to, out.rtp, !t.secured(), &in.counts)
	}
}

// toKernel lets the kernel relay what the party of a face sends, and says if it does.
func (t *stream) toKernel(in, out *face) bool {
	r, ok := t.rule(in, out)
	if !ok {
		return false
	}
	f, now := &in.flow, time.Now()
	if !f.mayAsk(r.To, now) {
		return false
	}
	epoch := f.Epoch()
	err := f.Install(r)
	f.taken, f.live = kernel.Counts{}, err == nil
	if err != nil {
		f.decline(r.To, epoch, now)
		t.declined = true
		return false
	}
	f.declined = nil
	return true
}

// withdraw takes a face's flow back from its plane, with what was counted there.
func (f *face) withdraw() {
	if f.flow.live {
		f.flow.Remove()
	}
	f.read()
	f.flow.live = false
	if f.rtp != nil {
		f.rtp.withdraw()
	}
}

// read brings the counts up to date with what a plane has relayed.
func (f *face) read() {
	if f.rtp != nil {
		f.counts.take(&f.rtp.came)
	}
	if !f.flow.live {
		return
	}
	now, c := f.flow.Counts(), &f.counts
	packets := now.Packets - f.flow.taken.Packets
	c.packets += packets
	c.kernel += packets
	c.received += packets
	c.bytes += now.Bytes - f.flow.taken.Bytes
	c.dropped[dropSource] += now.Wrong - f.flow.taken.Wrong
	c.max, c.jitter = now.Max, now.Jitter
	if now.Packets > 0 && c.tick != 0 {
		c.stamp, c.arrived = now.Stamp, now.Last.UnixNano()
	}
	if now.Last.After(c.lastHeard) {
		c.lastHeard = now.Last
	}
	f.flow.taken = now
}

// withdraw takes all flows of the session back: at once, since signalling may
// have changed where they go. The next packets install them again.
func (s *session) withdraw() {
	for _, t := range s.streams {
		for side := range t.faces {
			f := &t.faces[side]
			f.withdraw()
			f.flow.userOnly, f.flow.declined = s.userOnly, nil
		}
	}
}
