package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// splitList splits at commas and drops what is empty.
func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// maxCPU bounds what a list may name: more than any kernel is built for.
const maxCPU = 1 << 16

// bounds reads "3" or "0-2".
func bounds(r string) (from, to int, err error) {
	low, high, isRange := strings.Cut(r, "-")
	if !isRange {
		high = low
	}
	f, err1 := strconv.ParseUint(low, 10, 32)
	t, err2 := strconv.ParseUint(high, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	if f > t || t >= maxCPU {
		return 0, 0, fmt.Errorf("range %s", r)
	}
	return int(f), int(t), nil
}

// hugepages limits pages and, where the kernel counts them, reservations: a
// process that cannot reserve is refused by mmap instead of killed later.
func hugepages(r *specs.LinuxResources) ([]setting, error) {
	var list []setting
	for _, h := range r.HugepageLimits {
		size := strings.TrimRight(h.Pagesize, "KMGB")
		if _, err := strconv.ParseUint(size, 10, 32); err != nil || !slices.Contains([]string{"KB", "MB", "GB"}, h.Pagesize[len(size):]) {
			return nil, fmt.Errorf("resources.hugepageLimits: page size %q: it must be like 2MB", h.Pagesize)
		}
		value := strconv.FormatUint(h.Limit, 10)
		reserved := set("hugetlb."+h.Pagesize+".rsvd.max", value)
		reserved.optional = true // Linux 5.7
		list = append(list, set("hugetlb."+h.Pagesize+".max", value), reserved)
	}
	return list, nil
}

func rdma(r *specs.LinuxResources) ([]setting, error) {
	var list []setting
	for _, device := range slices.Sorted(maps.Keys(r.Rdma)) {
		if device == "" || strings.ContainsAny(device, " \t\n=") {
			return nil, fmt.Errorf("resources.rdma: device %q", device)
		}
		value, limits := device, r.Rdma[device]
		if limits.HcaHandles != nil {
			value += fmt.Sprintf(" hca_handle=%d", *limits.HcaHandles)
		}
		if limits.HcaObjects != nil {
			value += fmt.Sprintf(" hca_object=%d", *limits.HcaObjects)
		}
		if value != device {
			list = append(list, set("rdma.max", value))
		}
	}
	return list, nil
}

// network was two controllers of version 1 that mark packets.
func network(r *specs.LinuxResources) ([]setting, error) {
	n := r.Network
	if n != nil && (n.ClassID != nil && *n.ClassID != 0 || len(n.Priorities) > 0) {
		return nil, unsupported("network", "match the cgroup by nftables' socket cgroupv2")
	}
	return nil, nil
}

// controllers are those that have settings.
var controllers = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem"}

// unified are files by name. The names come from a bundle, and a file could
// kill, thaw or move: only settings of controllers and two bounds are let
// through.
func unified(r *specs.LinuxResources) ([]setting, error) {
	var list []setting
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		controller, rest, _ := strings.Cut(file, ".")
		known := slices.Contains(controllers, controller) ||
			file == "cgroup.max.depth" || file == "cgroup.max.descendants"
		if !known || rest == "" || strings.ContainsAny(file, "/\x00\n") || strings.Contains(file, "..") {
			return nil, fmt.Errorf("resources.unified: %q is not a setting of a controller", file)
		}
		for line := range strings.Lines(r.Unified[file]) {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, set(file, line))
			}
		}
	}
	return list, nil
}
