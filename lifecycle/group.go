package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"time"

	"airplant/internal/birth"
	"airplant/internal/sys"
	"airplant/lifecycle/cgroup"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNoCgroup is returned for what needs a cgroup of a container without one.
var ErrNoCgroup = errors.New("the container has no cgroup of its own")

// killPatience is how long processes may take to stop or to end: one that sleeps
// in the kernel takes its time.
const killPatience = 10 * time.Second

// group is what is done about a container's cgroup.
type group struct {
	plan    cgroup.Plan
	options cgroup.Options
	// owner is the user on the host that the group is given to, or nil.
	owner *[2]int

	made *cgroup.Group
}

// groupID names a container's cgroup among those of all runtimes of the host:
// another root folder may have a container of the same ID.
func (r *Runtime) groupID(id string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(filepath.Join(r.Root, id))) // it cannot fail
	return fmt.Sprintf("%.200s-%08x", id, sum.Sum32())
}

// planGroup decides about a container's cgroup and touches nothing. It is nil
// for a container that has none, because none was asked for: on a host of
// version 1 a group would only cost time, and a scope costs more than all the
// rest of a container.
func (r *Runtime) planGroup(id string, spec *specs.Spec) (*group, error) {
	if spec.Linux == nil || spec.Process == nil {
		return nil, nil // no container comes of it: see [plan.Check]
	}
	h, err := host()
	if err != nil {
		return nil, err
	}
	limits := spec.Linux.Resources
	// What version 2 does not have is wrong, unless the host has version 1.
	needed, wrong := cgroup.Needed(limits)
	devices := limits != nil && len(limits.Devices) > 0 && !plan.DevicesHold(spec, h)
	asked := spec.Linux.CgroupsPath != "" || len(needed) > 0 || wrong != nil || devices || r.Cgroups == cgroup.Systemd
	if !asked && (r.Cgroups == cgroup.Disabled || !h.Unified && ownPIDs(spec)) {
		return nil, nil
	}
	request := cgroup.Request{ID: r.groupID(id), Path: spec.Linux.CgroupsPath, Manager: r.Cgroups, Limited: len(needed) > 0 || wrong != nil}
	found, err := cgroup.Look(r.caller(h), request)
	if err != nil {
		return nil, fmt.Errorf("look at cgroups: %w", err)
	}
	p, err := cgroup.Choose(found, request)
	if err != nil {
		return nil, fmt.Errorf("linux.cgroupsPath: %w", err)
	}
	if wrong != nil && len(p.V1) == 0 {
		return nil, fmt.Errorf("linux.%w", wrong)
	}
	if !asked && p.Kind != cgroup.Cgroupfs {
		return nil, nil
	}
	if p.Kind == cgroup.Disabled {
		return nil, r.without(p, spec, needed, devices)
	}
	if missing := p.Missing(limits); len(missing) > 0 {
		return nil, noController(missing[0], p.Reason)
	}
	return &group{plan: p, owner: groupOwner(spec, h), options: cgroup.Options{
		Resources: enforceable(limits, h), Annotations: spec.Annotations, Description: "airplant container " + id,
	}}, nil
}

func (r *Runtime) caller(h *plan.Host) cgroup.Caller {
	return cgroup.Caller{UID: h.UID, Privileged: h.Privileged && h.Initial, RuntimeDir: r.RuntimeDir}
}

const disabled = "cgroups are disabled"

// without decides whether a container may do without the cgroup that it asked
// for: what was asked for by name may not be left out.
func (r *Runtime) without(p cgroup.Plan, spec *specs.Spec, needed []string, devices bool) error {
	reason := p.Reason
	if reason == "" {
		reason = disabled
	}
	switch {
	case len(needed) > 0:
		return noController(needed[0], reason)
	case devices:
		return fmt.Errorf("linux.resources.devices: the rules need a cgroup: %s", reason)
	case spec.Linux.CgroupsPath != "" && r.Cgroups != cgroup.Disabled:
		return fmt.Errorf("linux.cgroupsPath %s: %s", spec.Linux.CgroupsPath, reason)
	case r.Cgroups != cgroup.Disabled && r.Warn != nil:
		r.Warn(fmt.Errorf("the container has no cgroup: %s", reason))
	}
	return nil
}

// noController says which controller a limit lacks, and what helps.
func noController(name, reason string) error {
	if reason == "" {
		reason = "it is not delegated to us"
	}
	if reason == disabled {
		return fmt.Errorf("linux.resources: a limit needs the cgroup controller %s, and %s", name, reason)
	}
	fix := "use --systemd-cgroup, or run below `systemd-run --user --scope -p Delegate=yes`"
	if strings.Contains(reason, "version 1") || strings.Contains(reason, "not mounted") {
		fix = "boot with systemd.unified_cgroup_hierarchy=1"
	}
	return fmt.Errorf("linux.resources: a limit needs the cgroup controller %s: %s; %s", name, reason, fix)
}

// enforceable is what a caller can have of resources: rules for devices need
// root of the host, and hold for others by themselves.
func enforceable(r *specs.LinuxResources, h *plan.Host) *specs.LinuxResources {
	if r == nil || len(r.Devices) == 0 || h.Privileged && h.Initial {
		return r
	}
	c := *r
	c.Devices = nil
	return &c
}

// groupOwner is the user that a container's cgroup is given to, as the
// runtime-spec has it: that of process.user, where the container has a cgroup
// namespace and may write its part of the hierarchy.
func groupOwner(spec *specs.Spec, h *plan.Host) *[2]int {
	own := false
	for _, n := range spec.Linux.Namespaces {
		own = own || n.Type == specs.CgroupNamespace && n.Path == ""
	}
	writable := false
	for _, m := range spec.Mounts {
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			writable = !strings.Contains(","+strings.Join(m.Options, ",")+",", ",ro,")
		}
	}
	if !own || !writable || !h.Unified || len(spec.Linux.UIDMappings) == 0 {
		return nil
	}
	uid, ok := outside(spec.Linux.UIDMappings, spec.Process.User.UID)
	gid, ok2 := outside(spec.Linux.GIDMappings, spec.Process.User.GID)
	if !ok || !ok2 {
		return nil
	}
	return &[2]int{uid, gid}
}

// outside is the id in our user namespace that an id of the container stands
// for.
func outside(list []specs.LinuxIDMapping, id uint32) (int, bool) {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return int(m.HostID + id - m.ContainerID), true
		}
	}
	return 0, false
}

// make makes the group; pid is its first process, or 0 for one that will be
// made in it.
func (g *group) make(pid int, warn func(error)) (err error) {
	g.options.PID = pid
	if g.made, err = cgroup.Create(g.plan, g.options); err != nil {
		return fmt.Errorf("make the cgroup: %w", err)
	}
	if g.owner == nil {
		return nil
	}
	// A user can give nothing away but to itself: to another id of its own it
	// is the container's loss, and no fault.
	err = g.made.Own(g.owner[0], g.owner[1])
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		if warn != nil {
			warn(fmt.Errorf("the container's user cannot write its cgroup: %w", err))
		}
		return nil
	}
	return err
}

// undo removes the group, with those above it that were made for it.
func (g *group) undo() error {
	if g == nil || g.made == nil {
		return nil
	}
	return errors.Join(g.made.Abandon(), g.made.Close())
}

// openGroup opens a container's cgroup; nil without an error if it has none.
func openGroup(rec *Record) (*cgroup.Group, error) {
	if rec.Cgroup.Path == "" {
		return nil, nil
	}
	return cgroup.Open(rec.Cgroup)
}

// groupOf opens the cgroup of a container that must have one.
func groupOf(rec *Record) (*cgroup.Group, error) {
	g, err := openGroup(rec)
	if g == nil && err == nil {
		err = ErrNoCgroup
	}
	return g, err
}

// withGroup does something with a container's cgroup; false if it has none.
func withGroup(rec *Record, do func(context.Context, *cgroup.Group) error) (bool, error) {
	g, err := openGroup(rec)
	if g == nil || err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	return true, errors.Join(do(ctx, g), g.Close())
}

// removeGroup ends what is left in a container's cgroup and removes it.
func removeGroup(rec *Record) error {
	_, err := withGroup(rec, func(_ context.Context, g *cgroup.Group) error {
		if err := g.Kill(); err != nil {
			return err
		}
		return g.Remove(killPatience)
	})
	if errors.Is(err, cgroup.ErrGone) {
		return nil
	}
	return err
}

// groupFirst makes a group that exists before its first process. That it will
// be there is written down before, to be removed whatever happens to us.
func (b *newborn) groupFirst() error {
	if b.group == nil || b.group.plan.ByPID() {
		return nil
	}
	p := b.group.plan
	b.container.Cgroup = cgroup.Place{Mount: p.Mount, Path: p.Path}
	b.plan.InCgroup(p.Path)
	if err := b.container.save(); err != nil {
		return err
	}
	if err := b.group.make(0, b.warn); err != nil {
		b.container.Cgroup = cgroup.Place{} // it may be another's
		return err
	}
	b.container.Cgroup = b.group.made.Place()
	b.into = b.group.made
	return nil
}

// groupAround makes a group that systemd makes for a process that waits.
func (b *newborn) groupAround() error {
	if p := b.group.plan; len(p.V1) > 0 { // as in groupFirst
		b.container.Cgroup = cgroup.Place{Mount: p.Mount, Path: p.Path, V1: p.V1}
		if err := b.container.save(); err != nil {
			return err
		}
	}
	if err := b.group.make(b.child.PID, b.warn); err != nil {
		b.container.Cgroup = cgroup.Place{} // it may be another's
		return b.because(err)
	}
	b.container.Cgroup = b.group.made.Place()
	b.plan.InCgroup(b.container.Cgroup.Path)
	return nil
}

// clone makes the process, in the group that is there.
func (b *newborn) clone(in birth.Inputs) (err error) {
	opts := b.inject
	if b.into != nil {
		opts.Cgroup = b.into.File()
	}
	b.child, err = birth.Fork(&b.plan.Program, in, b.plan.CloneFlags, opts)
	if b.into == nil || err == nil && opts.Cgroup != nil {
		return explainFork(err)
	}
	// Between cgroups of different owners only systemd may move processes, and
	// clone knows nothing of it. Any other failure comes again.
	if opts.Cgroup != nil {
		opts.Cgroup = nil
		b.child, err = birth.Fork(&b.plan.Program, in, b.plan.CloneFlags, opts)
	}
	if err != nil {
		return explainFork(err)
	}
	if err := join(b.into, b.record, b.child.PID); err != nil {
		return fmt.Errorf("enter the container's cgroup: %w", err)
	}
	return nil
}

// subGroup opens a container's cgroup, or one below it, for a further process.
func subGroup(rec *Record, name string) (*cgroup.Group, error) {
	if name == "" {
		return openGroup(rec)
	}
	g, err := groupOf(rec)
	if err != nil {
		return nil, fmt.Errorf("--cgroup %s: %w", name, err)
	}
	sub, err := g.Sub(name)
	return sub, errors.Join(err, g.Close())
}

// leaveGroup closes the cgroup that was entered.
func (b *newborn) leaveGroup() {
	if b.into != nil {
		_ = b.into.Close() // it was only looked up in
	}
}

// join moves a process of ours into a group, where it could not be made in it.
// The first process of a container may have moved on to a cgroup below, since
// one that hands out controllers takes no processes; then it is that one.
func join(g *cgroup.Group, rec *Record, pid int) error {
	err := g.Join(pid)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) || rec == nil {
		return err
	}
	text, readErr := sys.ReadFile(fmt.Sprintf("/proc/%d/cgroup", rec.PID))
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	below, ok := cgroup.Below(g.Place(), string(text))
	if !ok {
		return err
	}
	sub, subErr := g.Sub(below)
	if subErr != nil {
		return errors.Join(err, subErr)
	}
	return errors.Join(sub.Join(pid), sub.Close())
}

// Update changes the limits of a container. What r does not set stays.
func (r *Runtime) Update(id string, limits *specs.LinuxResources) error {
	h, err := host()
	if err != nil {
		return err
	}
	return r.change(id, "running, paused or created", []specs.ContainerState{specs.StateRunning, specs.StateCreated, StatePaused}, func(c *container) error {
		g, err := groupOf(&c.Record)
		if err != nil {
			return fmt.Errorf("update limits: %w", err)
		}
		return errors.Join(g.Update(enforceable(limits, h)), g.Close())
	})
}

// Group opens the cgroup of a running container, for statistics and events.
// The caller closes it.
func (r *Runtime) Group(id string) (*cgroup.Group, error) {
	rec, status, err := r.made(id)
	if err != nil {
		return nil, err
	}
	if status == specs.StateStopped {
		return nil, fmt.Errorf("%w: container not running", ErrState)
	}
	return groupOf(&rec)
}
