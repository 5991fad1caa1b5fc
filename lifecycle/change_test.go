package lifecycle_test

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// without gives the namespaces that are not of the kinds.
func without(spec *specs.Spec, kinds ...specs.LinuxNamespaceType) []specs.LinuxNamespace {
	return slices.DeleteFunc(slices.Clone(spec.Linux.Namespaces), func(n specs.LinuxNamespace) bool { return slices.Contains(kinds, n.Type) })
}

func ptr[T any](v T) *T { return &v }
