// Package lifecycle makes, starts, signals and removes containers, as the
// runtime-spec has it: creating, created, running, stopped.
//
// A container is made from a plan (package plan), by a fork that executes the
// plan's program (package birth). What is left here is the parent's side: the
// state on disk, the sockets between parent and child, the id maps, terminals,
// and the undoing of what went wrong.
//
//	create                 the container's process           start
//	  | state.json (intent)
//	  | fork --------------------->|
//	  | id maps, one byte -------->|
//	  | state.json (pid), one byte>| mounts, pivot_root, …
//	  |<------------- ready, or an instruction and its errno
//	  .                            | accept <-------------- connect
//	  .                            |<---------------------- one byte
//	                               | execve: closes ------> end of file
//
// No process of ours stays between create and start. A container is a folder
// below the runtime's root with a flock of its own; there is no other lock and
// no database. Processes are known by pid, start time and boot id, and
// signalled by pidfd.
package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"airplant/lifecycle/cgroup"

	"golang.org/x/sys/unix"
)

// Runtime is where containers of one root folder are managed.
type Runtime struct {
	// Root holds a folder for each container.
	Root string
	// Filters gives the folder that keeps compiled seccomp filters, "" for none.
	// It may be nil, and is asked only where there is a filter.
	Filters func() string
	// Cgroups is who makes them; the zero value leaves the choice to us.
	Cgroups cgroup.Manager
	// RuntimeDir is $XDG_RUNTIME_DIR, where the user's systemd is.
	RuntimeDir string
	// Warn is told what went wrong without making the operation fail, and what
	// was done in place of something better. It may be nil.
	Warn func(error)
}

// DefaultRoot is the folder for what dies with the boot: below
// $XDG_RUNTIME_DIR for a user and for root in a user namespace, else /run.
// Without $XDG_RUNTIME_DIR it is a folder in /tmp that is ours alone, or an
// error.
func DefaultRoot(runtimeDir, kind string) (string, error) {
	uid := os.Geteuid()
	if uid == 0 {
		initial, err := initialUserNamespace()
		if err != nil {
			return "", err
		}
		if initial {
			return filepath.Join("/run/airplant", kind), nil
		}
	}
	if runtimeDir != "" {
		return filepath.Join(runtimeDir, "airplant", kind), nil
	}
	dir := "/tmp/airplant-" + strconv.Itoa(uid)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode != unix.S_IFDIR|0o700 || int(st.Uid) != uid {
		return "", fmt.Errorf("%s is not a directory of mode 0700 that belongs to us; set XDG_RUNTIME_DIR", dir)
	}
	return filepath.Join(dir, kind), nil
}
