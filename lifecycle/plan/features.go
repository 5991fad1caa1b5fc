package plan

import (
	"maps"
	"slices"

	"airplant/lifecycle/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Features is what plans can express, from the tables that make them.
func Features() features.Features {
	yes, no := true, false
	options := []string{"bind", "rbind"}
	options = slices.AppendSeq(options, maps.Keys(attrOptions))
	for name := range attrOptions {
		options = append(options, "r"+name)
	}
	options = slices.AppendSeq(options, maps.Keys(propagationOptions))
	options = slices.AppendSeq(options, maps.Keys(plainOptions))
	slices.Sort(options)
	var kinds []string
	for _, n := range namespaceFlags {
		kinds = append(kinds, string(n.kind))
	}
	slices.Sort(kinds)
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  slices.Compact(options),
		Linux: &features.Linux{
			Namespaces:   kinds,
			Capabilities: AllCapabilities(),
			Cgroup:       &features.Cgroup{V1: &no, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: seccomp.Actions(), Operators: seccomp.Operators(), Archs: seccomp.Architectures(),
				KnownFlags: seccomp.Flags(), SupportedFlags: seccomp.Flags(),
			},
			Apparmor:        &features.Apparmor{Enabled: &no},
			Selinux:         &features.Selinux{Enabled: &no},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MemoryPolicy:    &features.MemoryPolicy{},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &no}},
			NetDevices:      &features.NetDevices{Enabled: &no},
		},
		PotentiallyUnsafeConfigAnnotations: []string{"run.oci.keep_original_groups"},
	}
}
