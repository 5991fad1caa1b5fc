package plan

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Check finds what is wrong with a configuration, or cannot be done.
func Check(spec *specs.Spec, host *Host) error {
	switch {
	case spec.Root == nil || spec.Root.Path == "":
		return errors.New("config.json has no root.path")
	case spec.Process == nil:
		return errors.New("config.json has no process")
	case len(spec.Process.Args) == 0 || spec.Process.Args[0] == "":
		return errors.New("process.args is empty")
	case !path.IsAbs(spec.Process.Cwd):
		return fmt.Errorf("process.cwd %q is not an absolute path", spec.Process.Cwd)
	case spec.Linux == nil:
		return errors.New("config.json has no linux section")
	}
	for _, check := range []func(*specs.Spec, *Host) error{checkStrings, checkNamespaces, checkMounts, checkSysctls, checkValues, checkCapabilities, checkHooks, checkAttributes, checkLabels, checkHostOnly} {
		if err := check(spec, host); err != nil {
			return err
		}
	}
	return nil
}

// DevicesHold reports whether the usual device rules hold by themselves, without
// a program on the container's cgroup:
// nothing but what was put there, because the process cannot make devices,
// being in a user namespace or without CAP_MKNOD.
func DevicesHold(spec *specs.Spec, host *Host) bool {
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.UserNamespace {
			return true
		}
	}
	sets, _ := capabilitySets(spec.Process.Capabilities)
	return !host.Initial || sets.bounding&(1<<unix.CAP_MKNOD) == 0
}

// checkStrings refuses strings that the kernel would cut short.
func checkStrings(spec *specs.Spec, _ *Host) error {
	p := spec.Process
	list := slices.Concat([]string{spec.Root.Path, spec.Hostname, spec.Domainname, p.Cwd}, p.Args, p.Env, spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths)
	for _, m := range spec.Mounts {
		list = append(list, m.Source, m.Destination, m.Type)
		list = append(list, m.Options...)
	}
	for _, n := range spec.Linux.Namespaces {
		list = append(list, n.Path)
	}
	for key, value := range spec.Linux.Sysctl {
		list = append(list, key, value)
	}
	for _, d := range spec.Linux.Devices {
		list = append(list, d.Path)
	}
	for _, s := range list {
		if err := birth.Terminated("config.json", s); err != nil {
			return err
		}
	}
	return nil
}

func checkNamespaces(spec *specs.Spec, host *Host) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	joinedUser := false
	for _, n := range spec.Linux.Namespaces {
		known := slices.ContainsFunc(namespaceFlags, func(f namespaceFlag) bool { return f.kind == n.Type })
		switch {
		case !known:
			return fmt.Errorf("linux.namespaces: unknown type %q", n.Type)
		case seen[n.Type]:
			return fmt.Errorf("linux.namespaces: %s is there twice", n.Type)
		case n.Path != "" && !path.IsAbs(n.Path):
			return fmt.Errorf("linux.namespaces: path %q is not absolute", n.Path)
		}
		seen[n.Type] = true
		joinedUser = joinedUser || n.Type == specs.UserNamespace && n.Path != ""
	}
	l := spec.Linux
	switch {
	case !seen[specs.MountNamespace]:
		return errors.New("linux.namespaces: without a mount namespace there is no root filesystem")
	case !seen[specs.UserNamespace] && !host.Privileged:
		return errors.New("linux.namespaces: only root can make a container without a user namespace; `airplant oci spec --rootless` writes a config.json with one")
	case joinedUser && len(l.UIDMappings)+len(l.GIDMappings) > 0:
		return errors.New("linux.uidMappings: a user namespace that is joined has its maps already")
	case spec.Hostname != "" && !seen[specs.UTSNamespace]:
		return errors.New("hostname is set without a uts namespace")
	case spec.Domainname != "" && !seen[specs.UTSNamespace]:
		return errors.New("domainname is set without a uts namespace")
	case len(l.TimeOffsets) > 0 && !createsNamespace(spec, specs.TimeNamespace):
		return errors.New("linux.timeOffsets is set without a new time namespace")
	case slices.ContainsFunc(slices.Collect(maps.Keys(l.TimeOffsets)), func(c string) bool { return c != "monotonic" && c != "boottime" }):
		return errors.New("linux.timeOffsets: only the clocks monotonic and boottime have offsets")
	}
	return checkJoinedMounts(spec)
}

// checkJoinedMounts refuses what would change the mounts of all that live in a
// mount namespace that is joined.
func checkJoinedMounts(spec *specs.Spec) error {
	if createsNamespace(spec, specs.MountNamespace) {
		return nil
	}
	l := spec.Linux
	for _, f := range []struct {
		name string
		used bool
	}{
		{"mounts", len(spec.Mounts) > 0},
		{"root.readonly", spec.Root.Readonly},
		{"linux.maskedPaths", len(l.MaskedPaths) > 0},
		{"linux.readonlyPaths", len(l.ReadonlyPaths) > 0},
		{"linux.devices", len(l.Devices) > 0},
		{"linux.rootfsPropagation", l.RootfsPropagation != ""},
	} {
		if f.used {
			return fmt.Errorf("%s: the container joins a mount namespace, and would change it for all that live there", f.name)
		}
	}
	if len(l.Sysctl) > 0 {
		return errors.New("linux.sysctl: the container joins a mount namespace, and its /proc may be anything")
	}
	return nil
}

// checkHostOnly refuses what acts on the host itself, and so is its root's.
func checkHostOnly(spec *specs.Spec, host *Host) error {
	l := spec.Linux
	switch {
	case len(l.NetDevices) > 0 && !createsNamespace(spec, specs.NetworkNamespace) && !hasNamespace(spec, specs.NetworkNamespace):
		return errors.New("linux.netDevices is set without a network namespace")
	case len(l.NetDevices) > 0 && !host.Privileged:
		return errors.New("linux.netDevices: to take a device out of the host's network namespace takes CAP_NET_ADMIN there, which only root has")
	case l.IntelRdt != nil && !host.Privileged:
		return errors.New("linux.intelRdt: the resctrl filesystem belongs to the host's root")
	}
	return nil
}

func createsNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind && n.Path == "" })
}

func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// procFiles may be mounted over inside /proc, as lxcfs does. Anything else
// there could redirect what runtimes write to (CVE-2019-16884).
var procFiles = []string{
	"cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled", "net/dev",
}

func checkMounts(spec *specs.Spec, host *Host) error {
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		o, err := parseOptions(m)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		if err := checkIDMapped(m, &o, host); err != nil {
			return err
		}
		dest := path.Clean("/" + m.Destination)
		below, ok := strings.CutPrefix(dest, "/proc/")
		switch {
		case dest == "/":
			return fmt.Errorf("mount %s: the root filesystem is root.path", m.Destination)
		case dest == "/proc" && !showsProcesses(m):
			return fmt.Errorf("mount %s: only a proc filesystem can be there", m.Destination)
		case ok && !slices.Contains(procFiles, below):
			return fmt.Errorf("mount %s: only some files of /proc may be covered", m.Destination)
		}
	}
	return nil
}

// showsProcesses reports whether a mount is a proc, a new one or the host's.
func showsProcesses(m *specs.Mount) bool {
	o, err := parseOptions(m)
	if err == nil && o.bind {
		return path.Clean(m.Source) == "/proc"
	}
	return m.Type == "proc"
}

// checkSysctls lets through what belongs to a namespace of the container's
// own; anything else would change the host.
func checkSysctls(spec *specs.Spec, _ *Host) error {
	for _, key := range slices.Sorted(maps.Keys(spec.Linux.Sysctl)) {
		name := strings.ReplaceAll(path.Clean("/" + sysctlPath(key))[1:], "/", ".")
		kind, ok := sysctlNamespace(name)
		if !ok {
			return fmt.Errorf("linux.sysctl: %q does not belong to a namespace", key)
		}
		if !hasNamespace(spec, kind) {
			return fmt.Errorf("linux.sysctl: %q needs a %s namespace of the container's own", key, kind)
		}
	}
	return nil
}

func sysctlNamespace(name string) (specs.LinuxNamespaceType, bool) {
	switch {
	case strings.HasPrefix(name, "net."):
		return specs.NetworkNamespace, true
	case strings.HasPrefix(name, "fs.mqueue."), slices.Contains([]string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
	}, name):
		return specs.IPCNamespace, true
	case name == "kernel.domainname":
		return specs.UTSNamespace, true
	}
	return "", false
}

func checkValues(spec *specs.Spec, _ *Host) error {
	for _, l := range spec.Process.Rlimits {
		if !rlimits.Has(l.Type) {
			return fmt.Errorf("process.rlimits: unknown type %q", l.Type)
		}
	}
	if p := spec.Linux.RootfsPropagation; p != "" && !propagationOptions.Has(p) {
		return fmt.Errorf("linux.rootfsPropagation: unknown value %q", p)
	}
	for _, d := range spec.Linux.Devices {
		if !slices.Contains([]string{"c", "u", "b", "p"}, d.Type) || !path.IsAbs(d.Path) {
			return fmt.Errorf("linux.devices: %s: bad type %q or path", d.Path, d.Type)
		}
	}
	if size := spec.Process.ConsoleSize; size != nil && (size.Height > 65535 || size.Width > 65535) {
		return errors.New("process.consoleSize is too large")
	}
	return nil
}
