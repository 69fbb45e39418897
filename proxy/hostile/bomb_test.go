package hostile_test

import (
	"runtime"
	"testing"
	"time"

	"sotto/proxy/hostile"
	"sotto/proxy/wire"
)

// What it may cost to read one bomb, whatever it is made of (ours): thirty times
// what the worst of them takes, on a machine that does other things, and twice
// the memory.
const (
	mostTime   = 5 * time.Millisecond
	mostMemory = 512 << 10
)

// Reading a bomb is work in proportion to its size: nothing in one makes it more.
func TestBombsCostLittle(t *testing.T) {
	for _, b := range hostile.Bombs("UDP", "sip:bob@sotto.example") {
		took, used := time.Hour, uint64(1<<40)
		for range 10 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, _ = wire.Parse([]byte(b.Text)) // what it says is tested elsewhere
			took = min(took, time.Since(began))
			runtime.ReadMemStats(&after)
			used = min(used, after.TotalAlloc-before.TotalAlloc)
		}
		if took > mostTime || used > mostMemory {
			t.Errorf("%s, %d bytes: %v, %d bytes of memory", b.Name, len(b.Text), took, used)
		}
		t.Logf("%-30s %6d bytes: %8v, %7d bytes of memory", b.Name, len(b.Text), took, used)
	}
}
