package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadAfter is when a server of these tests ends a call that lacks media: long
// before linphonec does so itself, which is after 30 s, and long after phones on
// a busy machine have begun to speak.
const deadAfter = 15 * time.Second

// TestMediaThatDiesEndsTheCall has the media of a protected call die in the ways
// in which it does: a firewall forgets, a phone crashes, a phone hangs. The
// server hangs up toward both, says why, and holds nothing of it any more.
func TestMediaThatDiesEndsTheCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setting string
		dies    func(*pair)
		why     string
		lives   func(*pair) // what there is to do before bob hears of it; nil: bob never does
	}{
		"from both": {
			"silence_timeout", func(p *pair) { p.s.lab.cutMedia(p.alice.host, p.bob.host) },
			"no media from either party", func(*pair) {},
		},
		"from the caller": {
			"half_timeout", func(p *pair) { p.s.lab.cutMedia(p.alice.host) },
			"no media from one party", func(*pair) {},
		},
		"a phone crashes": {
			"half_timeout", func(p *pair) { p.bob.gets(syscall.SIGKILL) },
			"no media from one party", nil,
		},
		"a phone hangs": {
			"half_timeout", func(p *pair) { p.bob.gets(syscall.SIGSTOP) },
			"no media from one party", func(p *pair) { p.bob.gets(syscall.SIGCONT) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEachPlane(t, func(t *testing.T, plane string) {
				l := newLab(t, false)
				l.media = fmt.Sprintf(", %s: %v", c.setting, deadAfter)
				p := l.pair(plane)
				p.talks()
				p.s.relayed()
				mark, died := p.s.proc.mark(), time.Now()
				c.dies(p)
				p.alice.over(p.dialled)
				p.s.proc.says(mark, `call ended: no media.*`+c.why)
				died = p.spoke(died)
				p.hungUp(p.alice.host, died)
				if c.lives != nil {
					c.lives(p)
					p.bob.over(p.rung)
					p.hungUp(p.bob.host, died)
				}
				p.leavesNothing()
			})
		})
	}
}

// cutMedia has the router pass only SIP from these hosts.
func (l *lab) cutMedia(from ...*host) {
	l.t.Helper()
	needs(l.t, "nft")
	rules := "table inet cut {\n chain forward {\n  type filter hook forward priority 0;\n"
	for _, h := range from {
		rules += fmt.Sprintf("  iifname \"p-%s\" udp dport != 5060 drop\n", h.name)
	}
	l.in(l.router, "nft", "-f", from[0].write("cut.nft", []byte(rules+" }\n}\n")))
}

// gets sends the phone's process a signal.
func (l *linphone) gets(sig syscall.Signal) {
	l.lab.t.Helper()
	if err := l.p.cmd.Process.Signal(sig); err != nil {
		l.lab.t.Fatal(err)
	}
}

// spoke is when both had last sent media before a moment: a phone that had no
// turn may have been silent for a while already.
func (p *pair) spoke(before time.Time) time.Time {
	spoke := before
	for _, h := range []*host{p.alice.host, p.bob.host} {
		var last time.Time
		for _, x := range since(h.allPackets(), p.from) {
			if isRTP(x) && x.src.Addr() == h.ip && x.at.Before(before) {
				last = x.at
			}
		}
		if last.Before(spoke) {
			spoke = last
		}
	}
	return spoke
}

// hungUp fails unless the phone was sent a BYE that says why, and not before
// the media that died then had been waited for.
func (p *pair) hungUp(h *host, died time.Time) {
	t := p.s.lab.t
	t.Helper()
	for _, x := range since(h.allPackets(), p.from) {
		if x.dst.Addr() != h.ip || !bytes.HasPrefix(x.payload, []byte("BYE ")) {
			continue
		}
		if !bytes.Contains(x.payload, []byte("\r\nReason: SIP;cause=503;text=\"No media\"\r\n")) {
			t.Errorf("%s is told\n%s", h.name, x.payload)
		}
		if after := x.at.Sub(died); after < deadAfter-time.Second {
			t.Errorf("%s is hung up on after %v", h.name, after)
		}
		return
	}
	t.Errorf("%s gets no BYE", h.name)
}

// leavesNothing is ends without the phones.
func (p *pair) leavesNothing() {
	t := p.s.lab.t
	t.Helper()
	p.s.idle()
	list := p.s.sotto("calls")
	if strings.Contains(list, "talking") {
		t.Errorf("the call goes on:\n%s", list)
	}
	p.bob.noTrace(p.alice.host, p.from, p.bob.heard(p.rung))
	p.alice.noTrace(p.bob.host, p.from, p.alice.heard(p.dialled))
}
