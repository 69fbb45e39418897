package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The first kernel that has all that the program uses.
const minMajor, minMinor = 5, 12

// capabilities of a process (capabilities(7)) that the plane asks for. An
// administrator's stands in for two of them.
const (
	capNetAdmin = unix.CAP_NET_ADMIN
	capAdmin    = unix.CAP_SYS_ADMIN
	capPerfmon  = unix.CAP_PERFMON
	capBPF      = unix.CAP_BPF
)

// Lacks says what this process lacks for the plane: what it cannot do without,
// and what it would be faster with.
func Lacks() (must, better []string) {
	var u unix.Utsname
	_ = unix.Uname(&u) // never fails
	status, _ := os.ReadFile("/proc/self/status")
	ids, _ := os.ReadFile("/proc/self/uid_map")
	return lacks(unix.ByteSliceToString(u.Release[:]), effective(string(status)), string(ids))
}

// effective are the capabilities in the text of /proc/self/status.
func effective(status string) uint64 {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			all, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			if err == nil {
				return all
			}
		}
	}
	return 0
}

// lacks is Lacks of a kernel's release, capabilities and the process's uid_map.
func lacks(release string, caps uint64, ids string) (must, better []string) {
	var major, minor int
	n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor)
	if n == 2 && (major < minMajor || major == minMajor && minor < minMinor) {
		must = append(must, fmt.Sprintf("a kernel from %d.%d on (this is %s)", minMajor, minMinor, release))
	}
	has := func(which ...int) bool {
		for _, c := range which {
			if caps>>c&1 == 1 {
				return true
			}
		}
		return false
	}
	if !has(capBPF, capAdmin) {
		must = append(must, "CAP_BPF")
	}
	if !has(capNetAdmin) {
		must = append(must, "CAP_NET_ADMIN")
	}
	if !has(capPerfmon, capAdmin) {
		better = append(better, "CAP_PERFMON")
	}
	// In a user namespace capabilities count for what is the namespace's; eBPF never is (user_namespaces(7)).
	if f := strings.Fields(ids); len(f) == 3 && (f[0] != "0" || f[1] != "0" || f[2] != "4294967295") {
		must = append(must, "the host's user namespace")
	}
	return must, better
}
