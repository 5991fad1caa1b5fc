package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// apply writes settings. What a kernel has no file for is ErrController.
func (d dir) apply(list []setting) error {
	for i := 0; i < len(list); i++ {
		err := d.applyOne(list[i])
		// A burst may not exceed the quota: when both shrink, the burst has
		// to go first.
		if errors.Is(err, unix.EINVAL) && list[i].files[0] == "cpu.max" &&
			i+1 < len(list) && list[i+1].files[0] == "cpu.max.burst" {
			if err = d.applyOne(list[i+1]); err == nil {
				err = d.applyOne(list[i])
				i++
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d dir) applyOne(s setting) error {
	for _, file := range s.files {
		value := s.value
		if s.keep {
			now, err := d.words(file)
			if err == nil && len(now) > 0 {
				value = now[0] + " " + value
			}
		}
		err := d.write(file, value)
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if s.optional {
		return nil
	}
	have, err := d.words("cgroup.controllers")
	if err != nil {
		return err
	}
	if s.controller != "cgroup" && !slices.Contains(have, s.controller) {
		return fmt.Errorf("%s in %s: %w: %s", s.files[0], d.file.Name(), ErrController, s.controller)
	}
	return fmt.Errorf("%s in %s: %w: the kernel has no such file", s.files[0], d.file.Name(), ErrController)
}

// checkMemory refuses a limit that would kill at once, if that is asked for.
func (d dir) checkMemory(r *specs.LinuxResources, file string) error {
	m := r.Memory
	if m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || m.Limit == nil || *m.Limit <= 0 {
		return nil
	}
	text, err := d.read(file)
	if err != nil {
		return err
	}
	used, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return err
	}
	if *m.Limit < used {
		return fmt.Errorf("memory.limit %d is lower than the %d bytes in use", *m.Limit, used)
	}
	return nil
}

// Update changes the limits that are set in r and leaves the others. Device
// rules, if there are any, replace those before.
func (g *Group) Update(r *specs.LinuxResources) error {
	if len(g.parts) > 0 {
		return g.updateV1(r)
	}
	list, err := settings(r)
	if err != nil || r == nil {
		return err
	}
	if err := g.dir.checkMemory(r, "memory.current"); err != nil {
		return err
	}
	// systemd would otherwise write its older values again when it reloads.
	if g.place.Unit != "" {
		if err := updateUnit(g.place, r); err != nil {
			return err
		}
	}
	if err := g.dir.apply(list); err != nil {
		return err
	}
	return g.devices(r.Devices)
}
