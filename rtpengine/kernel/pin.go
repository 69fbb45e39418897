//go:build amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Flows outlive the process: table, lease and hooks are pinned in a directory
// of a BPF file system, where the next process of the same addresses and ports
// finds them. Until it has said which of the flows it knows (Settle) nobody
// renews the lease, so that what a dead process has left ends with it.

// layout is the version of struct entry: a process that reads another one
// starts with an empty table.
const layout = 2

// errHeld says that another process relays on these addresses and ports.
var errHeld = errors.New("another process holds it")

// pins are the directory.
type pins struct {
	dir  string // "": nothing is pinned
	lock int    // of the directory
}

// openPins makes the directory of a plane below base, and locks it. Others that
// nobody can take up any more are removed.
func openPins(base string, locals []netip.Addr, first, last uint16) (p pins, err error) {
	var fs unix.Statfs_t
	err = unix.Statfs(base, &fs)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Statfs(filepath.Dir(base), &fs)
	}
	if err != nil || fs.Type != unix.BPF_FS_MAGIC {
		return p, errors.Join(fmt.Errorf("media.pin: %s is not in a BPF file system", base), err)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return p, fmt.Errorf("network namespace: %w", err)
	}
	h := fnv.New64a()
	for _, a := range locals {
		_, _ = h.Write(a.AsSlice()) // never fails
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, ns.Ino))
	dir := filepath.Join(base, fmt.Sprintf("v%d-%d-%d-%016x", layout, first, last, h.Sum64()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, fmt.Errorf("pinning: %w", err)
	}
	lock, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, fmt.Errorf("pinning: %w", err)
	}
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(lock)
		return p, fmt.Errorf("pinning in %s: %w", dir, errHeld)
	}
	sweep(base)
	return pins{dir, lock}, nil
}

// Forget ends the flows that an earlier process with these addresses and ports
// has left: the next one relays in user space.
func Forget(locals []netip.Addr, first, last uint16, pin string) {
	if p, err := openPins(pin, locals, first+first%2, last); err == nil {
		if m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, relayMapLease), nil); err == nil {
			_ = m.Put(uint32(0), uint64(0)) // else it ends by itself
			_ = m.Close()
		}
		p.close(false)
	}
}

// sweep removes what processes with other addresses or ports have left, once
// nothing of it can be taken up any more.
func sweep(base string) {
	all, _ := os.ReadDir(base) // it has just been written to
	for _, d := range all {
		dir := filepath.Join(base, d.Name())
		lock, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // no directory
		}
		if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil && lapsed(dir) {
			pins{dir, lock}.close(false)
			continue
		}
		_ = unix.Close(lock)
	}
}

// lapsed says that a lease has ended, or that there is none.
func lapsed(dir string) bool {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, relayMapLease), nil)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer func() { _ = m.Close() }()
	var until uint64
	return m.Lookup(uint32(0), &until) == nil && monotonic() > until
}

// maps are those of the process before, if both are there and fit the program.
func (p pins) maps(spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	if p.dir == "" {
		return nil
	}
	found := map[string]*ebpf.Map{}
	for _, name := range []string{relayMapEntries, relayMapLease} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, name), nil)
		if err == nil {
			found[name] = m
			err = spec.Maps[name].Compatible(m)
		}
		if err != nil {
			for _, m := range found {
				_ = m.Close()
			}
			p.clear()
			return nil
		}
	}
	return found
}

// keep pins the maps.
func (p pins) keep(o *relayObjects) error {
	return errors.Join(o.Entries.Pin(filepath.Join(p.dir, relayMapEntries)),
		o.Lease.Pin(filepath.Join(p.dir, relayMapLease)))
}

// hookPrefix begins the names of hooks; the interface's index follows.
const hookPrefix = "hook-"

func (p pins) hook(index int) string { return filepath.Join(p.dir, hookPrefix+strconv.Itoa(index)) }

// updated is the hook of the process before, if it still holds, with our program.
func (p pins) updated(index int, prog *ebpf.Program) link.Link {
	if p.dir == "" {
		return nil
	}
	l, err := link.LoadPinnedLink(p.hook(index), nil)
	if err != nil {
		return nil
	}
	if err := l.Update(prog); err != nil { // the interface is another one
		_ = l.Unpin()
		_ = l.Close()
		return nil
	}
	return l
}

// forgetHooks removes hooks of interfaces that are not among these.
func (p pins) forgetHooks(but []int) {
	held := map[string]bool{}
	for _, index := range but {
		held[p.hook(index)] = true
	}
	files, _ := os.ReadDir(p.dir) // none without a directory
	for _, f := range files {
		if name := filepath.Join(p.dir, f.Name()); strings.HasPrefix(f.Name(), hookPrefix) && !held[name] {
			_ = os.Remove(name)
		}
	}
}

// clear removes all that is pinned.
func (p pins) clear() {
	files, _ := os.ReadDir(p.dir)
	for _, f := range files {
		_ = os.Remove(filepath.Join(p.dir, f.Name()))
	}
}

// close lets the next process have the directory; without pins it goes, too.
func (p pins) close(keep bool) {
	if p.dir == "" {
		return
	}
	if !keep {
		p.clear()
		_ = os.Remove(p.dir)
	}
	_ = unix.Close(p.lock)
}
