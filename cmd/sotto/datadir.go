package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// leastSpace is how much room the database should find (ours: a year of
// silenced calls of 1,000 users is some 100 MB).
const leastSpace = 200 << 20

// dataDir says if the data directory is the server's alone, and can be written.
func (d *doctor) dataDir() {
	dir := d.cfg.DataDir
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("%s is not there yet; the first start makes it", dir)
		return
	case err != nil:
		d.wrong("%s: %v", dir, err)
		d.hint("set data_dir to a directory that the user who runs sotto may write")
		return
	case !st.IsDir():
		d.wrong("%s is no directory", dir)
		d.hint("set data_dir to a directory that the user who runs sotto may write")
		return
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		d.wrong("%s cannot be written by this user", dir)
		d.hint("run this as the user who runs the server; chown -R gives it the directory")
		return
	}
	safe := true
	for _, name := range []string{"sotto.db", "sotto.db-wal", "sotto.db-shm", "tls.key", "ctl.sock"} {
		safe = d.private(filepath.Join(dir, name)) && safe
	}
	if safe {
		d.ok("%s can be written, and its secrets read by nobody else", dir)
	}
	var space unix.Statfs_t
	if unix.Statfs(dir, &space) == nil && space.Bavail*uint64(space.Bsize) < leastSpace {
		d.warn("%s has %d MB left", dir, space.Bavail*uint64(space.Bsize)>>20)
		d.hint("free some space: what cannot be written is kept in memory, and lost with the process")
	}
}

// private says that nobody but its owner may read a file; one that is not
// there is private.
func (d *doctor) private(path string) bool {
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&0o077 == 0 {
		return true
	}
	d.wrong("%s can be read or written by others (%04o)", path, st.Mode().Perm())
	d.hint("chmod 600 %s", path)
	return false
}
