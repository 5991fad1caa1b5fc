package lifecycle_test

import (
	"fmt"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// without gives the namespaces that are not of the kinds.
func without(spec *specs.Spec, kinds ...specs.LinuxNamespaceType) []specs.LinuxNamespace {
	return slices.DeleteFunc(slices.Clone(spec.Linux.Namespaces), func(n specs.LinuxNamespace) bool { return slices.Contains(kinds, n.Type) })
}

// join takes namespaces of a process in place of new ones.
func (b *box) join(pid int, kinds ...specs.LinuxNamespaceType) {
	files := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.MountNamespace: "mnt"}
	b.spec.Linux.Namespaces = without(b.spec, kinds...)
	for _, k := range kinds {
		name := files[k]
		if name == "" {
			name = string(k)
		}
		path := fmt.Sprintf("/proc/%d/ns/%s", pid, name)
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: k, Path: path})
		if k == specs.UserNamespace {
			b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = nil, nil
		}
	}
}

func withoutMount(spec *specs.Spec, dest string) []specs.Mount {
	return slices.DeleteFunc(slices.Clone(spec.Mounts), func(m specs.Mount) bool { return m.Destination == dest })
}

// caps are capabilities of a root, and of others by way of the ambient set.
func caps(list ...string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: list, Permitted: list, Effective: list, Inheritable: list, Ambient: list}
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}
