//go:build mutants

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is the product without one treatment of packets. Lines are taken
// out of a file, or a text is replaced, as an overlay of the compiler.
type mutant struct {
	name, plane, file string
	edits             [][2]string
	probes            bool // it shows in what the phones' probes come to
}

var mutants = []mutant{
	{"hop limit", userPlane, "rtpengine/loop_linux.go", [][2]string{
		{"		{unix.IPPROTO_IP, unix.IP_TTL, hops},\n", ""},
		{"			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops},\n", ""},
	}, false},
	{"traffic class", userPlane, "rtpengine/loop_linux.go", [][2]string{
		{"		{unix.IPPROTO_IP, unix.IP_TOS, traffic},\n", ""},
		{"			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, traffic},\n", ""},
	}, false},
	{"hop limit", kernelPlane, "rtpengine/kernel/relay.c", [][2]string{
		{"	ip->ttl = e->hops;\n", ""}, {"	ip->hop_limit = e->hops;\n", ""},
	}, false},
	{"traffic class", kernelPlane, "rtpengine/kernel/relay.c", [][2]string{
		{"	ip->tos = e->class;\n", ""},
		{"	ip->priority = e->class >> 4;\n	ip->flow_lbl[0] = e->class << 4;", ""},
	}, false},
	{"STUN", userPlane, "rtpengine/stream.go", [][2]string{
		{"	case k == kindSTUN:\n		t.stun(", "	case k == kindSTUN:\n		t.forward(in, out, rtcpPort, b)\n		t.stun("},
	}, true},
}

// TestEveryLinkMutantIsCaught shows that the packets are looked at: each mutant
// is found by what TestPacketsTellNothingOfTheirSender looks for.
func TestEveryLinkMutantIsCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name+", "+m.plane, func(t *testing.T) {
			needs(t)
			if m.plane == kernelPlane {
				needsKernelPlane(t)
			}
			bin := m.build(t)
			for _, six := range []bool{false, true} {
				l := newLab(t, six)
				l.mutant = bin
				c := onALink(l, m.plane)
				if m.probes {
					c.probes()
					audible(c.bob.host)
				}
				wrong := append(c.told(c.alice), c.told(c.bob)...)
				if len(wrong) == 0 {
					t.Errorf("IPv6 %v: it is not caught", six)
					continue
				}
				t.Logf("IPv6 %v: %s", six, wrong[0])
			}
		})
	}
}

// build makes a server of a mutant.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, e := range m.edits {
		if strings.Count(text, e[0]) != 1 {
			t.Fatalf("%s has no longer, or more than once:\n%s", m.file, e[0])
		}
		text = strings.Replace(text, e[0], e[1], 1)
	}
	dir := t.TempDir()
	edited, replaced := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(root, m.file)
	put(t, edited, []byte(text))
	if strings.HasSuffix(m.file, ".c") {
		replaced = filepath.Join(root, "rtpengine/kernel/relay_x86_bpfel.o")
		edited = compiled(t, edited)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{replaced: edited}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "overlay.json"), overlay)
	bin := filepath.Join(dir, "sotto")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, "sotto/cmd/sotto")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the mutant: %v\n%s", err, out)
	}
	return bin
}

// compiled is the object of an eBPF program, made as scripts/generate.sh does.
func compiled(t *testing.T, source string) string {
	t.Helper()
	needs(t, "clang", "llvm-strip")
	object := strings.TrimSuffix(source, ".c") + ".o"
	for _, c := range [][]string{
		{
			"clang", "-O2", "-g", "-target", "bpfel", "-I/usr/include/x86_64-linux-gnu", "-c", source, "-o", object,
		},
		{"llvm-strip", "-g", object},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	return object
}

func put(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
