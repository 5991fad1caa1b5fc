package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Memory of a process that is not dumpable, or whose memory belongs to the
// host's user namespace, is root's to read (ptrace(2), access mode checking).
// A bench that root started keeps that root behind a socket:
//
//	account  -- pid\n -->  root
//	account  <-- KiB\n --  root     "-1" when it could not tell

// serveMemory answers until the other side is closed.
func serveMemory(conn io.ReadWriter) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		kib := -1
		if err == nil {
			if n, err := memoryOf(pid); err == nil {
				kib = n
			}
		}
		if _, err := fmt.Fprintln(conn, kib); err != nil {
			return
		}
	}
}

// askMemory is memoryOf by way of root.
func askMemory(conn io.ReadWriter, pid int) (kib int, err error) {
	if _, err := fmt.Fprintln(conn, pid); err != nil {
		return 0, err
	}
	// One answer a question, so nothing is lost in this scanner's buffer.
	lines := bufio.NewScanner(conn)
	if !lines.Scan() {
		return 0, errors.Join(lines.Err(), io.ErrUnexpectedEOF)
	}
	kib, err = strconv.Atoi(lines.Text())
	if err == nil && kib < 0 {
		err = fmt.Errorf("memory of process %d is unknown even to root", pid)
	}
	return kib, err
}

// memoryOf returns the private memory of a process in KiB.
func memoryOf(pid int) (kib int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return privateKiB(string(text))
}

// privateKiB adds up what only this process has in memory (proc_pid_smaps(5)).
func privateKiB(rollup string) (total int, err error) {
	found := 0
	for line := range strings.Lines(rollup) {
		var n int
		name, rest, _ := strings.Cut(line, ":")
		if name != "Private_Clean" && name != "Private_Dirty" {
			continue
		}
		if _, err := fmt.Sscanf(rest, "%d kB", &n); err != nil {
			return 0, fmt.Errorf("%s in smaps_rollup: %w", name, err)
		}
		total += n
		found++
	}
	if found != 2 {
		return 0, fmt.Errorf("smaps_rollup names private memory %d times", found)
	}
	return total, nil
}

// memoryPair makes the two ends of the line to root.
func memoryPair() (root, account *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "root"), os.NewFile(uintptr(fds[1]), "account"), nil
}
