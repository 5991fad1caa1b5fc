package lifecycle

import (
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCaps is what a container's root may do without being asked: enough for
// packages to install and servers to change their user.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
	"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// Default is the configuration that `airplant run` starts from: a container in
// a user namespace with the given map, without a network.
func Default(m userns.Map) *specs.Spec {
	spec := Example()
	Unprivileged(spec, m)
	spec.Root = &specs.Root{Path: "rootfs"}
	p := spec.Process
	p.Terminal, p.Args, p.NoNewPrivileges, p.Rlimits = false, nil, false, nil
	p.Env = []string{"PATH=" + DefaultPath, "container=airplant"}
	p.Capabilities = &specs.LinuxCapabilities{Bounding: defaultCaps, Effective: defaultCaps, Permitted: defaultCaps}
	return spec
}

// ShareNetwork takes the network namespace out of a configuration: the
// container uses the caller's.
func ShareNetwork(spec *specs.Spec) {
	var kept []specs.LinuxNamespace
	for _, n := range spec.Linux.Namespaces {
		if n.Type != specs.NetworkNamespace {
			kept = append(kept, n)
		}
	}
	spec.Linux.Namespaces = kept
}
