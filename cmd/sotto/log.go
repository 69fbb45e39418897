package main

import (
	"log/slog"
	"os"

	"sotto/configs"
)

// newLog is the server's log, on standard error. What names a person redacts
// itself (package aor); tokens are never given to it, nor anything that a
// stranger wrote.
func newLog(c configs.Log, level *slog.LevelVar) *slog.Logger {
	setLevel(level, c.Level)
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(newQuiet(slog.NewJSONHandler(os.Stderr, o)))
	}
	return slog.New(newQuiet(slog.NewTextHandler(os.Stderr, o)))
}

// setLevel changes the level while the server runs.
func setLevel(v *slog.LevelVar, name string) {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	v.Set(levels[name])
}
