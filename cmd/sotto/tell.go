package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// A tell says everything that a person reads: results on out, errors and
// their hints on err.
type tell struct{ out, err io.Writer }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitMisuse = 2
)

// say prints a line of the result.
func (t *tell) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// warn prints a line beside the result.
func (t *tell) warn(format string, args ...any) { fmt.Fprintf(t.err, "warning: "+format+"\n", args...) }

// fail prints an error and its hint, if there is one, and returns the exit code.
func (t *tell) fail(err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(t.err, "error: %v\n", err)
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(t.err, "hint: %s\n", h.hint)
	}
	if errors.Is(err, errUnplayed) {
		return exitMisuse
	}
	return exitFailed
}

// misused prints what is wrong with a command line, and which help to read.
func (t *tell) misused(err error) int {
	command := "sotto"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		for _, part := range p.Context.Path {
			if part.Command != nil {
				command += " " + part.Command.Name
			}
		}
	}
	fmt.Fprintf(t.err, "error: %v\nhint: %s --help\n", err, command)
	return exitMisuse
}

// A hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

// Error implements error.
func (h *hinted) Error() string { return h.err.Error() }

// Unwrap implements errors.
func (h *hinted) Unwrap() error { return h.err }

// hint adds to an error what to do about it.
func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}
