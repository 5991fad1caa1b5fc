package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// createV1 makes the group in all hierarchies and puts the process there.
func createV1(p Plan, o Options) (g *Group, err error) {
	list, err := settingsV1(o.Resources)
	if err != nil {
		return nil, err
	}
	var rules []string
	if o.Resources != nil {
		if rules, err = rulesV1(o.Resources.Devices); err != nil {
			return nil, err
		}
	}
	g = &Group{place: Place{Mount: p.Mount, Path: p.Path}}
	if err := g.fillV1(p.V1, list, rules, o.PID); err != nil {
		if len(g.parts) > 0 {
			err = errors.Join(err, g.Abandon(), g.closeParts())
		}
		return nil, err
	}
	return g, nil
}

func (g *Group) fillV1(in []Hierarchy, list []setting, rules []string, pid int) error {
	for _, h := range in {
		if err := g.mkPart(h); err != nil {
			return err
		}
	}
	if err := g.applyV1(list); err != nil {
		return err
	}
	if err := g.devicesV1(rules); err != nil {
		return err
	}
	return g.joinV1(pid)
}

// mkPart makes the group in one hierarchy.
func (g *Group) mkPart(h Hierarchy) error {
	root, err := openV1(h.Mount)
	if err != nil {
		return err
	}
	defer root.close()
	var made []string
	d, err := root.mkAll(g.place.Path, slices.Contains(h.Controllers, "cpuset"), &made)
	if err == nil {
		err = d.unused()
	}
	if err != nil {
		for _, name := range slices.Backward(made) {
			_ = root.rmdir(name) // what others use meanwhile stays
		}
		return errors.Join(err, d.close())
	}
	h.Made = len(made)
	g.parts, g.place.V1 = append(g.parts, part{h, d}), append(g.place.V1, h)
	g.dir = g.parts[0].dir
	return nil
}

// mkAll makes a directory below d, with those on the way to it, and tells which
// were not there.
func (d dir) mkAll(name string, cpuset bool, made *[]string) (dir, error) {
	at, err := d.sub("/")
	if err != nil {
		return dir{}, err
	}
	way := ""
	for one := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		way = path.Join(way, one)
		switch mkErr := at.mkdir(one); {
		case mkErr == nil:
			*made = append(*made, way)
		case !errors.Is(mkErr, unix.EEXIST):
			return dir{}, errors.Join(mkErr, at.close())
		}
		next, err := at.sub(one)
		if err == nil && cpuset {
			err = inheritCPUs(at, next)
		}
		if err = errors.Join(err, at.close()); err != nil {
			return dir{}, errors.Join(err, next.close())
		}
		at = next
	}
	return at, nil
}

// unused refuses a group that has processes.
func (d dir) unused() error {
	procs, err := d.words("cgroup.procs")
	if err == nil && len(procs) > 0 {
		err = fmt.Errorf("%s: %w", d.file.Name(), ErrBusy)
	}
	return err
}

// inheritCPUs gives a new group the processors and memory nodes of the one above
// it: one that has none takes no process (cpuset(7)).
func inheritCPUs(above, below dir) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		has, err := below.read(file)
		if err != nil || strings.TrimSpace(has) != "" {
			return err
		}
		value, err := above.read(file)
		if err != nil {
			return err
		}
		if err := below.write(file, strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}
