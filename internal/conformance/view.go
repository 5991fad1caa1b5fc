package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// view is what a program sees of cgroups.
type view string

const (
	viewV2 view = "v2"
	viewV1 view = "v1"
)

const cgroupRoot = "/sys/fs/cgroup"

// viewOf is the view that a program can work in. The suite's library for
// cgroups implements version 1 and answers "unimplemented" for version 2, and
// two programs have paths of version 1 in them.
func viewOf(program string) view {
	switch {
	case strings.HasPrefix(program, "linux_cgroups_"),
		program == "delete_resources", program == "delete_only_create_resources":
		return viewV1
	}
	return viewV2
}

// wantsAll tells whether a program gives its containers all capabilities. Root
// of a virtual machine or container often has not all of them. Root of a user
// namespace has, so there such programs run in one.
func wantsAll(program string) bool {
	return program == "process_capabilities" || program == "linux_rootfs_propagation"
}

// hasV1 tells whether the host has hierarchies of version 1 to show.
func hasV1() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "pids"))
	return err == nil
}

// unified is where the host has cgroup version 2, "" if nowhere.
func unified() string {
	for _, dir := range []string{cgroupRoot, filepath.Join(cgroupRoot, "unified")} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

// show makes the view, in a mount namespace of our own.
func (v view) show() error {
	if v == viewV1 {
		// A hybrid host has version 2 beside version 1, and crun refuses it.
		dir := filepath.Join(cgroupRoot, "unified")
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		return nil
	}
	if unified() == cgroupRoot {
		return nil
	}
	// In a user namespace it is locked, and covered.
	if err := unix.Unmount(cgroupRoot, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
		return fmt.Errorf("unmount %s: %w", cgroupRoot, err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", flags, ""); err != nil {
		return fmt.Errorf("mount cgroup2 on %s: %w", cgroupRoot, err)
	}
	return nil
}

// group is a cgroup of version 2 that a run lives in, and the root of what it
// sees. Where there is none to be had the run stays where it is.
type group struct{ dir string }

// newGroup makes one on a host that has version 2 beside version 1. On a host
// with version 2 alone a group that has processes cannot have controllers, so
// the run sees the real root there.
//
// Without root it is delegated, the way systemd does it.
func newGroup(name string, rootless bool) (*group, error) {
	top := unified()
	if top == "" || top == cgroupRoot {
		return nil, nil
	}
	g := &group{filepath.Join(top, name)}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	if rootless {
		for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
			if err := os.Chown(filepath.Join(g.dir, file), firstID, firstID); err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

// remove removes the group with all groups below it, all of them empty.
func (g *group) remove() error {
	if g == nil {
		return nil
	}
	return removeGroups(g.dir)
}

// removeGroups removes a tree of cgroups, leaves first; not the files in it.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := removeGroups(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return unix.Rmdir(dir)
}

// sweepV1 removes the groups of version 1 that the suite's fixed paths, and the
// ids of containers that were left, have names of.
func sweepV1(ids []string) {
	hierarchies, err := filepath.Glob(filepath.Join(cgroupRoot, "*"))
	if err != nil {
		return
	}
	for _, hierarchy := range hierarchies {
		for _, name := range append([]string{"cgrouptest", "testdir"}, ids...) {
			// One that is not there, or not empty, is nobody's business.
			_ = removeGroups(filepath.Join(hierarchy, name))
		}
	}
}
