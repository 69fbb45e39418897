package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A quiet handler writes no more than a few lines of one message in a while,
// and then how many it has left out: whoever sends what makes the server log
// cannot fill its disk, nor hide other lines among his. Debug lines, which an
// operator asks for, are all written.
type quiet struct {
	slog.Handler
	said *said
}

// said is how often what was logged; all handlers made of one share it.
type said struct {
	mu    sync.Mutex
	lines map[string]*lines
}

// lines are those of one message.
type lines struct {
	since      time.Time
	n, omitted int
}

// Limits (ours): enough to see what happens, and 100 MB a month at worst.
const (
	quietLines = 20
	quietWhile = 10 * time.Second
	quietKinds = 1000 // messages are constants of the program; there are fewer
)

// newQuiet makes h quiet.
func newQuiet(h slog.Handler) *quiet {
	return &quiet{h, &said{lines: map[string]*lines{}}}
}

// Handle implements slog.Handler.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level > slog.LevelDebug {
		omitted, ok := q.said.may(r.Message, r.Time)
		if !ok {
			return nil
		}
		if omitted > 0 {
			r.AddAttrs(slog.Int("left_out_before", omitted))
		}
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q *quiet) WithAttrs(a []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(a), q.said}
}

// WithGroup implements slog.Handler.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.said}
}

// may says that a message may be written now, and how many were not before it.
func (s *said) may(message string, now time.Time) (omitted int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[message]
	if l == nil {
		if len(s.lines) >= quietKinds {
			clear(s.lines)
		}
		l = &lines{since: now}
		s.lines[message] = l
	}
	if now.Sub(l.since) > quietWhile {
		omitted = l.omitted
		*l = lines{since: now}
	}
	if l.n >= quietLines {
		l.omitted++
		return 0, false
	}
	l.n++
	return omitted, true
}
