package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Options are what Create needs beside the plan.
type Options struct {
	Resources *specs.LinuxResources
	// PID is the group's first process. It is required by plans that are
	// ByPID, and else 0 for a process that will be cloned into the group.
	PID int
	// Annotations may have org.systemd.property.* for scopes.
	Annotations map[string]string
	// Description is shown by systemctl.
	Description string
}

// Create makes the group and limits it. When it fails it leaves nothing
// behind, but a cgroup that had to be vacated stays so. The caller closes the
// group.
func Create(p Plan, o Options) (*Group, error) {
	if len(p.V1) > 0 && o.PID > 0 {
		return createV1(p, o)
	}
	list, err := settings(o.Resources)
	if err != nil {
		return nil, err
	}
	var g *Group
	switch {
	case p.Kind == Cgroupfs:
		g, err = mkgroup(p, list)
	case p.Kind == Systemd && o.PID > 0:
		g, err = startScope(p, o)
	default:
		err = fmt.Errorf("a plan of kind %q with process %d makes no cgroup", p.Kind, o.PID)
	}
	if err != nil {
		return nil, err
	}
	if err := g.fill(list, p, o); err != nil {
		return nil, errors.Join(err, g.abandon(o.PID), g.Close())
	}
	return g, nil
}

// fill applies limits before the first process comes, where that is possible.
func (g *Group) fill(list []setting, p Plan, o Options) error {
	if err := g.dir.apply(list); err != nil {
		return err
	}
	if o.Resources != nil && p.Privileged {
		if err := g.devices(o.Resources.Devices); err != nil {
			return err
		}
	}
	if p.Kind == Cgroupfs && o.PID > 0 {
		return g.Join(o.PID)
	}
	return nil
}

// Abandon undoes Create: it ends all that is in the group, and removes it with
// those above it that were made for it.
func (g *Group) Abandon() error { return g.abandon(1) }

// abandon undoes Create. A process that was to be the first has to go first:
// it never started anything, and its creator is about to end it anyway.
func (g *Group) abandon(pid int) error {
	if pid > 0 {
		if err := g.Kill(); err != nil {
			return err
		}
	}
	return g.Remove(time.Second)
}

// mkgroup makes a group below the plan's base and hands controllers down to
// it.
func mkgroup(p Plan, list []setting) (g *Group, err error) {
	root, err := openMount(p.Mount)
	if err != nil {
		return nil, err
	}
	defer root.close()
	at, err := root.sub(p.Base)
	if err != nil {
		return nil, err
	}
	defer func() { at.close() }() // whichever it is then
	names := strings.Split(strings.TrimPrefix(strings.TrimPrefix(p.Path, strings.TrimSuffix(p.Base, "/")), "/"), "/")
	var made []string // below root, undone from the end
	defer func() {
		if err != nil {
			for _, name := range slices.Backward(made) {
				_ = root.rmdir(name) // what others use meanwhile stays
			}
		}
	}()
	for i, name := range names {
		if err := at.handDown(p.Vacate && i == 0, list); err != nil {
			return nil, err
		}
		mkErr := at.mkdir(name)
		if mkErr == nil {
			made = append(made, strings.TrimPrefix(path.Join(p.Base, path.Join(names[:i+1]...)), "/"))
		} else if !errors.Is(mkErr, unix.EEXIST) {
			return nil, mkErr
		}
		next, err := at.sub(name)
		if err != nil {
			return nil, err
		}
		at.close()
		at = next
	}
	if err := at.vacant(); err != nil {
		return nil, err
	}
	g = &Group{place: Place{Mount: p.Mount, Path: p.Path, Made: len(made)}, dir: at}
	at = dir{}
	return g, nil
}

// vacant refuses a group that has processes already, or is frozen: an older
// container's, or not a container's at all.
func (d dir) vacant() error {
	events, err := d.flat("cgroup.events")
	if err != nil {
		return err
	}
	if events["populated"] != 0 || events["frozen"] != 0 {
		return fmt.Errorf("%s: %w", d.file.Name(), ErrBusy)
	}
	return nil
}

// handDown enables every controller for the groups in d. Those that limits
// need must work; the others are for statistics, and may not.
func (d dir) handDown(vacate bool, list []setting) error {
	have, err := d.words("cgroup.controllers")
	if err != nil {
		return err
	}
	given, err := d.words("cgroup.subtree_control")
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range have {
		if !slices.Contains(given, c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err = d.write("cgroup.subtree_control", strings.Join(missing, " "))
	if errors.Is(err, unix.EBUSY) && vacate {
		if err := d.vacate(); err != nil {
			return err
		}
		err = d.write("cgroup.subtree_control", strings.Join(missing, " "))
	}
	if err == nil {
		return nil
	}
	for _, c := range missing {
		one := d.write("cgroup.subtree_control", c)
		isNeeded := slices.ContainsFunc(list, func(s setting) bool { return s.controller == c[1:] && !s.optional })
		if one != nil && isNeeded {
			return fmt.Errorf("hand out controller %s: %w", c[1:], one)
		}
	}
	return nil
}

// vacate moves the processes of a cgroup into a leaf of it: only a cgroup
// without processes can hand out controllers (cgroups(7), no internal
// processes). They may fork meanwhile, so that it is done until none is left.
func (d dir) vacate() error {
	if err := d.mkdir(leafName); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	leaf, err := d.sub(leafName)
	if err != nil {
		return err
	}
	defer leaf.close()
	for range 100 {
		procs, err := d.words("cgroup.procs")
		if err != nil || len(procs) == 0 {
			return err
		}
		for _, pid := range procs {
			if pid == "0" { // it would mean us
				return fmt.Errorf("vacate %s: a process of another pid namespace is there: %w", d.file.Name(), ErrBusy)
			}
			err := leaf.write("cgroup.procs", pid)
			if err != nil && !errors.Is(err, unix.ESRCH) { // ended
				return fmt.Errorf("vacate %s: %w", d.file.Name(), err)
			}
		}
	}
	return fmt.Errorf("vacate %s: it gains processes faster than they can be moved: %w", d.file.Name(), ErrBusy)
}
