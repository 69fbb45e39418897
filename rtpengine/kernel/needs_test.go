package kernel

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What a process lacks is named, and nothing else.
func TestLacks(t *testing.T) {
	const host, container = "         0          0 4294967295\n", "         0     100000      65536\n"
	all := uint64(1)<<capBPF | 1<<capNetAdmin | 1<<capPerfmon
	for _, c := range []struct {
		release      string
		caps         uint64
		ids          string
		must, better string
	}{
		{"6.18.44", all, host, "", ""},
		{"6.18.44", all &^ (1 << capPerfmon), host, "", "CAP_PERFMON"},
		{"6.18.44", 1 << capNetAdmin, host, "CAP_BPF", "CAP_PERFMON"},
		{"6.18.44", 1 << capBPF, host, "CAP_NET_ADMIN", "CAP_PERFMON"},
		{"6.18.44", 1<<capAdmin | 1<<capNetAdmin, host, "", ""},
		{"6.18.44", 0, host, "CAP_BPF, CAP_NET_ADMIN", "CAP_PERFMON"},
		{"6.18.44", all, container, "the host's user namespace", ""},
		{"5.10.0-28-amd64", all, host, "a kernel from 5.12 on (this is 5.10.0-28-amd64)", ""},
		{"4.19.0", all, host, "a kernel from 5.12 on (this is 4.19.0)", ""},
		{"5.12.0", all, host, "", ""},
		{"6.1.0-18-amd64", all, "", "", ""},
		{"", all, host, "", ""},
	} {
		must, better := lacks(c.release, c.caps, c.ids)
		if strings.Join(must, ", ") != c.must || strings.Join(better, ", ") != c.better {
			t.Errorf("%q with %x in %q lacks %q, better %q", c.release, c.caps, c.ids, must, better)
		}
	}
	if got := effective("Name:\tx\nCapEff:\t000001fffeffffff\n"); got != 0x1fffeffffff {
		t.Errorf("%x", got)
	}
	if got := effective("Name:\tx\n"); got != 0 {
		t.Errorf("%x", got)
	}
}

// A process without the capabilities says so, and the probe agrees.
func TestLacksCapabilities(t *testing.T) {
	if os.Getenv("LACKS") != "" {
		must, _ := Lacks()
		_, err := Probe()
		if strings.Join(must, " ") != os.Getenv("LACKS") || err == nil {
			t.Errorf("lacks %q; the probe says %v", must, err)
		}
		return
	}
	for caps, want := range map[string]string{
		"-all": "CAP_BPF CAP_NET_ADMIN", "-all,+bpf": "CAP_NET_ADMIN", "-all,+net_admin": "CAP_BPF",
	} {
		if err := exec.Command("setpriv", "--bounding-set="+caps, "--inh-caps=-all", "true").Run(); err != nil {
			t.Skipf("no way to take capabilities away: %v", err)
		}
		cmd := exec.Command("setpriv", "--bounding-set="+caps, "--inh-caps=-all", os.Args[0],
			"-test.run=^TestLacksCapabilities$")
		cmd.Env = append(os.Environ(), "LACKS="+want)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with %s: %s", caps, out)
		}
	}
}
