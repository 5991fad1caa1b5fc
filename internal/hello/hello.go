// Package hello is the program of the built-in image `hello`: it looks around
// in its container and tells what it finds.
//
// The image is this very binary, bound read-only into an empty root
// filesystem, under a name by which it runs [Report]. Nothing else of the
// binary is reachable from there, and it is the only program of ours that ever
// runs in a container.
package hello

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Name is the program's name and path in its container.
const Name = "airplant-hello"

// Variables by which the program learns what it cannot see.
const (
	EnvStarted = "AIRPLANT_STARTED" // unix time in nanoseconds
	EnvDriver  = "AIRPLANT_ROOTFS"
	EnvNetwork = "AIRPLANT_NETWORK"
)

// Report prints what the container looks like from the inside.
func Report(w io.Writer, getenv func(string) string) error {
	now := time.Now()
	started, err := strconv.ParseInt(getenv(EnvStarted), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", EnvStarted, err)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "Hello from a container that no root has made.")
	for _, line := range [][2]string{
		{"user inside", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())},
		{"user outside", outside("/proc/self/uid_map", os.Getuid()) + ":" + outside("/proc/self/gid_map", os.Getgid())},
		{"ids", ids("/proc/self/uid_map")},
		{"pid", strconv.Itoa(os.Getpid())},
		{"hostname", host},
		{"root filesystem", getenv(EnvDriver)},
		{"network", getenv(EnvNetwork)},
		{"limits", limits()},
		{"started in", fmt.Sprintf("%.1f ms", float64(now.UnixNano()-started)/1e6)},
	} {
		fmt.Fprintf(w, "  %-16s %s\n", line[0], line[1])
	}
	return nil
}

// outside translates an id by a map of /proc, which shows ids of the namespace
// above ours.
func outside(file string, id int) string {
	for _, m := range mappings(file) {
		if uint64(id) >= m[0] && uint64(id)-m[0] < m[2] {
			return strconv.FormatUint(m[1]+uint64(id)-m[0], 10)
		}
	}
	return "unmapped"
}

func ids(file string) string {
	var n uint64
	for _, m := range mappings(file) {
		n += m[2]
	}
	if n == 1 {
		return "1"
	}
	return fmt.Sprintf("%d in %d ranges", n, len(mappings(file)))
}

func mappings(file string) (list [][3]uint64) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		var m [3]uint64
		if _, err := fmt.Sscan(line, &m[0], &m[1], &m[2]); err == nil {
			list = append(list, m)
		}
	}
	return list
}

// limits lists what holds this process in: resource limits that are set, and
// those of its cgroup where it sees them.
func limits() string {
	var list []string
	for _, l := range []struct {
		name string
		kind int
	}{{"open files", unix.RLIMIT_NOFILE}, {"processes", unix.RLIMIT_NPROC}, {"locked memory", unix.RLIMIT_MEMLOCK}} {
		var r unix.Rlimit
		// Package syscall has raised the soft limit of open files.
		if err := unix.Getrlimit(l.kind, &r); err == nil && r.Max != unix.RLIM_INFINITY {
			list = append(list, fmt.Sprintf("%s %d", l.name, r.Max))
		}
	}
	for _, f := range []string{"memory.max", "pids.max", "cpu.max"} {
		text, err := os.ReadFile("/sys/fs/cgroup/" + f)
		if value := strings.TrimSpace(string(text)); err == nil && !strings.HasPrefix(value, "max") {
			list = append(list, f+" "+value)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
