package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A small flood: the generator works, every call is done, and no more bytes
// come back than were sent. Times count only where the machine does nothing else.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	bin := filepath.Join(t.TempDir(), "sotto")
	if out, err := exec.Command("go", "build", "-o", bin, "sotto/cmd/sotto").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := flood{program: bin, rate: 1000, from: 100, calls: 10, lasts: 3 * time.Second}
	r, err := f.run()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", r)
	played := len(r.setUp) >= 20 && r.sent >= 1000 && r.fromUs > 0
	if len(r.failures) > 0 || !played || r.bytesBack > r.bytesSent || r.most > bound {
		t.Errorf("failures: %v", r.failures)
	}
}
