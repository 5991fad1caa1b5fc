package lifecycle_test

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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
