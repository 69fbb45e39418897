package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// errClaimed says that another process has the data directory.
var errClaimed = errors.New("another sotto uses this data directory")

// claim takes the data directory for this process: the server for as long as
// it runs, a verb without a server for a moment. What one keeps in memory
// must not change under it in the file. The system drops the claim of a
// process that dies.
func claim(dir string) (release func(), err error) {
	for deadline := time.Now().Add(claimPatience); ; time.Sleep(ctlRetry) {
		release, err = claimNow(dir)
		if !errors.Is(err, errClaimed) || time.Now().After(deadline) {
			return release, err
		}
	}
}

// claimPatience is longer than a verb without a server takes (ours).
const claimPatience = 2 * time.Second

func claimNow(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, hint(fmt.Errorf("claiming data directory: %w", err),
			"run this as the user who runs the server; chown -R gives it the directory")
	case err != nil:
		return nil, fmt.Errorf("claiming data directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(errClaimed, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("claiming data directory: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// isClaimed says if a process has the data directory, and leaves no trace.
func isClaimed(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
