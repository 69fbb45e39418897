package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// made is the compiler whose object is committed: another makes another.
const made = "Debian clang version 14."

// The committed object is what relay.c says.
func TestGenerated(t *testing.T) {
	version, err := exec.Command("clang", "--version").Output()
	if err != nil || !strings.HasPrefix(string(version), made) {
		t.Skipf("no %s here, which the object is compared with", made)
	}
	if _, err := os.Stat("/usr/include/bpf/bpf_helpers.h"); err != nil {
		t.Skip("no libbpf-dev here")
	}
	dir := t.TempDir()
	if out, err := exec.Command("../../scripts/generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"relay_x86_bpfel.go", "relay_x86_bpfel.o"} {
		want, err1 := os.ReadFile(filepath.Join(dir, name))
		got, err2 := os.ReadFile(name)
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what relay.c says: scripts/generate.sh (%v, %v)", name, err1, err2)
		}
	}
}
