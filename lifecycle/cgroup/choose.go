package cgroup

import (
	"fmt"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Manager is who makes groups, as --cgroup-manager names it.
type Manager string

// The managers that can be asked for.
const (
	Auto     Manager = ""
	Cgroupfs Manager = "cgroupfs"
	Systemd  Manager = "systemd"
	Disabled Manager = "disabled"
)

// leafName is the group that the processes of a vacated one go to.
const leafName = "airplant.init"

// Request is what a container asks for.
type Request struct {
	// ID names the group where Path is empty.
	ID string
	// Path is linux.cgroupsPath: a path in the hierarchy, or
	// slice:prefix:name for systemd. A path without a slash at its beginning
	// is one below the cgroup that is ours.
	Path    string
	Manager Manager
	// Limited: something is to be limited that takes a controller.
	Limited bool
}

// Plan is what Create will do.
type Plan struct {
	// Kind is Cgroupfs, Systemd, or Disabled for no group at all.
	Kind Manager
	// Reason says why it is not a better kind. It is empty when nothing
	// better could be wanted.
	Reason string

	// Mount and Base are where a delegated subtree begins, Path is the group
	// (from Mount, below Base), and Vacate that Base's processes are ours to
	// move into a leaf.
	Mount, Base, Path string
	Vacate            bool

	// Slice and Unit are systemd's names, Bus its socket.
	Slice, Unit string
	Bus         Bus
	// User: it is the user's manager.
	User bool

	// Controllers are what the group can have; not known for systemd, which
	// tells afterwards.
	Controllers []string
	// Privileged says that device rules can be enforced.
	Privileged bool
	// V1 are the hierarchies of version 1 in which the group is made at Path, in
	// place of one of version 2.
	V1 []Hierarchy
}

// ByPID tells that Create needs the group's first process: it must have been
// forked and wait, and may unshare its cgroup namespace only afterwards.
func (p Plan) ByPID() bool { return p.Kind == Systemd || len(p.V1) > 0 }

// Choose decides how a request is met on a host. It touches nothing. Errors
// are of wrong requests: what the host lacks is a plan of kind Disabled that
// has a reason.
func Choose(h Host, r Request) (Plan, error) {
	p := Plan{Kind: Disabled, Mount: h.Mount, Privileged: h.Privileged}
	scope := looksLikeScope(r.Path)
	switch {
	case r.Manager == Disabled:
		return p, nil
	case r.Manager != Auto && r.Manager != Cgroupfs && r.Manager != Systemd:
		return p, fmt.Errorf("cgroup manager %q: it must be cgroupfs, systemd or disabled", r.Manager)
	case r.Path == "":
	case r.Manager == Systemd || r.Manager == Auto && scope:
		if _, err := parseScope(r.Path); err != nil {
			return p, err
		}
	default:
		if _, err := cleanPath(r.Path); err != nil {
			return p, err
		}
	}
	if r.Manager == Cgroupfs || r.Manager == Auto && !scope {
		if old, ok := p.version1(h, r); ok {
			return old, nil
		}
	}
	if h.Mount == "" {
		p.Reason = "cgroup version 2 is not mounted"
		return p, nil
	}
	switch {
	case r.Manager == Systemd || r.Manager == Auto && scope:
		return p.systemd(h, r), nil
	case r.Path != "":
		return p.given(h, r), nil
	case r.Manager == Cgroupfs:
		return p.subtree(h, r), nil
	}
	return p.best(h, r), nil
}

// best is the ladder for those who leave the choice to us.
func (p Plan) best(h Host, r Request) Plan {
	switch {
	case h.Own.Writable && h.Own.Delegated:
		return p.subtree(h, r)
	case h.Bus != "" && !h.Hybrid:
		return p.systemd(h, r)
	default:
		return p.subtree(h, r)
	}
}

// subtree plans a group below our own cgroup, or, for root in one that is
// not left to it, below the root.
func (p Plan) subtree(h Host, r Request) Plan {
	base, name := h.Own, "airplant-"+r.ID
	if h.Privileged && !h.Own.Delegated && h.Target.Writable {
		base = h.Target
	}
	switch {
	case base.Path == "":
		p.Reason = "our own cgroup is not below " + h.Mount
	case !base.Writable:
		p.Reason = path.Join(h.Mount, base.Path) + " is not delegated to us"
		switch {
		case h.Hybrid:
			p.Reason += ", and the controllers of this host are version 1's"
		case r.Manager == Auto:
			p.Reason += ", and there is no systemd to ask"
		}
	default:
		return p.below(h, base, path.Join(base.Path, name))
	}
	return p
}

// given plans a group at a cgroupsPath. Look has found the directory above it
// that we may write.
func (p Plan) given(h Host, r Request) Plan {
	if !path.IsAbs(r.Path) && h.Own.Writable && !h.Privileged {
		return p.below(h, h.Own, path.Join(h.Own.Path, r.Path))
	}
	if !h.Target.Writable {
		p.Reason = fmt.Sprintf("no directory on the way to cgroupsPath %s is delegated to us", path.Join(h.Mount, r.Path))
		return p
	}
	return p.below(h, h.Target, path.Join("/", r.Path))
}

func (p Plan) below(h Host, base Dir, group string) Plan {
	p.Kind, p.Base, p.Path = Cgroupfs, base.Path, group
	p.Controllers = base.Controllers
	// Others' cgroups are never vacated: the processes there are not ours.
	p.Vacate = base.Path == h.Own.Path && h.Own.Writable
	if h.Hybrid {
		p.Reason = "the controllers of this host are version 1's: groups freeze and kill, but do not limit"
	}
	return p
}

func (p Plan) systemd(h Host, r Request) Plan {
	if h.Bus == "" {
		p.Reason = "systemd cannot be reached: there is no bus"
		if !h.Privileged {
			p.Reason += " in $XDG_RUNTIME_DIR"
		}
		return p
	}
	p.Kind, p.Bus, p.User = Systemd, h.Bus, !h.Privileged
	p.Slice, p.Unit = "", "airplant-"+unitSafe(r.ID)+".scope"
	if r.Path != "" {
		scope, _ := parseScope(r.Path) // parsed before
		p.Slice, p.Unit = scope.slice, scope.unit
	}
	if p.Slice == "" {
		p.Slice = "system.slice"
		if p.User {
			p.Slice = "user.slice"
		}
	}
	return p
}

// Missing lists the controllers that resources need and the plan has not got.
// With systemd the answer comes from Create.
func (p Plan) Missing(r *specs.LinuxResources) []string {
	var missing []string
	list, _ := Needed(r) // wrong ones are Create's to refuse
	if len(p.V1) > 0 {
		list, _ = neededV1(r)
	}
	for _, c := range list {
		if p.Kind == Disabled || p.Kind == Cgroupfs && !slices.Contains(p.Controllers, c) {
			missing = append(missing, c)
		}
	}
	return missing
}
