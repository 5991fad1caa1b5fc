package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// bundle writes a bundle around the staged root file system and returns its
// directory. Its program is /bin/true. The configuration has the mounts, masks and capabilities that
// `runc spec --rootless` gives, plus network and cgroup namespaces.
func (s *stage) bundle(name string, uids, gids []specs.LinuxIDMapping) (string, error) {
	return s.bundleOf(name, uids, gids, "/bin/true")
}

// sleeper is a bundle whose program does not end.
func (s *stage) sleeper(name string, uids, gids []specs.LinuxIDMapping) (string, error) {
	return s.bundleOf(name, uids, gids, "/bin/busybox", "sleep", "100000")
}

func (s *stage) bundleOf(name string, uids, gids []specs.LinuxIDMapping, args ...string) (string, error) {
	spec := rootlessSpec(s.path("rootfs"))
	spec.Process.Args = args
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = uids, gids
	return s.write(name, spec)
}

// filtered is a bundle with a seccomp profile of 300 rules, for the calls that
// docker's profile lets through.
func (s *stage) filtered(name string, uids, gids []specs.LinuxIDMapping) (string, error) {
	spec := rootlessSpec(s.path("rootfs"))
	spec.Process.Args = []string{"/bin/true"}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = uids, gids
	spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
	}
	names := seccomp.DefaultProfile().Syscalls[0].Names
	for n := range 300 {
		rule := names[n : n+1]
		if n == 299 {
			// On amd64 every program sets its thread's storage.
			rule = append(names[n:], "arch_prctl")
		}
		spec.Linux.Seccomp.Syscalls = append(spec.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: rule, Action: specs.ActAllow})
	}
	return s.write(name, spec)
}

func (s *stage) write(name string, spec *specs.Spec) (string, error) {
	dir := s.path(name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	text, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644)
}

func rootlessSpec(rootfs string) *specs.Spec {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Env:             []string{"PATH=/usr/bin:/bin", "TERM=xterm"},
			Cwd:             "/",
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Ambient: caps},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
			NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: rootfs, Readonly: true},
		Hostname: "bench",
		Mounts:   rootlessMounts(),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace},
				{Type: specs.UserNamespace},
			},
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func rootlessMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
	}
}

func oneID(id int) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(id), Size: 1}}
}

// withSubIDs maps 0 to the caller and 1.. to its range in file, whose lines
// are name:start:count (subuid(5)).
func withSubIDs(file string, s *stage, id int) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		part := strings.Split(lines.Text(), ":")
		if len(part) != 3 || part[0] != s.User && part[0] != strconv.Itoa(s.UID) {
			continue
		}
		start, err1 := strconv.ParseUint(part[1], 10, 32)
		count, err2 := strconv.ParseUint(part[2], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		second := specs.LinuxIDMapping{ContainerID: 1, HostID: uint32(start), Size: uint32(count)}
		return append(oneID(id), second), nil
	}
	return nil, errors.Join(lines.Err(), fmt.Errorf("%s: no range for %s", file, s.User))
}
