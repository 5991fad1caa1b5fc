package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"airplant/fsfuse"
	"airplant/lifecycle"
	"airplant/lifecycle/plan"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden plans")

// user is a host as a normal user sees it, always the same.
func user() *plan.Host {
	return &plan.Host{
		UID: 1000, GID: 1000, LastCap: 40, NoFile: [2]uint64{1024, 524288},
		Unified: true, Cgroup: "/user.slice/user-1000.slice/session-1.scope", Home: "/root",
	}
}

// engine is uid 0 of a user namespace that somebody else made.
func engine() *plan.Host {
	h := user()
	h.UID, h.GID, h.Privileged = 0, 0, true
	return h
}

func root() *plan.Host {
	h := engine()
	h.Initial = true
	return h
}

func oneID() *specs.Spec {
	spec := lifecycle.Example()
	lifecycle.Unprivileged(spec, userns.One(1000, 1000, 0, 0))
	return spec
}

var subordinate = []userns.Range{{First: 100000, Count: 65536}}

func subids(keep bool) *specs.Spec {
	m := userns.Ranges(1000, 1000, subordinate, subordinate)
	if keep {
		m = userns.KeepID(1000, 1000, 1000, 1000, subordinate, subordinate)
	}
	spec := lifecycle.Example()
	lifecycle.Unprivileged(spec, m)
	return spec
}

func load(t *testing.T, name string) *specs.Spec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	spec := &specs.Spec{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// with changes a configuration.
func with(spec *specs.Spec, change func(*specs.Spec)) *specs.Spec {
	change(spec)
	return spec
}

func noTerminal(s *specs.Spec) { s.Process.Terminal = false }

// joining takes the place of a namespace's creation.
func joining(path string, kinds ...specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		noTerminal(s)
		for i := range s.Linux.Namespaces {
			if n := &s.Linux.Namespaces[i]; slices.Contains(kinds, n.Type) {
				n.Path = path + "/" + string(n.Type)
				if n.Type == specs.UserNamespace {
					s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
				}
			}
		}
	}
}

func withTime(s *specs.Spec) {
	noTerminal(s)
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 172800, Nanosecs: 7}, "boottime": {Secs: 86400}}
}

// rich uses what the examples do not.
func rich(s *specs.Spec) {
	noTerminal(s)
	umask, score := uint32(0o027), 500
	p := s.Process
	p.Args, p.Cwd = []string{"/usr/bin/env", "-0"}, "/srv/app"
	p.User = specs.User{UID: 33, GID: 34, Umask: &umask, AdditionalGids: []uint32{5, 6}}
	p.OOMScoreAdj, p.NoNewPrivileges = &score, false
	p.Capabilities.Inheritable = []string{"CAP_KILL"}
	p.Capabilities.Ambient = []string{"CAP_KILL"}
	p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 0, Hard: 1<<64 - 1}}
	s.Domainname = "example.org"
	s.Linux.Sysctl = map[string]string{"net.ipv4.conf.eth0/1.rp_filter": "2", "kernel/shmmax": "65536"}
	s.Linux.RootfsPropagation = "rslave"
	s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}}
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/data/deep", Source: "data", Type: "bind", Options: []string{"rbind", "rro", "nosuid"}},
		specs.Mount{Destination: "/etc/hosts", Source: "/srv/hosts", Type: "none", Options: []string{"bind", "ro", "rslave"}})
}

// filtered has a filter, with or without the privilege to install one.
func filtered(act specs.LinuxSeccompAction, noNew bool) func(*specs.Spec) {
	return func(s *specs.Spec) {
		noTerminal(s)
		s.Process.NoNewPrivileges = noNew
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: "/run/agent", Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mount", "write"}, Action: act}},
		}
	}
}

// mounted has mounts of all kinds.
func mounted(s *specs.Spec) {
	noTerminal(s)
	s.Mounts = append(s.Mounts[:2:2],
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "ro", "sync"}},
		specs.Mount{Destination: "/tmp", Options: []string{"remount", "noexec", "size=1m"}},
		specs.Mount{Destination: "/etc/localtime", Source: "/etc/localtime", Type: "bind", Options: []string{"copy-symlink", "ro"}},
		specs.Mount{Destination: "/link", Source: "/data/link", Type: "bind", Options: []string{"src-nofollow", "dest-nofollow", "rrelatime"}})
}

// labelled has labels of both modules.
func labelled(s *specs.Spec) {
	noTerminal(s)
	s.Process.ApparmorProfile, s.Process.SelinuxLabel = "container-default", "system_u:system_r:container_t:s0:c1,c2"
	s.Linux.MountLabel = "system_u:object_r:container_file_t:s0:c1,c2"
}

// landlocked has rules of all kinds.
func landlocked(s *specs.Spec) {
	noTerminal(s)
	s.Annotations = map[string]string{"org.airplant.landlock": `{"fs": [{"paths": ["/foreign"], "access": "rx"}], "connect": [443], "scope": ["signal"]}`}
}

// foreignIDs has a mount that shows other owners.
func foreignIDs(s *specs.Spec) {
	noTerminal(s)
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
	s.Mounts = append(s.Mounts[:1:1], specs.Mount{Destination: "/data", Source: "/data", Type: "bind", UIDMappings: ids, GIDMappings: ids})
	s.Linux.RootfsPropagation = "rshared"
}

func bundle(o plan.Options) *plan.Options {
	o.Bundle = "/srv/bundle"
	return &o
}

var layers = &fsfuse.Overlay{Lower: []string{"/store/b", "/store/a"}, Upper: "/box/upper", Work: "/box/work", At: "/box/root", Mode: 0o755}

var hostRoot = &fsfuse.Overlay{At: "/box/root", Parts: []fsfuse.Part{
	{Path: "/usr", Mode: 0o755, Overlay: true}, {Path: "/bin", Link: "usr/bin"}, {Path: "/tmp", Mode: 0o1777},
}}

// TestGoldenPlans compares whole plans with testdata/NAME.plan; -update writes
// them. Whoever changes what containers are made of sees it there.
func TestGoldenPlans(t *testing.T) {
	ignoring := user()
	ignoring.Ignored = 1<<(unix.SIGPIPE-1) | 1<<(unix.SIGHUP-1)
	noCgroup2 := user()
	noCgroup2.Unified = false
	landlocking := user()
	landlocking.Landlock = 6
	modules := user()
	modules.AppArmor, modules.SELinux = true, true
	for name, c := range map[string]struct {
		spec *specs.Spec
		host *plan.Host
		opts plan.Options
	}{
		"default":        {spec: oneID(), host: user()},
		"runc":           {spec: load(t, "runc.json"), host: noCgroup2},
		"podman":         {spec: load(t, "podman.json"), host: engine(), opts: plan.Options{Wait: true}},
		"subids":         {spec: with(subids(false), noTerminal), host: user()},
		"subids-rich":    {spec: with(subids(false), rich), host: ignoring},
		"keep-id":        {spec: with(subids(true), noTerminal), host: user()},
		"keep-one-id":    {spec: keepOne(), host: user()},
		"create":         {spec: oneID(), host: user(), opts: plan.Options{Wait: true, PreserveFDs: 3, ListenFDs: 2}},
		"root":           {spec: lifecycle.Example(), host: root()},
		"root-rich":      {spec: with(lifecycle.Example(), rich), host: root()},
		"join":           {spec: with(oneID(), joining("/proc/1/ns", specs.UserNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.PIDNamespace)), host: user()},
		"join-as-engine": {spec: with(load(t, "podman.json"), joining("/run/ns", specs.NetworkNamespace)), host: engine(), opts: plan.Options{Wait: true}},
		"mounts":         {spec: with(oneID(), mounted), host: user()},
		"labels":         {spec: with(oneID(), labelled), host: modules},
		"root-idmap":     {spec: with(lifecycle.Example(), foreignIDs), host: root()},
		"join-time":      {spec: with(with(oneID(), withTime), joining("/proc/1/ns", specs.UserNamespace)), host: user()},
		"landlock":       {spec: with(oneID(), landlocked), host: landlocking},
		"time":           {spec: with(oneID(), withTime), host: user()},
		"no-pivot":       {spec: with(oneID(), noTerminal), host: user(), opts: plan.Options{NoPivot: true, NoNewKeyring: true, DieWithParent: true}},
		"seccomp":        {spec: with(oneID(), filtered(specs.ActErrno, false)), host: user()},
		"seccomp-notify": {spec: with(with(oneID(), withTime), filtered(specs.ActNotify, true)), host: user(), opts: plan.Options{Wait: true}},
		"overlay":        {spec: with(oneID(), noTerminal), host: user(), opts: plan.Options{Overlay: layers}},
		"overlay-parts":  {spec: with(oneID(), noTerminal), host: user(), opts: plan.Options{Overlay: hostRoot}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := plan.New(c.spec, c.host, bundle(c.opts))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Complete(); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".plan"), p.Explain())
		})
	}
}

func keepOne() *specs.Spec {
	spec := lifecycle.Example()
	lifecycle.Unprivileged(spec, userns.One(1000, 1000, 1000, 1000))
	spec.Process.Terminal, spec.Process.User = false, specs.User{UID: 1000, GID: 1000}
	return spec
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for n := range max(len(a), len(b)) {
		if n >= len(a) || n >= len(b) || a[n] != b[n] {
			t.Fatalf("%s:%d differs; `go test ./lifecycle/plan -update` writes it anew\nwant %s\ngot  %s", file, n+1, line(a, n), line(b, n))
		}
	}
}

func line(list []string, n int) string {
	if n < len(list) {
		return list[n]
	}
	return "(end)"
}
