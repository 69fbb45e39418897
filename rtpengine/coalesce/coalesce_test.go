package coalesce

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"sotto/internal/ethtool"
)

// patience is for what happens soon on a machine that is not busy.
const patience = 20 * time.Second

// A pair is two interfaces that are joined, in a namespace of their own.
type pair struct {
	t        *testing.T
	from, to *net.Interface
}

// newPair moves the test's thread into a namespace with a pair of interfaces, of
// which one has a receive queue, as a network card has.
func newPair(t *testing.T) *pair {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	for _, args := range []string{"link add from type veth peer name to", "link set from up", "link set to up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %s", out)
		}
	}
	p := &pair{t: t}
	var err error
	if p.from, err = net.InterfaceByName("from"); err == nil {
		p.to, err = net.InterfaceByName("to")
	}
	if err := errors.Join(err, ethtool.Set("from", ethtool.TSO, false), ethtool.Set("to", ethtool.GRO, true)); err != nil {
		t.Skipf("no receive queue: %v", err)
	}
	return p
}

// busy has some thousand packets a second come by the interface, until the
// returned function is called.
func (p *pair) busy() (end func()) {
	p.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	const local = 0x88b5 // for local experiments (IEEE 802)
	frame := slices.Concat(p.to.HardwareAddr, p.from.HardwareAddr, []byte{local >> 8, local & 0xff}, make([]byte, 50))
	stop, once := make(chan struct{}), sync.Once{}
	var wait sync.WaitGroup
	wait.Go(func() {
		for t := time.NewTicker(time.Millisecond); ; {
			for range 4 {
				_ = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: p.from.Index}) // lost is as good
			}
			select {
			case <-stop:
				t.Stop()
				_ = unix.Close(fd)
				return
			case <-t.C:
			}
		}
	})
	end = func() {
		once.Do(func() { close(stop) })
		wait.Wait()
	}
	p.t.Cleanup(end)
	return end
}

// gathers is what the system says of the interface's queues.
func (p *pair) gathers() (all []time.Duration) {
	p.t.Helper()
	n, err := openNetdev()
	if err != nil {
		p.t.Skip(err)
	}
	defer n.close()
	found, err := n.dump(p.to.Index)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, attrs := range found {
		d := time.Duration(nl.NativeEndian().Uint32(attrs[napiGROFlushTimeout].Value))
		if times := nl.NativeEndian().Uint32(attrs[napiDeferHardIRQs].Value); times != deferred(d) {
			p.t.Errorf("with %v interrupts are deferred %d times", d, times)
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		p.t.Fatal("the interface has no queue")
	}
	return all
}

// becomes waits until packets gather, or do not.
func (p *pair) becomes(gathering bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(p.gathers(), func(d time.Duration) bool { return d > 0 != gathering }) {
			return
		}
	}
	p.t.Fatalf("gathering is not %v: %v", gathering, p.gathers())
}

// ways are both ways to set queues, in the namespace of the thread.
func ways(t *testing.T) map[string]queues {
	t.Helper()
	n, err := openNetdev()
	if err != nil {
		t.Skip(err)
	}
	f, err := openSysfs(ownSys(t))
	if err != nil {
		t.Skip(err)
	}
	return map[string]queues{"netlink": n, "sysfs": f}
}

// ownSys is /sys/class/net of the thread's namespace.
func ownSys(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("sysfs", dir, "sysfs", 0, ""); err != nil {
		t.Skipf("no /sys of its own: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return filepath.Join(dir, "class/net")
}

// Packets gather while enough of them come, and no longer than the engine runs.
func TestCoalescerFollowsTheLoad(t *testing.T) {
	p := newPair(t)
	for name, q := range ways(t) {
		c, err := open(10*time.Millisecond, q, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.becomes(false)
		if c.Active() || len(c.Gathers()) > 0 {
			t.Errorf("%s: %v of an idle interface", name, c.Gathers())
		}
		end := p.busy()
		p.becomes(true)
		end()
		p.becomes(false)
		end = p.busy()
		p.becomes(true)
		p.says(c)
		c.Close()
		end()
		if slices.Max(p.gathers()) > 0 {
			t.Errorf("%s: packets gather for nobody", name)
		}
	}
}

// says waits until a Coalescer says what is.
func (p *pair) says(c *Coalescer) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !c.Active() || c.Gathers()["to"] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("it says %v, active %v", c.Gathers(), c.Active())
		}
	}
	if all := c.Gathers(); len(all) > 2 || all["lo"] != 0 || all["to"] > 10*time.Millisecond {
		p.t.Errorf("it says %v", all)
	}
}

// What a killed process has left is taken over, and ended if nothing comes.
func TestCoalescerTakesOver(t *testing.T) {
	p := newPair(t)
	for name, q := range ways(t) {
		if err := q.set(p.to.Index, "to", time.Millisecond); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := slices.Min(p.gathers()); got != time.Millisecond {
			t.Errorf("%s: set are %v", name, got)
		}
		c, err := open(time.Millisecond, q, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.becomes(false)
		c.Close()
	}
}

// An interface that was down when the engine ended is up again without.
func TestInterfaceThatIsDown(t *testing.T) {
	p := newPair(t)
	link := func(state string) {
		t.Helper()
		if out, err := exec.Command("ip", "link", "set", "to", state).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	for name, q := range ways(t) {
		c, err := open(10*time.Millisecond, q, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		end := p.busy()
		p.says(c)
		link("down")
		for deadline := time.Now().Add(patience); c.Gathers()["to"] > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: packets gather where none come", name)
			}
		}
		end()
		c.Close()
		link("up")
		if slices.Max(p.gathers()) > 0 {
			t.Errorf("%s: packets gather for nobody", name)
		}
	}
}

// An interface that is gone is none to complain of, and /sys of another
// namespace is not written to.
func TestQueuesOfOthers(t *testing.T) {
	p := newPair(t)
	for name, q := range ways(t) {
		if err := q.set(9999, "gone", time.Millisecond); !errors.Is(err, errGone) {
			t.Errorf("%s: %v of an interface that is not there", name, err)
		}
		q.close()
	}
	dir := t.TempDir() // of a namespace with another interface of this name
	for file, text := range map[string]string{
		"lo/" + fileTimeout: "0\n", "lo/" + fileDefer: "0\n", "to/" + fileTimeout: "0\n", "to/" + fileDefer: "0\n",
		"to/" + fileIndex: fmt.Sprintln(p.to.Index), "to/" + fileAddress: "02:00:00:00:00:01\n",
	} {
		file = filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := openSysfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.set(p.to.Index, "to", time.Millisecond); !errors.Is(err, errOther) {
		t.Errorf("%v of another namespace's interface", err)
	}
}

// Without the privilege it is said what is missing.
func TestOpenWithoutPrivilege(t *testing.T) {
	newPair(t)
	dir, space := ownSys(t), openThread(t)
	done := make(chan [3]error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		none := [2]unix.CapUserData{}
		if err := errors.Join(unix.Setns(space, unix.CLONE_NEWNET), unix.Capset(
			&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])); err != nil {
			done <- [3]error{err, err, err}
			return
		}
		_, netlink := openNetdev()
		_, files := openSysfs(dir)
		done <- [3]error{netlink, files, Probe()}
	}()
	got := <-done
	if !errors.Is(got[0], errMayNot) && !errors.Is(got[0], errOld) {
		t.Errorf("netlink: %v", got[0])
	}
	if !errors.Is(got[1], unix.EPERM) && !errors.Is(got[1], unix.EACCES) {
		t.Errorf("sysfs: %v", got[1])
	}
	if got[2] == nil || !strings.HasPrefix(got[2].Error(), "receive queues: ") {
		t.Errorf("both: %v", got[2])
	}
}

// openThread is the thread's network namespace.
func openThread(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
