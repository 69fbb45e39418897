package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sotto/internal/ethtool"
)

// The processors: phones have one, the relay and what the system does for it
// another one.
const (
	phonesCPU = 0
	relayCPU  = 1
)

// Real-time priorities keep other programs of the machine out of a turn, which
// is short. The system's part of receiving has the relay's: so neither starves
// the other. In a soak it comes before the relay, as soft interrupts come before
// programs: else packets find no room whenever the relay has the processor for
// longer than its receive queue lasts.
const (
	soakedPriority = 9
	relayPriority  = 10
	phonesPriority = 11
)

// An end is one end of a veth.
type end struct {
	ns, dev string
	mac     net.HardwareAddr
	addr    netip.Addr
}

// A lab is three namespaces: caller — relay — callee. The relay's address is
// on neither link, so that one relay address serves both parties.
type lab struct {
	relay   string // namespace
	at      netip.Addr
	parties [2]end // caller, callee
	inner   [2]end // the relay's ends
	napi    []int  // threads that receive for the relay
	awake   *exec.Cmd
}

// newLab makes namespaces that no other run has.
func newLab() (*lab, error) {
	id := strconv.Itoa(os.Getpid())
	l := &lab{relay: "bm-r-" + id, at: netip.MustParseAddr("10.99.0.1")}
	for i, who := range []string{"a", "b"} {
		subnet := 1 + i
		l.parties[i] = end{
			"bm-" + who + "-" + id, "bm" + who + "p" + id,
			net.HardwareAddr{2, 0, 0, 0, byte(subnet), 1},
			netip.AddrFrom4([4]byte{10, 201, byte(subnet), 1}),
		}
		l.inner[i] = end{
			l.relay, "bm" + who + "r" + id,
			net.HardwareAddr{2, 0, 0, 0, byte(subnet), 2},
			netip.AddrFrom4([4]byte{10, 201, byte(subnet), 2}),
		}
	}
	err := l.build()
	if err == nil {
		err = inside(l.relay, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// wake keeps the relay's processor from halting, by a program that runs when
// nothing else does. A virtual processor that halts is taken away, and comes
// back after a while and cold, now and then: that is the host's cost, not a relay's.
func (l *lab) wake() error {
	// It asks now and then whether the bench is there, which may be killed.
	const turn = "while kill -0 $PPID; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done"
	l.awake = exec.Command("taskset", "-c", strconv.Itoa(relayCPU), "chrt", "-i", "0", "sh", "-c", turn)
	return l.awake.Start()
}

// close ends what runs in the relay's namespace, and removes all of them.
func (l *lab) close() {
	if l.awake != nil && l.awake.Process != nil {
		_ = l.awake.Process.Kill() // gone already is as good
		_ = l.awake.Wait()         // it was killed, and says so
	}
	out, _ := exec.Command("ip", "netns", "pids", l.relay).Output() // it may not have been made
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() { // whose first thread was there
			_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
		}
	}
	for _, ns := range []string{l.relay, l.parties[0].ns, l.parties[1].ns} {
		_ = ip("netns", "del", ns) // may not have been made
	}
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (l *lab) build() error {
	if err := errors.Join(ip("netns", "add", l.relay), ip("-n", l.relay, "link", "set", "lo", "up"),
		ip("-n", l.relay, "addr", "add", l.at.String()+"/32", "dev", "lo")); err != nil {
		return err
	}
	for i := range l.parties {
		p, r := l.parties[i], l.inner[i]
		if err := errors.Join(
			ip("netns", "add", p.ns), ip("link", "add", p.dev, "netns", p.ns, "address", p.mac.String(), "type", "veth",
				"peer", "name", r.dev, "netns", r.ns, "address", r.mac.String()),
		); err != nil {
			return err
		}
		for _, pair := range [][2]end{{p, r}, {r, p}} {
			own, other := pair[0], pair[1]
			if err := errors.Join(
				ip("-n", own.ns, "addr", "add", own.addr.String()+"/24", "dev", own.dev),
				ip("-n", own.ns, "link", "set", own.dev, "up"),
				ip("-n", own.ns, "neigh", "add", other.addr.String(), "lladdr", other.mac.String(), "dev", own.dev),
			); err != nil {
				return err
			}
		}
		if err := ip("-n", p.ns, "route", "add", "default", "via", r.addr.String()); err != nil {
			return err
		}
		if err := l.thread(p, r); err != nil {
			return err
		}
	}
	return nil
}

// thread has a thread of its own receive for an interface: then what the
// system does for the relay is known to the nanosecond.
//
// A veth has a receive queue, as a network card has, if the receiver has
// generic receive offload and the sender does not cut segments. Nothing is
// aggregated: that takes a socket that asks for it.
func (l *lab) thread(from, e end) error {
	if err := errors.Join(
		inside(from.ns, func() error { return ethtool.Set(from.dev, ethtool.TSO, false) }),
		inside(e.ns, func() error { return ethtool.Set(e.dev, ethtool.GRO, true) }),
	); err != nil {
		return fmt.Errorf("receive queue at %s: %w", e.dev, err)
	}
	set := exec.Command("ip", "netns", "exec", e.ns, "sh", "-c", "echo 1 >/sys/class/net/"+e.dev+"/threaded")
	if out, err := set.CombinedOutput(); err != nil {
		return fmt.Errorf("threaded receive at %s: %w: %s", e.dev, err, out)
	}
	pids, err := tasksNamed("napi/" + e.dev)
	if err != nil || len(pids) == 0 {
		return errors.Join(fmt.Errorf("no thread receives for %s", e.dev), err)
	}
	for _, pid := range pids {
		if err := errors.Join(pin(pid, relayCPU), realTime(pid, relayPriority)); err != nil {
			return err
		}
	}
	l.napi = append(l.napi, pids...)
	return nil
}

// coalesce has packets gather at the relay's interfaces for so long, whoever
// relays. 0 leaves them to the relay; a killed one has not set them back.
func (l *lab) coalesce(d time.Duration) error {
	times := 0
	if d > 0 {
		times = 1
	}
	for _, e := range l.inner {
		set := exec.Command("ip", "netns", "exec", e.ns, "sh", "-c", fmt.Sprintf(
			"cd /sys/class/net/%s && echo %d >gro_flush_timeout && echo %d >napi_defer_hard_irqs",
			e.dev, d.Nanoseconds(), times))
		if out, err := set.CombinedOutput(); err != nil {
			return fmt.Errorf("coalescing at %s: %w: %s", e.dev, err, out)
		}
	}
	return nil
}

// inside runs f on a thread in a namespace; the thread ends with it.
func inside(ns string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		fd, err := unix.Open(filepath.Join("/run/netns", ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("namespace %s: %w", ns, err)
			return
		}
		err = unix.Setns(fd, unix.CLONE_NEWNET)
		_ = unix.Close(fd)
		if err != nil {
			done <- fmt.Errorf("namespace %s: %w", ns, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// tasksNamed finds processes and threads of the system by the start of their name.
func tasksNamed(prefix string) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, f := range files {
		name, err := os.ReadFile(f)
		if err != nil || !strings.HasPrefix(string(name), prefix) {
			continue // gone, or another one
		}
		if pid, err := strconv.Atoi(strings.Split(f, "/")[2]); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

func pin(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("binding %d to processor %d: %w", pid, cpu, err)
	}
	return nil
}

// realTime gives a thread a real-time priority. Those of one priority take
// turns: one that waits for another by spinning must not keep it from running.
func realTime(pid, priority int) error {
	a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: uint32(priority)}
	if err := unix.SchedSetAttr(pid, &a, 0); err != nil {
		return fmt.Errorf("priority of %d: %w", pid, err)
	}
	return nil
}

// bound does something on a thread of its own, on one processor and before other
// programs. What is said at the end is why it did not.
func bound(cpu, priority int, do func()) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its priority
		err := errors.Join(pin(0, cpu), realTime(0, priority))
		if err == nil {
			do()
		}
		done <- err
	}()
	return done
}

// urgent gives all threads of a program a real-time priority; 0 takes it away.
// While sessions are set up they have none: threads of one priority do not
// share a processor, and one of them may wait for another.
func urgent(pid, priority int) error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if priority > 0 {
			err = realTime(id, priority)
		} else {
			err = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has ended
			return err
		}
	}
	return nil
}

// command is a program in the relay's namespace, on the relay's processor, or
// on both. Each program in between becomes the next one: the process is the
// last one's.
func (l *lab) command(processors int, program string, args ...string) *exec.Cmd {
	cpus := strconv.Itoa(relayCPU)
	if processors > 1 {
		cpus += "," + strconv.Itoa(phonesCPU)
	}
	return exec.Command("ip", append([]string{"netns", "exec", l.relay, "taskset", "-c", cpus, program}, args...)...)
}
