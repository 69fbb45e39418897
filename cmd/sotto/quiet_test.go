package main

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A flood of one message leaves a few lines, says how many were left out, and
// hides no other.
func TestLogIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		root := slog.New(newQuiet(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		log := root.With("a", 1).WithGroup("g")
		for range 10000 {
			log.Warn("flood")
			root.Warn("flood")
		}
		log.Warn("something else")
		if n := strings.Count(out.String(), "msg=flood"); n != quietLines {
			t.Errorf("%d lines", n)
		}
		if !strings.Contains(out.String(), "something else") {
			t.Error("another message is lost")
		}
		time.Sleep(quietWhile + time.Second)
		log.Warn("flood")
		if !strings.Contains(out.String(), "left_out_before=19980") {
			t.Errorf("what was left out is not told:\n%s", out.String()[max(0, out.Len()-300):])
		}
	})
}

// Who asks for details gets them all, and the memory for it all is bounded.
func TestLogOfDetailsIsNotLimited(t *testing.T) {
	var out strings.Builder
	log := slog.New(newQuiet(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for range 100 {
		log.Debug("detail")
	}
	if n := strings.Count(out.String(), "detail"); n != 100 {
		t.Errorf("%d debug lines", n)
	}
	for i := range 5 * quietKinds {
		log.Info(strings.Repeat("x", i))
	}
	if n := len(log.Handler().(*quiet).said.lines); n > quietKinds {
		t.Errorf("%d messages are kept", n)
	}
}
