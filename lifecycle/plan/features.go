package plan

import (
	"slices"

	"airplant/internal/lookup"
	"airplant/lifecycle/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Features is what plans can express, from the tables that make them.
func Features() features.Features {
	no, yes := false, true
	var kinds []string
	for _, n := range namespaceFlags {
		kinds = append(kinds, string(n.kind))
	}
	slices.Sort(kinds)
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  mountOptionNames(),
		Linux: &features.Linux{
			Namespaces:   kinds,
			Capabilities: AllCapabilities(),
			Cgroup:       &features.Cgroup{V1: &no, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: seccomp.Actions(), Operators: seccomp.Operators(), Archs: seccomp.Architectures(),
				KnownFlags: seccomp.Flags(), SupportedFlags: seccomp.Flags(),
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: names(memoryPolicies), Flags: names(memoryPolicyFlags)},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
		PotentiallyUnsafeConfigAnnotations: []string{"run.oci.keep_original_groups"},
	}
}

// mountOptionNames are the options that are not the file system's.
func mountOptionNames() []string {
	list := slices.Concat(names(attrOptions), names(treeOptions), names(propagationOptions), superOptions, plainOptions, names(ownOptions))
	for _, name := range attrOptions.Keys() {
		list = append(list, "r"+name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// names are the keys of a table, in order.
func names[K ~string, V any](table lookup.Table[K, V]) []string {
	var list []string
	for _, k := range table.Keys() {
		list = append(list, string(k))
	}
	slices.Sort(list)
	return list
}
