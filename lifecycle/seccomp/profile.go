package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Default is the profile of a container that asks for none: that of docker and
// its kin for the capabilities of the configuration, and harder where that
// leaves a way around itself:
//
//   - ioctl cannot push input into a terminal (TIOCSTI, and TIOCLINUX of the
//     text console);
//   - socketcall, by which 32-bit programs could make sockets of any family,
//     because its arguments cannot be compared, makes none.
//
// It refuses what has been a way out of containers: AF_ALG and AF_VSOCK, keys,
// userfaultfd, io_uring, and, without the capabilities for them, bpf, mounts and
// new namespaces.
func Default(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	c, err := moby.GetDefaultProfile(withCaps(spec))
	if err != nil {
		return nil, fmt.Errorf("the default seccomp profile: %w", err)
	}
	dropName(c, "ioctl")
	dropName(c, "socketcall")
	allow := func(op specs.LinuxSeccompOperator, request uint64) {
		c.Syscalls = append(c.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 1, Value: request, Op: op}},
		})
	}
	allow(specs.OpLessThan, unix.TIOCSTI)
	for request := uint64(unix.TIOCSTI + 1); request < unix.TIOCLINUX; request++ {
		allow(specs.OpEqualTo, request)
	}
	allow(specs.OpGreaterThan, unix.TIOCLINUX)
	return c, nil
}

func dropName(c *specs.LinuxSeccomp, name string) {
	for i := range c.Syscalls {
		s := &c.Syscalls[i]
		s.Names = slices.DeleteFunc(s.Names, func(n string) bool { return n == name })
	}
	c.Syscalls = slices.DeleteFunc(c.Syscalls, func(s specs.LinuxSyscall) bool { return len(s.Names) == 0 })
}

// withCaps is a configuration whose capabilities can be asked for.
func withCaps(spec *specs.Spec) *specs.Spec {
	p := specs.Process{}
	if spec.Process != nil {
		p = *spec.Process
	}
	if p.Capabilities == nil {
		p.Capabilities = &specs.LinuxCapabilities{}
	}
	return &specs.Spec{Process: &p}
}

// Load reads a profile in the form of docker, whose rules may depend on
// capabilities, architecture and kernel, or in that of the runtime
// specification, which is a part of it. A profile with nothing in it is an
// error: to be without one is asked for by name.
func Load(text []byte, spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	c, err := moby.LoadProfile(string(text), withCaps(spec))
	if err != nil {
		return nil, err
	}
	if c == nil || c.DefaultAction == "" {
		return nil, errors.New("the profile has no defaultAction")
	}
	_, err = compileFor(c, runtime.GOARCH)
	return c, err
}
