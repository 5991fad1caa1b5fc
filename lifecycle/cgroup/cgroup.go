// Package cgroup puts a container into a control group, mostly of version 2, limits
// it there, and asks, freezes, kills and removes the group.
//
// Why groups: a limit has no other place in the kernel, and a group's members
// cannot leave it, so that freezing or killing the group misses no process,
// however often it forks. The hierarchy is a file system, cgroups(7); all
// access goes by openat2(2) below the descriptor of a group, without symbolic
// links, so that no name leads out of it.
//
// There are three ways to a group. [Look] gathers what the host has, [Choose]
// decides between them without touching anything, [Create] acts:
//
//	delegated subtree   mkdir below a cgroup that is ours. A cgroup that has
//	                    processes cannot hand out controllers, so that ours
//	                    is first vacated into a leaf, airplant.init
//	systemd             a transient scope, asked for over D-Bus from the
//	                    user's or the system's manager
//	none                with the reason, which is an error for callers who
//	                    asked for limits, and nothing for all others
//
// With a delegated subtree the group is there before its first process, which
// is best cloned into it (CLONE_INTO_CGROUP, Linux 5.7). A scope exists only
// with a process in it, so that [Plan.ByPID] tells to fork first, with the
// process waiting, and to unshare the cgroup namespace after Create.
//
// Where the controllers are version 1's, the host's root gets groups of version 1
// for what it limits; see v1.go. Users get none: there the version 2 mount, if
// there is one, has hardly a controller, but freezes and kills. Devices are not a controller but a BPF program, which needs
// CAP_BPF in the first user namespace: without it device rules are ignored,
// as runc does, since a user's container has only devices the user may open.
//
// Hazards: a process that is moved keeps the memory it was charged for in the
// old group. Moving is slow (a grace period of RCU) and needs write access to
// the nearest common ancestor, which a login session's user lacks: only
// systemd can move between a session and the user's manager. Everything in a
// group may be written by its container when the container owns the group:
// names and depths below a group are hostile.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrController is a limit whose controller the group has not got.
	ErrController = errors.New("cgroup controller is not available")
	// ErrBusy is a cgroup that already has processes.
	ErrBusy = errors.New("cgroup has processes")
	// ErrPath is a cgroupsPath that must not or cannot be followed.
	ErrPath = errors.New("invalid cgroupsPath")
	// ErrGone is a group that was removed.
	ErrGone = errors.New("cgroup does not exist")
)

// Place is what has to be remembered of a group to find it again.
type Place struct {
	// Mount is where the version 2 hierarchy is mounted.
	Mount string `json:"mount"`
	// Path is the group's place in Mount. It begins with a slash.
	Path string `json:"path"`
	// Made counts the directories that were made for the group: its own, and
	// those above it that go with it once they are empty.
	Made int `json:"made,omitempty"`
	// Unit is the scope of systemd that the group is, "" if it is none.
	Unit string `json:"unit,omitempty"`
	// Bus is the socket of Unit's manager.
	Bus Bus `json:"bus,omitzero"`
	// V1 are the hierarchies of version 1 that the group is in, at Path in each;
	// Mount is then the first of them.
	V1 []Hierarchy `json:"v1,omitempty"`
}

// Dir is the group's directory in the file system.
func (p Place) Dir() string { return path.Join(p.Mount, p.Path) }

// Group is an open control group. It is not safe for concurrent use.
type Group struct {
	place Place
	dir   dir    // in version 1 that of the first part
	parts []part // of a group of version 1
}

// Open opens the group at a place. A group that is gone is ErrGone.
func Open(p Place) (*Group, error) {
	if len(p.V1) > 0 {
		return openParts(p)
	}
	root, err := openMount(p.Mount)
	if err != nil {
		return nil, err
	}
	defer root.close()
	d, err := root.sub(p.Path)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s: %w", p.Dir(), ErrGone)
	}
	if err != nil {
		return nil, err
	}
	return &Group{place: p, dir: d}, nil
}

// Place tells where the group is, for Open.
func (g *Group) Place() Place { return g.place }

// File is the group's directory, for CLONE_INTO_CGROUP, nil in version 1. The
// group keeps it.
func (g *Group) File() *os.File {
	if len(g.parts) > 0 {
		return nil
	}
	return g.dir.file
}

// Close closes the group's descriptor. The group stays.
func (g *Group) Close() error {
	if len(g.parts) > 0 {
		return g.closeParts()
	}
	return g.dir.close()
}

// Sub opens a group below this one, as "exec --cgroup" asks for.
func (g *Group) Sub(name string) (*Group, error) {
	clean, err := cleanPath(name)
	if err != nil {
		return nil, err
	}
	if len(g.parts) > 0 {
		return g.subV1(clean)
	}
	d, err := g.dir.sub(clean)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s below %s: %w", name, g.place.Dir(), ErrGone)
	}
	if err != nil {
		return nil, err
	}
	p := g.place
	p.Path = path.Join(p.Path, clean)
	return &Group{place: p, dir: d}, nil
}

// Own gives the group to the owner of a container's user namespace, with the
// files that a delegatee has to write and no other, as the runtime-spec has
// it for containers with a cgroup namespace and a writable mount.
func (g *Group) Own(uid, gid int) error {
	names, err := os.ReadFile("/sys/kernel/cgroup/delegate") // Linux 4.15
	if err != nil {
		names = []byte("cgroup.procs cgroup.threads cgroup.subtree_control")
	}
	if err := g.dir.file.Chown(uid, gid); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(names)) {
		err := g.dir.chown(name, uid, gid)
		if err != nil && !errors.Is(err, unix.ENOENT) { // depends on the controllers
			return err
		}
	}
	return nil
}

// Join moves a process into the group, with all its threads.
func (g *Group) Join(pid int) error {
	if len(g.parts) > 0 {
		return g.joinV1(pid)
	}
	err := g.dir.write("cgroup.procs", fmt.Sprint(pid))
	if err != nil && g.place.Unit != "" && errors.Is(err, unix.EACCES) {
		return attach(g.place, pid)
	}
	return err
}
