package coalesce

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// openQueues finds a way to set receive queues: netlink, which asks for
// CAP_NET_ADMIN, else the files of /sys, which ask for their owner, root.
func openQueues() (queues, error) {
	n, err := openNetdev()
	if err == nil {
		return n, nil
	}
	f, no := openSysfs(sysClassNet)
	if no == nil {
		return f, nil
	}
	return nil, fmt.Errorf("receive queues: %w; %w", err, no)
}

// The generic netlink family of network devices (linux/netdev.h,
// Documentation/netlink/specs/netdev.yaml); a queue can be set from Linux 6.13 on.
const (
	family  = "netdev"
	napiGet = 11 // NETDEV_CMD_NAPI_GET
	napiSet = 14 // NETDEV_CMD_NAPI_SET

	napiIfindex         = 1 // NETDEV_A_NAPI_*
	napiID              = 2
	napiDeferHardIRQs   = 5
	napiGROFlushTimeout = 6
)

// errOld says that the system is too old, errMayNot that this process may not.
var (
	errOld    = errors.New("netlink sets them from Linux 6.13 on")
	errMayNot = errors.New("this process lacks CAP_NET_ADMIN")
)

// netdev sets queues by netlink.
type netdev struct {
	family uint16
	socket *nl.SocketHandle
}

func openNetdev() (*netdev, error) {
	f, err := netlink.GenlFamilyGet(family)
	if err != nil || !slices.ContainsFunc(f.Ops, func(o netlink.GenlOp) bool { return o.ID == napiSet }) {
		return nil, errOld
	}
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	n := &netdev{family: f.ID, socket: &nl.SocketHandle{Socket: s}}
	switch err := n.gather(0, 0); { // there is no queue 0
	case errors.Is(err, unix.EPERM):
		n.close()
		return nil, errMayNot
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ERANGE) && !errors.Is(err, unix.EINVAL):
		n.close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return n, nil
}

func (n *netdev) close() { n.socket.Close() }

// request is a command of the family.
func (n *netdev) request(command uint8, flags int, attrs ...*nl.RtAttr) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(int(n.family), flags)
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: n.socket}
	r.AddData(&nl.Genlmsg{Command: command, Version: 1})
	for _, a := range attrs {
		r.AddData(a)
	}
	return r
}

// dump is what the system says of each queue of an interface.
func (n *netdev) dump(index int) (all []map[uint16]syscall.NetlinkRouteAttr, err error) {
	found, err := n.request(napiGet, unix.NLM_F_DUMP, nl.NewRtAttr(napiIfindex, nl.Uint32Attr(uint32(index)))).
		Execute(unix.NETLINK_GENERIC, n.family)
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		attrs, err := nl.ParseRouteAttrAsMap(m[nl.SizeofGenlmsg:])
		if err != nil {
			return nil, err
		}
		all = append(all, attrs)
	}
	return all, nil
}

// gather sets one queue.
func (n *netdev) gather(id uint32, d time.Duration) error {
	_, err := n.request(napiSet, unix.NLM_F_ACK, nl.NewRtAttr(napiID, nl.Uint32Attr(id)),
		nl.NewRtAttr(napiDeferHardIRQs, nl.Uint32Attr(deferred(d))),
		nl.NewRtAttr(napiGROFlushTimeout, nl.Uint32Attr(uint32(d)))).Execute(unix.NETLINK_GENERIC, 0)
	return err
}

func (n *netdev) set(index int, _ string, d time.Duration) error {
	found, err := n.dump(index)
	if errors.Is(err, unix.ENODEV) || err == nil && len(found) == 0 {
		return errGone
	}
	for _, q := range found {
		if id := q[napiID].Value; len(id) == 4 {
			err = errors.Join(err, n.gather(nl.NativeEndian().Uint32(id), d))
		}
	}
	return err
}

// deferred is how many times the system looks for packets, finds none, and
// still does not have the interface interrupt.
func deferred(d time.Duration) uint32 {
	if d > 0 {
		return 1
	}
	return 0
}

// sysClassNet has the interfaces of the network namespace for which /sys was mounted.
const sysClassNet = "/sys/class/net"

// The files of an interface (Documentation/ABI/testing/sysfs-class-net). They
// set all of its queues.
const (
	fileTimeout = "gro_flush_timeout"
	fileDefer   = "napi_defer_hard_irqs"
	fileIndex   = "ifindex"
	fileAddress = "address"
)

// sysfs sets queues by the files of /sys.
type sysfs struct {
	dir   string
	links *netlink.Handle
}

func openSysfs(dir string) (*sysfs, error) {
	for _, f := range []string{fileTimeout, fileDefer} { // whether they may be written to only a write tells
		file := filepath.Join(dir, "lo", f)
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, text, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &sysfs{dir, h}, nil
}

func (s *sysfs) close() { s.links.Close() }

// errOther says that /sys is of another network namespace.
var errOther = errors.New("/sys shows another interface of this name")

func (s *sysfs) set(index int, name string, d time.Duration) error {
	l, err := s.links.LinkByIndex(index)
	if err != nil {
		return errGone
	}
	dir := filepath.Join(s.dir, name)
	if s.read(dir, fileIndex) != strconv.Itoa(index) || s.read(dir, fileAddress) != l.Attrs().HardwareAddr.String() {
		return errOther
	}
	for file, value := range map[string]int64{fileTimeout: int64(d), fileDefer: int64(deferred(d))} {
		if err := os.WriteFile(filepath.Join(dir, file), strconv.AppendInt(nil, value, 10), 0); err != nil {
			return err
		}
	}
	return nil
}

// read is what a file has, or "".
func (s *sysfs) read(dir, file string) string {
	text, _ := os.ReadFile(filepath.Join(dir, file)) // what is not there is no match
	return strings.TrimSpace(string(text))
}
