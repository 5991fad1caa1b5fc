package plan

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"airplant/internal/birth"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// MappedMount is a bind mount that shows other owners than its source has. It
// takes CAP_SYS_ADMIN over the file system's user namespace, which for a file
// system of the host's only its root has; so the parent makes it, before the
// container's process enters a user namespace, and hands it down.
type MappedMount struct {
	Input     birth.Input // of the main section: the detached mount
	Mount     int         // index in the configuration's mounts
	Source    string
	Recursive bool   // the mount and those below it
	Mapped    bool   // those below it get the other ids too
	Path      string // of an existing user namespace to take the maps of
	Map       userns.Map
}

// MappedMounts are those that the parent makes.
func (p *Plan) MappedMounts() []MappedMount { return p.mapped }

func (b *builder) mappedMount(n int) *MappedMount {
	for i := range b.plan.mapped {
		if b.plan.mapped[i].Mount == n {
			return &b.plan.mapped[i]
		}
	}
	return nil
}

// idMappedMounts finds the mounts with ids of their own, which are checked.
func (b *builder) idMappedMounts() error {
	for n := range b.spec.Mounts {
		m := &b.spec.Mounts[n]
		o, err := parseOptions(m)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		if len(m.UIDMappings)+len(m.GIDMappings) == 0 && !o.idmapped {
			continue
		}
		mapped := MappedMount{
			Input: birth.Input(fmt.Sprintf("mount %d", n)), Mount: n, Source: m.Source,
			Recursive: o.recursive, Mapped: o.idmapAlsoIn,
		}
		if !filepath.IsAbs(mapped.Source) {
			mapped.Source = filepath.Join(b.opts.Bundle, mapped.Source)
		}
		if err := b.mapOf(m, &o, &mapped); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		b.plan.mapped = append(b.plan.mapped, mapped)
	}
	return nil
}

// mapOf finds the map: of the mount, of its option, or of the container's user
// namespace.
func (b *builder) mapOf(m *specs.Mount, o *mountOptions, to *MappedMount) (err error) {
	switch {
	case len(m.UIDMappings) > 0 && len(m.GIDMappings) > 0:
		to.Map = userns.Map{UIDs: m.UIDMappings, GIDs: m.GIDMappings}
	case len(m.UIDMappings)+len(m.GIDMappings) > 0:
		return fmt.Errorf("uidMappings and gidMappings are needed both")
	case o.idmap != "":
		to.Map, err = parseIDMap(o.idmap, b.plan.Map)
	case b.shared[specs.UserNamespace] != "":
		to.Path = b.shared[specs.UserNamespace]
	case b.created[specs.UserNamespace]:
		to.Map = b.plan.Map
	default:
		return fmt.Errorf("idmap without mappings needs a user namespace of the container's own")
	}
	return err
}

// parseIDMap reads crun's form of the option: uids=0-1000-1#1-2000-5;gids=…,
// each a first id of the file system, the id that it is seen as, and how many.
// With an @ before it, what it is seen as is an id of the container's user
// namespace.
func parseIDMap(text string, container userns.Map) (userns.Map, error) {
	var m userns.Map
	for part := range strings.SplitSeq(text, ";") {
		key, ranges, _ := strings.Cut(part, "=")
		to, outside := &m.UIDs, container.UIDs
		switch key {
		case "gids":
			to, outside = &m.GIDs, container.GIDs
		case "uids":
		default:
			return m, fmt.Errorf("option idmap: %q is not uids= or gids=", part)
		}
		for r := range strings.SplitSeq(ranges, "#") {
			line, err := parseIDRange(r, outside)
			if err != nil {
				return m, err
			}
			*to = append(*to, line)
		}
	}
	if len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return m, fmt.Errorf("option idmap: uids= and gids= are needed both")
	}
	return m, nil
}

func parseIDRange(text string, container []specs.LinuxIDMapping) (specs.LinuxIDMapping, error) {
	numbers, relative := strings.CutPrefix(text, "@")
	var n [3]uint32
	fields := strings.Split(numbers, "-")
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 32)
		if err != nil || len(fields) != len(n) {
			return specs.LinuxIDMapping{}, fmt.Errorf("option idmap: %q is not like 0-1000-1", text)
		}
		n[i] = uint32(v)
	}
	line := specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]}
	if !relative {
		return line, nil
	}
	for _, c := range container {
		if line.HostID >= c.ContainerID && line.HostID-c.ContainerID < c.Size && line.Size <= c.Size-(line.HostID-c.ContainerID) {
			line.HostID = c.HostID + (line.HostID - c.ContainerID)
			return line, nil
		}
	}
	return line, fmt.Errorf("option idmap: %q is not in the container's user namespace", text)
}

// checkIDMapped refuses what the kernel would.
func checkIDMapped(m *specs.Mount, o *mountOptions, host *Host) error {
	field := "uidMappings"
	if o.idmapped {
		field = "option \"idmap\""
	}
	switch {
	case len(m.UIDMappings)+len(m.GIDMappings) == 0 && !o.idmapped:
		return nil
	case !o.bind:
		return fmt.Errorf("mount %s: %s: only a bind mount can have other ids", m.Destination, field)
	case !host.Privileged:
		return fmt.Errorf("mount %s: %s: a mount with other ids takes CAP_SYS_ADMIN over its file system, which only root has (mount_setattr(2))", m.Destination, field)
	}
	return nil
}
