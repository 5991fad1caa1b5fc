package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"airplant/internal/sys"

	"golang.org/x/sys/unix"
)

// Version 1 has a hierarchy for each controller, or for a few of them, and none
// of it can be delegated safely: it is for the host's root, on hosts that have
// no controllers in version 2. A container's group is then one directory of the
// same path in each hierarchy (cgroups(7), Cgroups version 1).
//
// What is harder than in version 2: nothing tells when a group becomes empty,
// so that is asked again and again; a frozen process does not end by SIGKILL;
// there is no kill for a group, so it is frozen, signalled and thawed; and no
// process can be made in the group, it is moved there before it goes on.

// Hierarchy is a group's part of a hierarchy of version 1.
type Hierarchy struct {
	Mount       string   `json:"mount"`
	Controllers []string `json:"controllers"`
	// Made counts the directories that were made for the group.
	Made int `json:"made,omitempty"`
}

// controllersV1 are those that a container is put into. The others, as systemd's
// own hierarchy, limit and tell nothing.
var controllersV1 = []string{
	"freezer", "cpuset", "cpu", "cpuacct", "memory", "pids", "devices", "blkio", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma",
}

// hierarchies finds those that are mounted and may be written, the freezer's
// first: it is the one whose members are counted.
func hierarchies(mountinfo string) []Hierarchy {
	var list []Hierarchy
	seen := map[string]bool{}
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(kind) < 3 || kind[0] != "cgroup" {
			continue
		}
		h := Hierarchy{Mount: f[4]}
		for _, option := range strings.Split(kind[2], ",") {
			if slices.Contains(controllersV1, option) && !seen[option] {
				h.Controllers = append(h.Controllers, option)
				seen[option] = true
			}
		}
		if len(h.Controllers) > 0 {
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(a, b Hierarchy) int { return a.rank() - b.rank() })
	return list
}

func (h Hierarchy) rank() int { return slices.Index(controllersV1, h.Controllers[0]) }

func lookV1() ([]Hierarchy, error) {
	text, err := sys.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(hierarchies(string(text)), func(h Hierarchy) bool {
		return unix.Access(h.Mount, unix.W_OK) != nil // an outer container's engine shows them read-only
	}), nil
}

// version1 plans a group of version 1, where that is what the host has and what
// the request needs: a hybrid host's version 2 can do all but limit.
func (p Plan) version1(h Host, r Request) (Plan, bool) {
	if !h.Privileged || len(h.V1) == 0 || h.Mount != "" && !(h.Hybrid && r.Limited) {
		return p, false
	}
	p.Kind, p.Reason, p.V1 = Cgroupfs, "", h.V1
	p.Mount, p.Base, p.Path = h.V1[0].Mount, "/", path.Join("/", "airplant-"+r.ID)
	if r.Path != "" {
		p.Path = path.Join("/", r.Path)
	}
	for _, one := range h.V1 {
		p.Controllers = append(p.Controllers, one.Controllers...)
	}
	return p, true
}

// part is an open directory of a group in one hierarchy.
type part struct {
	Hierarchy
	dir
}

// openV1 opens the root of a hierarchy of version 1.
func openV1(name string) (dir, error) {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return dir{}, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return dir{}, errors.Join(&fs.PathError{Op: "statfs", Path: name, Err: err}, f.Close())
	}
	if st.Type != unix.CGROUP_SUPER_MAGIC {
		return dir{}, errors.Join(fmt.Errorf("%s is not cgroup version 1", name), f.Close())
	}
	return dir{f}, nil
}

// openParts opens all of a group that is there.
func openParts(p Place) (*Group, error) {
	g := &Group{place: p}
	for _, h := range p.V1 {
		root, err := openV1(h.Mount)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		d, err := root.sub(p.Path)
		err = errors.Join(err, root.close())
		if errors.Is(err, unix.ENOENT) {
			continue // a removal that did not come to its end
		}
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.parts = append(g.parts, part{h, d})
	}
	if len(g.parts) == 0 {
		return nil, fmt.Errorf("%s: %w", p.Dir(), ErrGone)
	}
	g.dir = g.parts[0].dir
	return g, nil
}

func (g *Group) closeParts() error {
	var err error
	for _, p := range g.parts {
		err = errors.Join(err, p.close())
	}
	return err
}

// controller is the group's directory with a controller.
func (g *Group) controller(name string) (dir, bool) {
	n := slices.IndexFunc(g.parts, func(p part) bool { return slices.Contains(p.Controllers, name) })
	if n < 0 {
		return dir{}, false
	}
	return g.parts[n].dir, true
}

// joinV1 moves a process into the group, with all its threads.
func (g *Group) joinV1(pid int) error {
	for _, p := range g.parts {
		if err := p.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// subV1 opens a group below this one, in the hierarchies that have it; the main
// one must.
func (g *Group) subV1(clean string) (*Group, error) {
	s := &Group{place: g.place}
	s.place.Path = path.Join(s.place.Path, clean)
	for n, p := range g.parts {
		d, err := p.sub(clean)
		if errors.Is(err, unix.ENOENT) && n > 0 {
			continue
		}
		if err != nil {
			return nil, errors.Join(gone(err), s.Close())
		}
		s.parts = append(s.parts, part{p.Hierarchy, d})
	}
	s.dir = s.parts[0].dir
	return s, nil
}

// rmdirV1 removes the group, with what is below it and what was made above it.
func (g *Group) rmdirV1() error {
	var errs []error
	for _, p := range g.parts {
		errs = append(errs, p.remove(g.place.Path))
	}
	return errors.Join(errs...)
}

func (p part) remove(at string) error {
	for {
		more, err := p.rmLeaf()
		if err != nil && !errors.Is(gone(err), ErrGone) {
			return err
		}
		if !more {
			break
		}
	}
	root, err := openV1(p.Mount)
	if err != nil {
		return err
	}
	defer root.close()
	err = root.rmdir(strings.TrimPrefix(at, "/"))
	if errors.Is(gone(err), ErrGone) {
		err = nil
	}
	for range p.Made - 1 {
		if err != nil {
			break
		}
		at = path.Dir(at)
		_ = root.rmdir(strings.TrimPrefix(at, "/")) // what others use stays
	}
	return err
}
