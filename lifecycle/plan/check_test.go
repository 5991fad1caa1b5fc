package plan_test

import (
	"errors"
	"strings"
	"testing"

	"airplant/internal/birth"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

// refuse makes the whole plan, because the first part does not look at all of
// a configuration.
func refuse(spec *specs.Spec, host *plan.Host) error {
	p, err := plan.New(spec, host, bundle(plan.Options{}))
	if err != nil {
		return err
	}
	return p.Complete()
}

func limit(r *specs.LinuxResources) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Resources = r }
}

func mount(m specs.Mount) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Mounts = append(s.Mounts, m) }
}

// TestBadHooksAreRefused has a mistake in each kind of hook: one that a check
// forgets would show only when the hook runs.
func TestBadHooksAreRefused(t *testing.T) {
	for _, hook := range []specs.Hook{{Path: "bin/true"}, {}, {Path: "/bin/true", Timeout: ptr(0)}} {
		list := []specs.Hook{hook}
		for n, h := range []specs.Hooks{
			{Prestart: list}, {CreateRuntime: list}, {CreateContainer: list}, {StartContainer: list}, {Poststart: list}, {Poststop: list},
		} {
			if err := refuse(with(oneID(), func(s *specs.Spec) { s.Hooks = &h }), user()); err == nil || !strings.Contains(err.Error(), "hooks.") {
				t.Errorf("kind %d, %v: %v", n, hook, err)
			}
		}
	}
}

// TestEmptyFieldsPass has what engines send when nothing is asked for.
func TestEmptyFieldsPass(t *testing.T) {
	devices := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, {Allow: true, Type: "c", Major: ptr[int64](1), Access: "rwm"}}
	for n, change := range []func(*specs.Spec){
		func(s *specs.Spec) { s.Hooks = &specs.Hooks{} },
		limit(&specs.LinuxResources{Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}, Pids: &specs.LinuxPids{}, Network: &specs.LinuxNetwork{}}),
		limit(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](0)}}),
		limit(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](-1)}}),
		limit(&specs.LinuxResources{Devices: devices}),
	} {
		if err := refuse(with(oneID(), change), user()); err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// TestDeviceRules: they hold by themselves unless the process could make
// devices, and then they would be ignored.
func TestDeviceRules(t *testing.T) {
	spec := func(caps ...string) *specs.Spec {
		s := noUserNamespace()
		s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, caps...)
		s.Linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
		return s
	}
	if !plan.DevicesHold(spec(), root()) {
		t.Error("without CAP_MKNOD")
	}
	if !plan.DevicesHold(spec("CAP_MKNOD"), engine()) {
		t.Error("root of somebody's user namespace")
	}
	// The case of a name means nothing.
	for _, name := range []string{"CAP_MKNOD", "cap_mknod"} {
		if plan.DevicesHold(spec(name), root()) {
			t.Errorf("with %s", name)
		}
	}
}

// TestGroup: a cgroup namespace begins at the cgroup of who makes it, so that it
// is made by the container's process once that is in its own.
func TestGroup(t *testing.T) {
	for _, group := range []bool{false, true} {
		p, err := plan.New(oneID(), user(), bundle(plan.Options{Group: group}))
		if err == nil {
			err = p.Complete()
		}
		if err != nil {
			t.Fatal(err)
		}
		late := strings.Contains(p.Explain(), "make a cgroup namespace")
		if early := p.CloneFlags&unix.CLONE_NEWCGROUP != 0; late != group || early == group {
			t.Errorf("group %t: by clone %t, by unshare %t", group, early, late)
		}
	}
}

func noUserNamespace() *specs.Spec { return with(rootSpec(), noTerminal) }

// TestNUL: a string that the kernel would cut short never gets that far.
func TestNUL(t *testing.T) {
	const cut = "/a\x00b"
	for name, change := range map[string]func(*specs.Spec){
		"root":        func(s *specs.Spec) { s.Root.Path = cut },
		"hostname":    func(s *specs.Spec) { s.Hostname = cut },
		"domainname":  func(s *specs.Spec) { s.Domainname = cut },
		"cwd":         func(s *specs.Spec) { s.Process.Cwd = cut },
		"args":        func(s *specs.Spec) { s.Process.Args = []string{"sh", cut} },
		"env":         func(s *specs.Spec) { s.Process.Env = []string{cut} },
		"masked":      func(s *specs.Spec) { s.Linux.MaskedPaths = []string{cut} },
		"readonly":    func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{cut} },
		"source":      mount(specs.Mount{Destination: "/x", Source: cut, Type: "bind"}),
		"destination": mount(specs.Mount{Destination: cut, Source: "/y", Type: "bind"}),
		"type":        mount(specs.Mount{Destination: "/x", Type: cut}),
		"option":      mount(specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"size=" + cut}}),
		"namespace":   func(s *specs.Spec) { s.Linux.Namespaces[0].Path = cut },
		"sysctl":      func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.x": cut} },
		"sysctl name": func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.x\x00y": "1"} },
		"device":      func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: cut, Type: "c"}} },
	} {
		if err := refuse(with(oneID(), change), user()); !errors.Is(err, birth.ErrNUL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
