package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// used is the time on a processor of all threads of a process, to the
// nanosecond. What the system does for packets while a thread runs is in it,
// whoever's packets they are.
func used(pid int) time.Duration {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	var total time.Duration
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseInt(first, 10, 64) // the system writes numbers
		total += time.Duration(ns)
	}
	return total
}

// resident is the memory of a process.
func resident(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1]) // the system writes numbers
	return pages * os.Getpagesize()
}

// socketSlabs are the kernel's objects of an open socket that epoll watches.
var socketSlabs = []string{"UDP", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq"}

// slab is the memory that sockets take in the kernel, of all programs.
func slab() int {
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0
	}
	total := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		for _, name := range socketSlabs {
			if len(f) > 3 && f[0] == name {
				n, _ := strconv.Atoi(f[1]) // the system writes numbers
				size, _ := strconv.Atoi(f[3])
				total += n * size
			}
		}
	}
	return total
}
