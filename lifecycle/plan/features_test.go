package plan_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	"airplant/internal/testenv"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// runcOptions are the mount options that runc 1.3 documents beside those of the
// version that is installed.
var runcOptions = []string{"idmap", "ridmap", "nosymfollow", "rnosymfollow", "rsymfollow", "tmpcopyup", "remount"}

// TestFeaturesBesideRunc: what an engine finds in runc's document it finds in
// ours, in the same form.
func TestFeaturesBesideRunc(t *testing.T) {
	testenv.Need(t, "runc")
	text, err := exec.Command("runc", "features").Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs features.Features
	if err := json.Unmarshal(text, &theirs); err != nil {
		t.Fatal(err)
	}
	ours := plan.Features()
	missing(t, "hooks", theirs.Hooks, ours.Hooks)
	missing(t, "mountOptions", append(theirs.MountOptions, runcOptions...), ours.MountOptions)
	missing(t, "namespaces", theirs.Linux.Namespaces, ours.Linux.Namespaces)
	missing(t, "capabilities", theirs.Linux.Capabilities, ours.Linux.Capabilities)
	for name, there := range map[string]bool{
		"apparmor": *ours.Linux.Apparmor.Enabled == *theirs.Linux.Apparmor.Enabled,
		"selinux":  *ours.Linux.Selinux.Enabled == *theirs.Linux.Selinux.Enabled,
		"versions": ours.OCIVersionMin == theirs.OCIVersionMin && ours.OCIVersionMax == specs.Version,
	} {
		if !there {
			t.Errorf("%s differ", name)
		}
	}
}

func missing(t *testing.T, what string, want, have []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(have, w) {
			t.Errorf("%s: no %s", what, w)
		}
	}
	if !slices.IsSorted(have) && what != "hooks" && what != "capabilities" {
		t.Errorf("%s are not sorted", what)
	}
}

// TestFeaturesAreTrue: every option, mode and flag that the document names can
// be asked for, and one that it does not name is the file system's, or refused.
func TestFeaturesAreTrue(t *testing.T) {
	f := plan.Features()
	for _, option := range f.MountOptions {
		m := specs.Mount{Destination: "/x", Source: "/y", Type: "bind", Options: []string{"bind", option}}
		switch option {
		case "tmpcopyup":
			m = specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{option}}
		case "idmap", "ridmap":
			m.UIDMappings = []specs.LinuxIDMapping{{Size: 1}}
			m.GIDMappings = m.UIDMappings
		}
		if err := refuse(with(noUserNamespace(), mount(m)), root()); err != nil {
			t.Errorf("option %s: %v", option, err)
		}
	}
	if err := refuse(with(oneID(), mount(specs.Mount{Destination: "/x", Source: "/y", Type: "bind", Options: []string{"nonsense"}})), user()); err == nil {
		t.Error("an option that means nothing passes")
	}
	for _, mode := range f.Linux.MemoryPolicy.Modes {
		for _, flag := range f.Linux.MemoryPolicy.Flags {
			policy := &specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(mode), Flags: []specs.MemoryPolicyFlagType{specs.MemoryPolicyFlagType(flag)}}
			if err := refuse(with(oneID(), func(s *specs.Spec) { s.Linux.MemoryPolicy = policy }), user()); err != nil {
				t.Errorf("%s, %s: %v", mode, flag, err)
			}
		}
	}
	for _, kind := range f.Linux.Namespaces {
		if err := refuse(with(with(noUserNamespace(), without(specs.LinuxNamespaceType(kind))), namespace(specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind)})), root()); err != nil && kind != "user" {
			t.Errorf("namespace %s: %v", kind, err)
		}
	}
}
