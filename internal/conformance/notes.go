package main

import "maps"

// notes says of programs why airplant, or everyone, fails them.
func notes() map[string]string {
	all := maps.Clone(versionOne)
	maps.Copy(all, map[string]string{
		"delete": "wants `delete` of a created container to be refused. " +
			"It is not, as with the peers: containerd deletes created tasks that way.",
		"hooks": "nobody can pass: the text that it compares with lacks six times \" called\", " +
			"and where nothing is wrong it dereferences a nil error.",
		"hooks_stdin": "reads the pid of `true` after `start`, when it has ended, and compares what hooks got before. " +
			"It also wants the status \"created\" in prestart, which we call \"creating\", as runc does: `create` has not finished.",
		"linux_process_apparmor_profile": "names a profile that no host has loaded: without AppArmor, or without the profile, " +
			"a program is not run unconfined.",
		"linux_ns_itype": "has no mount namespace, and mounts all the same, which would be on the host: refused. " +
			"The peers leave those mounts to the host.",
		"linux_ns_path": "one of its five containers joins a mount namespace and mounts there, " +
			"for all that live in it: refused. The other four pass.",
		"misc_props":        "its first container is to run /runtimetest, which it does not put there.",
		"mounts":            "rootless: a bind mount of the host's /etc gets the option strictatime, which the kernel locks for a user namespace.",
		"linux_mount_label": "labels mounts for SELinux, which this host has not got: refused. crun passes it over.",
		"pidfile": "kills `true` after it has ended, and wants no error; " +
			"the program kill_no_effect and the specification (runtime.md, Kill) want one.",
		"poststart": "a race: the hook runs once the program is executed, as it must, and may write its line before the program does.",
		"poststart_fail": "wants a warning, as version 1.0 of the specification did. " +
			"Since 1.3 a poststart hook that fails is an error and stops the container (runtime.md, Lifecycle, step 9).",
		"prestart": "wants prestart hooks in `start`. Since 1.1 they are part of `create` (config.md, Prestart).",
		"start": "wants `start` to succeed without `process`, beside a message that it MUST fail; " +
			"the specification wants an error (runtime.md, Start).",
	})
	return all
}

// versionOne are the programs that read files of cgroup version 1, and fail
// with everyone.
var versionOne = map[string]string{
	"linux_cgroups_memory":           noKernelMemory,
	"linux_cgroups_relative_memory":  noKernelMemory,
	"linux_cgroups_blkio":            noLeafWeight,
	"linux_cgroups_relative_blkio":   noLeafWeight,
	"linux_cgroups_hugetlb":          notMounted,
	"linux_cgroups_relative_hugetlb": notMounted,
	"linux_cgroups_network":          notMounted,
	"linux_cgroups_relative_network": notMounted,
}

const (
	noKernelMemory = "memory.kmem.limit_in_bytes reads as unlimited on newer kernels, so everyone fails."
	noLeafWeight   = "blkio.weight and blkio.leaf_weight went with the CFQ scheduler in Linux 5.0."
	notMounted     = "This host does not mount the controller."
)
