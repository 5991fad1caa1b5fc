package plan_test

import (
	"strings"
	"testing"

	"airplant/lifecycle"
	"airplant/lifecycle/plan"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func rootSpec() *specs.Spec { return lifecycle.Example() }

// TestWrongConfigurations: each with a part of the error that says what.
func TestWrongConfigurations(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"no root.path":                   func(s *specs.Spec) { s.Root = nil },
		"config.json has no root.path":   func(s *specs.Spec) { s.Root.Path = "" },
		"no process":                     func(s *specs.Spec) { s.Process = nil },
		"process.args is empty":          func(s *specs.Spec) { s.Process.Args = nil },
		"args is empty":                  func(s *specs.Spec) { s.Process.Args = []string{""} },
		`cwd "tmp" is not an absolute`:   func(s *specs.Spec) { s.Process.Cwd = "tmp" },
		`cwd "" is not an absolute path`: func(s *specs.Spec) { s.Process.Cwd = "" },
		"no linux section":               func(s *specs.Spec) { s.Linux = nil },

		`unknown type "galaxy"`:     namespace(specs.LinuxNamespace{Type: "galaxy"}),
		"pid is there twice":        namespace(specs.LinuxNamespace{Type: specs.PIDNamespace}),
		`path "ns" is not absolute`: namespace(specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "ns"}),
		"without a mount namespace": without(specs.MountNamespace),
		"only root can make":        without(specs.UserNamespace),
		"hostname is set without":   without(specs.UTSNamespace),
		"domainname is set without": func(s *specs.Spec) { without(specs.UTSNamespace)(s); s.Hostname, s.Domainname = "", "x" },
		"timeOffsets is set":        func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}} },
		"has its maps already": func(s *specs.Spec) {
			joining("/run/ns", specs.UserNamespace)(s)
			s.Linux.GIDMappings = []specs.LinuxIDMapping{{Size: 1}}
		},
		"needs linux.uidMappings and linux.gidMappings": func(s *specs.Spec) { s.Linux.GIDMappings = nil },

		"process.user.uid 5 is not in":    func(s *specs.Spec) { s.Process.User.UID = 5 },
		"group 5 is not in":               func(s *specs.Spec) { s.Process.User.GID = 5 },
		"group 7 is not in":               func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{0, 7} },
		"without subordinate ids":         func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{0} },
		`"uid=5": the id is not mapped`:   mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"uid=5"}}),
		`"gid=5": the id is not mapped`:   mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"gid=5"}}),
		`option "uid=-1"`:                 mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"uid=-1"}}),
		`option "gid=4294967296"`:         mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"gid=4294967296"}}),
		"has no meaning for a bind mount": mount(specs.Mount{Destination: "/x", Source: "/y", Type: "bind", Options: []string{"mode=700", "readonly"}}),

		`process.apparmorProfile "x": AppArmor is not`: func(s *specs.Spec) { s.Process.ApparmorProfile = "x" },
		`process.selinuxLabel "x": SELinux is not`:     func(s *specs.Spec) { s.Process.SelinuxLabel = "x" },
		`linux.mountLabel "x": SELinux is not`:         func(s *specs.Spec) { s.Linux.MountLabel = "x" },
		"linux.intelRdt: the resctrl filesystem":       func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"linux.netDevices: to take a device out":       func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"e": {}} },
		"linux.netDevices is set without a network": func(s *specs.Spec) {
			without(specs.NetworkNamespace)(s)
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"e": {}}
		},
		"uidMappings: a mount with other ids takes": mount(specs.Mount{Destination: "/x", Source: "/y", Type: "bind", UIDMappings: []specs.LinuxIDMapping{{Size: 1}}}),
		"mount /g: uidMappings: a mount with":       mount(specs.Mount{Destination: "/g", Source: "/y", Type: "bind", GIDMappings: []specs.LinuxIDMapping{{Size: 1}}}),
		`"idmap": a mount with other ids takes`:     mount(specs.Mount{Destination: "/x", Source: "/y", Type: "bind", Options: []string{"bind", "idmap"}}),
		`"idmap": only a bind mount`:                mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"ridmap"}}),
		`"tmpcopyup" is for a tmpfs`:                mount(specs.Mount{Destination: "/x", Source: "/y", Type: "bind", Options: []string{"tmpcopyup"}}),
		"are for bind mounts":                       mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"copy-symlink"}}),
		`"remount" only changes`:                    mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"remount", "tmpcopyup"}}),
		"mounts: the container joins a mount":       joining("/run/ns", specs.MountNamespace),
		"only the clocks monotonic and boottime": func(s *specs.Spec) {
			withTime(s)
			s.Linux.TimeOffsets["realtime"] = specs.LinuxTimeOffset{Secs: 1}
		},

		"unknown type \"RLIMIT_FUN\"":      func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_FUN" },
		"linux.rootfsPropagation":          func(s *specs.Spec) { s.Linux.RootfsPropagation = "never" },
		"/dev/x: bad type":                 device("/dev/x", "z"),
		"dev/x: bad type \"c\" or path":    device("dev/x", "c"),
		"process.consoleSize is too large": func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Width: 65536} },
		`unknown capability "CAP_FLY"`:     func(s *specs.Spec) { s.Version, s.Process.Capabilities.Ambient = "1.0.2", []string{"CAP_FLY"} },
	} {
		spec := oneID()
		change(spec)
		if err := refuse(spec, user()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func namespace(n specs.LinuxNamespace) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, n) }
}

func without(kind specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		var kept []specs.LinuxNamespace
		for _, n := range s.Linux.Namespaces {
			if n.Type != kind {
				kept = append(kept, n)
			}
		}
		s.Linux.Namespaces = kept
	}
}

func device(path, kind string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: path, Type: kind}} }
}

// TestMountsOnProc: nothing may hide or change what is written to and read
// from /proc while a container is made (CVE-2019-16884).
func TestMountsOnProc(t *testing.T) {
	for _, m := range []specs.Mount{
		{Destination: "/proc/self/attr", Type: "tmpfs"},
		{Destination: "/proc/sys", Type: "bind", Source: "/x"},
		{Destination: "proc//self/../1", Type: "bind", Source: "/x"},
		{Destination: "/x/../proc/1", Type: "bind", Source: "/x"},
		{Destination: "/../proc/meminfo/../sys", Type: "bind", Source: "/x"},
		{Destination: "/proc", Type: "tmpfs"},
		{Destination: "/proc", Type: "bind", Source: "/x"},
		{Destination: "/proc/", Type: "proc", Source: "/x", Options: []string{"rbind"}},
		{Destination: "/", Type: "tmpfs"},
		{Destination: "/x/..", Type: "bind", Source: "/y"},
	} {
		if err := refuse(with(oneID(), mount(m)), user()); err == nil || !strings.HasPrefix(err.Error(), "mount "+m.Destination+": ") {
			t.Errorf("%s on %s: %v", m.Type, m.Destination, err)
		}
	}
	for _, m := range []specs.Mount{
		{Destination: "/proc/meminfo", Type: "bind", Source: "/x"},
		{Destination: "/proc/net/dev", Type: "bind", Source: "/x"},
		{Destination: "/proc", Type: "none", Source: "/proc", Options: []string{"rbind"}},
		{Destination: "/procedures/x", Type: "tmpfs"},
	} {
		if err := refuse(with(oneID(), mount(m)), user()); err != nil {
			t.Errorf("%s on %s: %v", m.Type, m.Destination, err)
		}
	}
}

// TestSysctls: only what belongs to a namespace of the container's own.
func TestSysctls(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":           "",
		"net/ipv4/ip_forward":           "",
		"net.ipv4.conf.eth0/1.x":        "",
		"fs.mqueue.msg_max":             "",
		"kernel/shmmax":                 "",
		"kernel.shm_rmid_forced":        "",
		"kernel.domainname":             "",
		"kernel.hostname":               "does not belong",
		"vm.swappiness":                 "does not belong",
		"kernel.core_pattern":           "does not belong",
		"kernel/core_pattern":           "does not belong",
		"net/../kernel/core_pattern":    "does not belong",
		"net//..//kernel/core_pattern":  "does not belong",
		"net.//.kernel.core_pattern":    "does not belong",
		"kernel.shmmax/../core_pattern": "does not belong",
		"fs.mqueue":                     "does not belong",
		"":                              "does not belong",
	} {
		err := refuse(with(oneID(), func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{name: "1"} }), user())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	for name, kind := range map[string]specs.LinuxNamespaceType{"net.x": specs.NetworkNamespace, "kernel.sem": specs.IPCNamespace, "kernel.domainname": specs.UTSNamespace} {
		spec := with(oneID(), without(kind))
		spec.Hostname, spec.Linux.Sysctl = "", map[string]string{name: "1"}
		if err := refuse(spec, user()); err == nil || !strings.Contains(err.Error(), "needs a "+string(kind)+" namespace") {
			t.Errorf("%s in the host's namespace: %v", name, err)
		}
	}
}

// TestWhoWritesTheMaps: a map of the caller's own id alone needs nobody's help.
func TestWhoWritesTheMaps(t *testing.T) {
	for _, c := range []struct {
		spec *specs.Spec
		host *plan.Host
		want userns.MapBy
	}{
		{oneID(), user(), userns.MapSelf},
		{subids(false), user(), userns.MapHelpers},
		{subids(true), user(), userns.MapHelpers},
		{oneID(), root(), userns.MapDirect},
		{oneID(), engine(), userns.MapDirect},
		{rootSpec(), root(), userns.MapNone},
	} {
		p, err := plan.New(c.spec, c.host, bundle(plan.Options{}))
		if err != nil || p.MapBy != c.want {
			t.Errorf("by %q, want %q (%v)", p.MapBy, c.want, err)
		}
	}
}

// TestJoinedMountNamespace: what would change the mounts of others is refused
// by name, one after the other.
func TestJoinedMountNamespace(t *testing.T) {
	bare := func() *specs.Spec {
		s := with(oneID(), joining("/run/ns", specs.MountNamespace, specs.UserNamespace))
		s.Mounts, s.Root.Readonly, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, false, nil, nil
		return s
	}
	if err := refuse(bare(), user()); err != nil {
		t.Errorf("nothing to mount: %v", err)
	}
	for want, change := range map[string]func(*specs.Spec){
		"mounts: ":                  mount(specs.Mount{Destination: "/x", Type: "tmpfs"}),
		"root.readonly: ":           func(s *specs.Spec) { s.Root.Readonly = true },
		"linux.maskedPaths: ":       func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/x"} },
		"linux.readonlyPaths: ":     func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/x"} },
		"linux.devices: ":           device("/dev/x", "c"),
		"linux.rootfsPropagation: ": func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" },
		"linux.sysctl: ":            func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.x": "1"} },
	} {
		if err := refuse(with(bare(), change), user()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
