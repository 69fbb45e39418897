//go:build amd64

package kernel

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A hook detaches the program from one interface, or leaves it there for the
// next process.
type hook func(leave bool)

// attach attaches the program: by tcx, which ends with the process unless it is
// pinned, and where the kernel is older than 6.6 by a filter of clsact. A
// program that was left is replaced without a gap.
func (p *Plane) attach() error {
	at, err := p.interfaces()
	if err != nil {
		return err
	}
	return p.attachAt(at)
}

func (p *Plane) attachAt(at []int) error {
	p.pins.forgetHooks(at)
	if err := p.attachTo(at, p.tcx); err == nil {
		p.how = "tcx"
		return nil
	} else if !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := p.attachTo(at, p.clsact); err != nil {
		return err
	}
	p.how = "clsact"
	return nil
}

// attachTo attaches to all interfaces, or to none.
func (p *Plane) attachTo(interfaces []int, by func(int) (hook, error)) error {
	for _, i := range interfaces {
		h, err := by(i)
		if err != nil {
			for _, undo := range p.hooks {
				undo(false)
			}
			p.hooks = nil
			return fmt.Errorf("attaching to interface %d: %w", i, err)
		}
		p.hooks = append(p.hooks, h)
	}
	return nil
}

func (p *Plane) tcx(index int) (hook, error) {
	l := p.pins.updated(index, p.objects.Relay)
	if l == nil {
		var err error
		l, err = link.AttachTCX(link.TCXOptions{Interface: index, Program: p.objects.Relay, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return nil, err
		}
		if p.pins.dir != "" {
			if err := l.Pin(p.pins.hook(index)); err != nil {
				return nil, errors.Join(err, l.Close())
			}
		}
	}
	return func(leave bool) {
		if !leave {
			_ = l.Unpin() // not pinned is as good
		}
		_ = l.Close()
	}, nil
}

// priority is where our filter stands among others of clsact (ours: any; it
// leaves what is not its own to them). A filter that a dead process left is
// replaced by the next of the same ports; its lease keeps it from forwarding.
const priority = 0x5070

func (p *Plane) clsact(index int) (hook, error) {
	parent := netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}
	err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: parent, QdiscType: "clsact"})
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: uint32(p.first),
			Protocol: unix.ETH_P_ALL, Priority: priority,
		},
		Fd: p.objects.Relay.FD(), Name: "sotto", DirectAction: true,
	}
	if err := netlink.FilterReplace(f); err != nil {
		return nil, err
	}
	return func(leave bool) {
		if !leave {
			_ = netlink.FilterDel(f)
		}
	}, nil
}
