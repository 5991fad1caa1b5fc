package cgroup

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"airplant/internal/sys"

	"golang.org/x/sys/unix"
)

// Caller is what the program knows of its user without looking.
type Caller struct {
	UID int
	// Privileged is root in the host's user namespace.
	Privileged bool
	// RuntimeDir is $XDG_RUNTIME_DIR, where the user's bus is. For root it
	// is not used.
	RuntimeDir string
}

// Host is what the choice depends on.
type Host struct {
	Caller
	// Mount is where version 2 is mounted, "" if nowhere.
	Mount string
	// Hybrid: the controllers are version 1's, and Mount has none of them.
	Hybrid bool
	// Own is the cgroup we are in, seen from Mount; without a path if it is
	// not below Mount.
	Own Dir
	// Target is the highest directory on the way to a given cgroupsPath
	// that we may write; without a path if there is none.
	Target Dir
	// Bus is the socket of the manager of scopes: the user's, or the
	// system's for root. It is empty if there is no systemd.
	Bus Bus
	// V1 are the hierarchies of version 1 that root may write, where it is they
	// that have the controllers.
	V1 []Hierarchy
}

// Dir is what was found out about a cgroup.
type Dir struct {
	Path string
	// Writable: we may make cgroups, move processes and enable controllers.
	Writable bool
	// Delegated: systemd has marked it as left to its owner.
	Delegated bool
	// Controllers are those that it can hand out.
	Controllers []string
}

// mounts are where distributions mount version 2: alone, or beside version 1.
var mounts = [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// Look gathers what Choose needs to know for a request. It changes nothing.
func Look(c Caller, r Request) (Host, error) {
	h := Host{Caller: c}
	for i, mount := range mounts {
		var st unix.Statfs_t
		if unix.Statfs(mount, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			h.Mount, h.Hybrid = mount, i > 0
			break
		}
	}
	if c.Privileged && r.Manager != Disabled && (h.Mount == "" || h.Hybrid) {
		var err error
		if h.V1, err = lookV1(); err != nil {
			return h, err
		}
	}
	if h.Mount == "" || r.Manager == Disabled {
		return h, nil
	}
	h.Bus = findBus(c)
	own, err := ownPath(h.Mount)
	if err != nil {
		return h, err
	}
	root, err := openMount(h.Mount)
	if err != nil {
		return h, err
	}
	defer root.close()
	if own != "" {
		// A group that an earlier container's creator vacated stands for
		// the one it was made in.
		if path.Base(own) == leafName {
			own = path.Dir(own)
		}
		h.Own = root.look(own)
	}
	if r.Path != "" && !looksLikeScope(r.Path) {
		clean, err := cleanPath(r.Path)
		if err != nil {
			return h, err
		}
		h.Target = root.topmost(clean)
	} else if c.Privileged {
		h.Target = root.look("/")
	}
	return h, nil
}

// look finds out about one directory.
func (d dir) look(name string) Dir {
	at, err := d.sub(name)
	if err != nil {
		return Dir{}
	}
	defer at.close()
	found := Dir{Path: name, Writable: at.writable(), Delegated: at.delegated()}
	found.Controllers, _ = at.words("cgroup.controllers") // none, if it cannot be read
	return found
}

func (d dir) writable() bool {
	for _, name := range []string{".", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Faccessat2(d.fd(), name, unix.W_OK, unix.AT_EACCESS) != nil {
			return false
		}
	}
	return true
}

// delegated looks for the mark that systemd leaves on units with Delegate=,
// for users since version 251, for root alone before.
func (d dir) delegated() bool {
	var value [4]byte
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		n, err := unix.Fgetxattr(d.fd(), name, value[:])
		if err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// topmost looks from the root towards a path for the first directory that is
// writable: from there on controllers can be handed down.
func (d dir) topmost(target string) Dir {
	at := "/"
	rest := strings.Split(strings.TrimPrefix(target, "/"), "/")
	for i := range len(rest) + 1 {
		found := d.look(at)
		if found.Path == "" || found.Writable {
			return found
		}
		if i < len(rest) {
			at = path.Join(at, rest[i])
		}
	}
	return Dir{}
}

// ownPath is our cgroup as a path in the mount, "" if it lies outside. The
// mount may show a part of the hierarchy, when an outer container's engine
// bound it from its own cgroup without a cgroup namespace.
func ownPath(mount string) (string, error) {
	text, err := sys.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	table, err := sys.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	return within(unifiedPath(string(text)), mountRoot(string(table), mount)), nil
}

// unifiedPath is the version 2 line of a /proc/PID/cgroup.
func unifiedPath(text string) string {
	for line := range strings.Lines(text) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return strings.TrimSuffix(p, " (deleted)")
		}
	}
	return ""
}

// mountRoot is the directory that is mounted at a place, proc(5): the last
// line counts, which covers the others.
func mountRoot(mountinfo, place string) string {
	root := "/"
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] == place {
			root = f[3]
		}
	}
	return root
}

// Below tells where in a group a process is, by its /proc/PID/cgroup as we see
// it: a path without a slash at its beginning, "" for the group itself.
func Below(p Place, text string) (string, bool) {
	table, err := sys.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", false
	}
	at := within(unifiedPath(text), mountRoot(string(table), p.Mount))
	rel, ok := strings.CutPrefix(at, strings.TrimSuffix(p.Path, "/")+"/")
	return rel, ok
}

// within is a path seen from a directory above it, "" if that is not above.
func within(p, root string) string {
	if slices.Contains(strings.Split(p, "/"), "..") || !path.IsAbs(p) {
		return "" // outside of our cgroup namespace
	}
	rel, err := filepath.Rel(root, p)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return path.Join("/", rel)
}
