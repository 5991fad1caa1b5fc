package cgroup

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// compileV1 makes the writes of a list of rules: "allow c 1:3 rwm". The kernel
// keeps a default and a list of exceptions to it (Documentation/admin-guide/
// cgroup-v1/devices.rst), so it cannot take back a part of an exception. A rule
// that does is refused: it would restrict less than it says.
func compileV1(rules []deviceRule) ([]string, error) {
	writes := []string{"deny a"}
	allowAll := false
	var exceptions []deviceRule
	for _, r := range expand(rules) {
		if r.kind < 0 {
			writes, allowAll, exceptions = append(writes, r.textV1()), r.allow, nil
			continue
		}
		if r.allow == allowAll {
			for _, x := range exceptions {
				if x.overlaps(r) && !x.sameDevices(r) {
					return nil, fmt.Errorf("resources.devices: version 1 of cgroups cannot express %q after %q", r.textV1(), x.textV1())
				}
			}
			exceptions = slices.DeleteFunc(exceptions, func(x deviceRule) bool { return x.sameDevices(r) && x.access&^r.access == 0 })
		} else {
			exceptions = append(exceptions, r)
		}
		writes = append(writes, r.textV1())
	}
	return writes, nil
}

// expand makes rules for both kinds of devices of those that are for both, and
// not for all there is.
func expand(rules []deviceRule) (list []deviceRule) {
	for _, r := range rules {
		if r.kind >= 0 || r.major < 0 && r.minor < 0 && r.access == accAll {
			list = append(list, r)
			continue
		}
		block, char := r, r
		block.kind, char.kind = devBlock, devChar
		list = append(list, block, char)
	}
	return list
}

func (r deviceRule) sameDevices(o deviceRule) bool {
	return r.kind == o.kind && r.major == o.major && r.minor == o.minor
}

func (r deviceRule) overlaps(o deviceRule) bool {
	meet := func(a, b int64) bool { return a < 0 || b < 0 || a == b }
	return r.kind == o.kind && meet(r.major, o.major) && meet(r.minor, o.minor) && r.access&o.access != 0
}

func (r deviceRule) textV1() string {
	verb, number := "deny", func(n int64) string {
		if n < 0 {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	if r.allow {
		verb = "allow"
	}
	if r.kind < 0 {
		return verb + " a"
	}
	kind, access := "c", ""
	if r.kind == devBlock {
		kind = "b"
	}
	for _, a := range "rwm" {
		if r.access&(1<<strings.IndexRune("mrw", a)) != 0 {
			access += string(a)
		}
	}
	return fmt.Sprintf("%s %s %s:%s %s", verb, kind, number(r.major), number(r.minor), access)
}

// devicesV1 replaces the rules of the group. The first takes all away.
func (g *Group) devicesV1(writes []string) error {
	if len(writes) == 0 {
		return nil
	}
	d, ok := g.controller("devices")
	if !ok {
		return fmt.Errorf("resources.devices: %w: devices", ErrController)
	}
	for _, w := range writes {
		verb, rule, _ := strings.Cut(w, " ")
		if err := d.write("devices."+verb, rule); err != nil {
			return err
		}
	}
	return nil
}

// rulesV1 is linux.resources.devices for devices.allow and devices.deny, in
// order.
func rulesV1(rules []specs.LinuxDeviceCgroup) ([]string, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	all, err := parseDevices(rules)
	if err != nil {
		return nil, err
	}
	return compileV1(all)
}
